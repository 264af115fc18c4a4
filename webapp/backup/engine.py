"""The pipeline of a backup: dump, compress, encrypt, store at each destination, verify."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from webapp import __version__
from webapp.backup import manifest
from webapp.backup.branches import Branch, Fan
from webapp.backup.destinations.base import Destination
from webapp.backup.encryption import PASSPHRASE, Encrypt, Encryption, leave_identity
from webapp.backup.errors import BackupError
from webapp.backup.heedful import Heedful, heed
from webapp.backup.progress import Progress
from webapp.backup.sources.base import Probe, Source, Writer
from webapp.backup.steps import step
from webapp.backup.streams import COMPRESSORS, Counted, Metered
from webapp.core import clock, text


@dataclass(frozen=True)
class Place:
    """A destination of this backup, with the id and name it is known by."""

    id: int
    name: str
    destination: Destination


@dataclass(frozen=True)
class PlaceResult:
    """What became of the backup at one place."""

    id: int
    name: str
    stored: bool
    detail: str
    """Why it is not stored, or what was stored there."""


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A backup that at least one place holds, verified."""

    key: str
    size: int
    sha256: str
    manifest: dict[str, Any]
    places: tuple[PlaceResult, ...]


def back_up(
    source: Source,
    places: Sequence[Place],
    *,
    key: str,
    compression: str,
    facts: Mapping[str, Any],
    progress: Progress,
    encryption: Encryption | None = None,
) -> Stored:
    """Back up the source to every place as `key`, with a manifest beside it (`<key>.json`).

    The steps are "Connect", "Dump", "Store" and "Verify"; memory stays flat. A manifest is
    written last, so an artifact that has one was read back whole. `compression` is "zstd",
    "gzip" or "none"; `facts` (JSON-ready) are added to the manifest. A place that fails does not
    stop the others.

    Raises:
        BackupError: the dump failed, or no place took it; `step` says where.
        CancelledError: it was stopped; nothing stays at any place.
    """
    heedful = [Heedful(place.destination, progress) for place in places]
    pairs = zip(places, heedful, strict=True)
    fan = Fan([Branch(place.id, place.name, destination) for place, destination in pairs])
    try:
        with step("Connect", progress):
            probe = _connect(source, progress)
        with step("Dump", progress):
            dump_size = _dump(source, fan, key, compression, encryption, progress)
        with step("Store", progress):
            _store(fan)
        values = dict(facts) | _values(source, probe, fan, key, compression, dump_size)
        values["encryption"] = encryption.facts() if encryption else None
        with step("Verify", progress):
            _verify(fan, key, values, encryption, progress)
    except BaseException as error:
        for branch in fan.branches:
            branch.withdraw(key, error)
        raise
    finally:
        for destination in heedful:
            destination.close()
    _report(fan, progress)
    return Stored(key=key, size=fan.size, sha256=fan.sha256, manifest=values, places=_results(fan))


def _connect(source: Source, progress: Progress) -> Probe:
    probe = heed(source.probe, progress)
    progress.line("info", f"{probe.version}{f', {probe.client}' if probe.client else ''}.")
    for note in probe.notes:
        progress.line("warning", note)
    return probe


def _dump(
    source: Source,
    fan: Fan,
    key: str,
    compression: str,
    encryption: Encryption | None,
    progress: Progress,
) -> int:
    if compression not in COMPRESSORS:
        raise BackupError(f"The compression {compression!r} is not known. Choose zstd or gzip.")
    for branch in fan.branches:
        branch.open(key)
    fan.require_one()
    with _encrypted(fan, encryption) as output:
        compressor = COMPRESSORS[compression](output)
        metered = Metered(compressor, progress, heed(source.total_size_hint, progress))
        source.dump(metered, progress)
        compressor.finish()
    progress.line("info", f"Dumped {text.size(metered.size)}, stored as {text.size(fan.size)}.")
    return metered.size


@contextmanager
def _encrypted(fan: Fan, encryption: Encryption | None) -> Iterator[Writer]:
    if encryption is None:
        yield fan
        return
    with closing(Encrypt(fan, encryption.recipients)) as encrypt:
        yield encrypt
        encrypt.finish()


def _store(fan: Fan) -> None:
    for branch in fan.branches:
        branch.commit()
    fan.require_one()


def _verify(
    fan: Fan,
    key: str,
    values: dict[str, Any],
    encryption: Encryption | None,
    progress: Progress,
) -> None:
    for branch in fan.branches:
        if not branch.stored:
            continue
        try:
            _read_back(branch.destination, key, fan, progress)
            if encryption and encryption.mode == PASSPHRASE:
                leave_identity(branch.destination, key, encryption)
            branch.keep(values)
        except BackupError as error:
            branch.withdraw(key, error)
    fan.require_one()


def _read_back(destination: Destination, key: str, fan: Fan, progress: Progress) -> None:
    with destination.open_read(key) as reader:
        counted = Counted(reader, progress, fan.size)
        digest = counted.digest()
    if (counted.size, digest) != (fan.size, fan.sha256):
        raise BackupError(
            "What was read back differs from what was written, so it was deleted. Check the disk."
        )


def _values(
    source: Source, probe: Probe, fan: Fan, key: str, compression: str, dump_size: int
) -> dict[str, Any]:
    return {
        "format": manifest.FORMAT,
        "key": key,
        "created_at": clock.now().isoformat(timespec="seconds"),
        "source": {"type": source.type, "version": probe.version, "client": probe.client}
        | ({"database": source.databases[0]} if source.databases else {}),
        "dbackup": __version__,
        "compression": compression,
        "dump_size": dump_size,
        "size": fan.size,
        "sha256": fan.sha256,
    }


def _report(fan: Fan, progress: Progress) -> None:
    for branch in fan.branches:
        if branch.stored:
            progress.line("info", f"{branch.name}: {text.size(fan.size)}, read back and equal.")
        else:
            progress.line("error", f"{branch.name}: {branch.problem}")


def _results(fan: Fan) -> tuple[PlaceResult, ...]:
    return tuple(
        PlaceResult(
            branch.id,
            branch.name,
            branch.stored,
            branch.problem or f"{text.size(fan.size)}, verified",
        )
        for branch in fan.branches
    )
