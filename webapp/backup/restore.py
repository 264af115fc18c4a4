"""The way back: fetch an artifact, verify it, load it into something new."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, Protocol

from webapp.backup import encryption, manifest
from webapp.backup.destinations.base import Destination
from webapp.backup.errors import BackupError
from webapp.backup.heedful import Heedful
from webapp.backup.manifest import Manifest
from webapp.backup.progress import Progress
from webapp.backup.sources.base import Reader
from webapp.backup.steps import step
from webapp.backup.streams import Bounded, Counted, decompressed


class Receiver(Protocol):
    """What takes a dump: a source, or one that replaces (replace.py)."""

    @property
    def type(self) -> str:
        """Return the type of database."""

    def restore(self, input: Reader, target: str, progress: Progress) -> None:
        """Load what is read into the target."""


def restore(
    destination: Destination,
    key: str,
    *,
    source: Receiver,
    target: str,
    progress: Progress,
    unlock: str = "",
) -> None:
    """Load the artifact into the new database or file `target`, on the source's server.

    `unlock` is the passphrase or private key of an encrypted artifact. The steps are "Fetch" (read
    the manifest), "Verify" (size and checksum of every byte, before anything is loaded) and "Load".

    Raises:
        BackupError: with the step that failed.
        CancelledError: it was stopped; nothing of the target stays.
    """
    with closing(Heedful(destination, progress)) as heedful:
        with step("Fetch", progress):
            found = _fetch(heedful, key, source)
            keys = encryption.identities(found.encryption, unlock) if found.encryption else []
        with step("Verify", progress):
            _verify(heedful, key, found, progress)
        with step("Load", progress), heedful.open_read(key) as reader:
            counted = Counted(reader, progress, found.size)
            with _decrypted(counted, keys) as clear:
                dump = Bounded(decompressed(clear, found.compression), found.dump_size)
                source.restore(dump, target, progress)


@contextmanager
def _decrypted(source: Reader, keys: list[Any]) -> Iterator[Reader]:
    if not keys:
        yield source
        return
    with closing(encryption.Decrypt(source, keys)) as decrypt:
        yield decrypt


def _fetch(destination: Destination, key: str, source: Receiver) -> Manifest:
    found = manifest.read(destination, key)
    if found.source_type != source.type:
        raise BackupError(
            f"{key} is a backup of {found.source_type} and cannot be loaded into {source.type}. "
            "Choose a source of the same type."
        )
    return found


def _verify(destination: Destination, key: str, found: Manifest, progress: Progress) -> None:
    with destination.open_read(key) as reader:
        counted = Counted(reader, progress, found.size)
        digest = counted.digest()
    if counted.size != found.size:
        raise BackupError(
            f"{key} has {counted.size} bytes, its manifest says {found.size}. "
            "It is damaged: restore another backup, or the same one from another destination."
        )
    if digest != found.sha256:
        raise BackupError(
            f"The checksum of {key} does not match its manifest. "
            "It is damaged: restore another backup, or the same one from another destination."
        )
