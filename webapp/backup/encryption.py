"""Encryption in the age format: the standard `age` program opens it without us.

Backups need public keys only. In passphrase mode a key pair is generated once; its private half is
sealed under the passphrase, kept beside the artifacts, and the passphrase itself is kept nowhere.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from webapp.backup import pem
from webapp.backup.destinations.base import Destination
from webapp.backup.errors import BackupError
from webapp.backup.files import CHUNK
from webapp.backup.lockstep import Lockstep
from webapp.backup.sources.base import Reader, Writer
from webapp.core.errors import InvalidError

OFF: Final = "none"
RECIPIENTS: Final = "recipients"
PASSPHRASE: Final = "passphrase"  # noqa: S105 - the name of the mode
SUFFIX: Final = ".age"
IDENTITY_NAME: Final = "dbackup-identity"
MOST_RECIPIENTS: Final = 20
LOCKED: Final = (
    "This backup is encrypted. Enter the passphrase, or the private key (AGE-SECRET-KEY-1… or an "
    "SSH key without a passphrase) that opens it."
)
MOST_WORK: Final = 20
"""1 KB to the power of this is the memory that a passphrase takes: 1 GB. Ours ask for 18 or so."""
TOO_MUCH_WORK: Final = (
    "The key beside this backup is damaged, or asks for more memory than any that DBackup made. "
    "Enter the private key itself (AGE-SECRET-KEY-1…)."
)
_SCRYPT: Final = re.compile(rb"^-> scrypt \S+ ([0-9]{1,3})$", re.MULTILINE)
_START: Final = 400  # characters of base64; the line stands at the beginning
WRONG: Final = "What was entered does not open this backup. Enter the {what} that belongs to it."


@dataclass(frozen=True)
class Encryption:
    """How a backup is encrypted; nothing of it is secret."""

    mode: str
    recipients: tuple[str, ...]
    identity: str = ""
    """In passphrase mode: the private key, sealed under the passphrase, as an armored age file."""

    def facts(self) -> dict[str, Any]:
        """Return what the manifest says about it."""
        return {
            "format": "age",
            "mode": self.mode,
            "recipients": list(self.recipients),
            "identity": self.identity,
        }


def parse_recipients(text: str) -> tuple[str, ...]:
    """Return the public keys of a text, one a line; comments after # are dropped.

    Raises:
        InvalidError: there is none, or a line is no public key.
    """
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    found = tuple(dict.fromkeys(line for line in lines if line))
    if not found:
        raise InvalidError("Enter at least one public key.", "recipients")
    if len(found) > MOST_RECIPIENTS:
        raise InvalidError(f"Enter at most {MOST_RECIPIENTS} public keys.", "recipients")
    for line in found:
        if line.upper().startswith("AGE-SECRET-KEY-") or "PRIVATE KEY" in line:
            raise InvalidError(
                "That is a private key. Enter the public key that belongs to it (age1…), and keep "
                "the private one away from this server.",
                "recipients",
            )
        try:
            _recipient(line)
        except ValueError as error:
            raise InvalidError(
                f"“{line[:40]}” is no public key. Enter age1…, ssh-ed25519 … or ssh-rsa …, one a "
                "line.",
                "recipients",
            ) from error
    return found


def with_passphrase(passphrase: str) -> Encryption:
    """Generate a key pair whose private half only the passphrase opens; takes about a second."""
    import pyrage

    made = pyrage.x25519.Identity.generate()
    sealed = pyrage.passphrase.encrypt(f"{made}\n".encode(), passphrase, armored=True)
    return Encryption(PASSPHRASE, (str(made.to_public()),), sealed.decode("ascii"))


def leave_identity(destination: Destination, key: str, encryption: Encryption) -> None:
    """Put the sealed private key beside the artifact `key`, unless it is there already."""
    folder = key.rpartition("/")[0]
    place = f"{folder}/" if folder else ""
    for name in (IDENTITY_NAME, f"{IDENTITY_NAME}-{encryption.recipients[0][-8:]}"):
        path = f"{place}{name}{SUFFIX}"
        if not any(entry.key == path for entry in destination.list(path)):
            with destination.open_write(path) as writer:
                writer.write(encryption.identity.encode())
            return
        with destination.open_read(path) as reader:
            if reader.read(CHUNK) == encryption.identity.encode():
                return


class Encrypt:
    """Encrypts what is written; `finish` writes the end, `close` ends it in any case."""

    def __init__(self, output: Writer, recipients: tuple[str, ...]) -> None:
        import pyrage

        keys = [_recipient(line) for line in recipients]

        def work(reader: Reader, writer: Writer) -> None:
            pyrage.encrypt_io(reader, writer, keys)

        self._output = output
        self._lockstep = Lockstep(work, "age encryption")

    def write(self, data: bytes, /) -> int:
        """Encrypt and pass on what is ready."""
        self._pass_on(self._lockstep.feed(data))
        return len(data)

    def finish(self) -> None:
        """Pass on the rest."""
        self._pass_on(self._lockstep.finish())

    def close(self) -> None:
        """End the thread behind it."""
        self._lockstep.close()

    def _pass_on(self, ready: list[bytes]) -> None:
        if joined := b"".join(ready):
            self._output.write(joined)


class Decrypt:
    """Decrypts what is read, a chunk at a time; `close` ends it in any case."""

    def __init__(self, source: Reader, identities: list[Any]) -> None:
        import pyrage

        def work(reader: Reader, writer: Writer) -> None:
            try:
                pyrage.decrypt_io(reader, writer, identities)
            except (pyrage.DecryptError, OSError) as error:
                raise _explained(error) from error

        self._source = source
        self._lockstep = Lockstep(work, "age decryption")
        self._ready = bytearray()
        self._at_end = False

    def read(self, size: int = -1, /) -> bytes:
        """Return decrypted bytes."""
        while not self._at_end and (size < 0 or not self._ready):
            data = self._source.read(CHUNK)
            self._at_end = not data
            for piece in self._lockstep.feed(data) if data else self._lockstep.finish():
                self._ready += piece
        taken = bytes(self._ready if size < 0 else self._ready[:size])
        del self._ready[: len(taken)]
        return taken

    def close(self) -> None:
        """End the thread behind it."""
        self._lockstep.close()


def identities(facts: Mapping[str, Any], unlock: str) -> list[Any]:
    """Return the private keys that the entered text stands for.

    `facts` is what the manifest says, `unlock` a passphrase or a private key.

    Raises:
        BackupError: nothing was entered, or it does not open this backup.
    """
    import pyrage

    if not unlock.strip():
        raise BackupError(LOCKED)
    if keys := _private_keys(unlock):
        return keys
    sealed = str(facts.get("identity") or "")
    if not sealed:
        raise BackupError(WRONG.format(what="private key (AGE-SECRET-KEY-1… or an SSH key)"))
    if not 0 < _work(sealed) <= MOST_WORK:
        raise BackupError(TOO_MUCH_WORK)
    try:
        opened = pyrage.passphrase.decrypt(sealed.encode(), unlock)
    except pyrage.DecryptError as error:
        raise BackupError(WRONG.format(what="passphrase")) from error
    return _private_keys(opened.decode("ascii", "replace"))


def _work(sealed: str) -> int:
    """Return the work that an armored key asks for, as a power of two; 0 when it does not say."""
    lines = (line for line in sealed.splitlines() if not line.startswith("-----"))
    start = "".join(lines)[:_START]
    try:
        found = _SCRYPT.findall(base64.b64decode(start[: len(start) // 4 * 4]))
    except ValueError:
        return 0
    return int(found[0]) if len(found) == 1 else 0


def _private_keys(text: str) -> list[Any]:
    import pyrage

    try:
        if pem.is_private_key(text):
            return [pyrage.ssh.Identity.from_buffer(pem.with_lines(text).encode())]
        lines = (line.strip() for line in text.splitlines())
        return [
            pyrage.x25519.Identity.from_str(line)
            for line in lines
            if line.startswith("AGE-SECRET-KEY-1")
        ]
    except pyrage.IdentityError as error:
        raise BackupError(
            "The private key cannot be read. An SSH key must be without a passphrase."
        ) from error


def _recipient(line: str) -> Any:
    """Return the public key; ValueError when it is none."""
    import pyrage

    try:
        if line.startswith("ssh-"):
            return pyrage.ssh.Recipient.from_str(line)
        return pyrage.x25519.Recipient.from_str(line)
    except pyrage.RecipientError as error:
        raise ValueError(line) from error


def _explained(error: Exception) -> BackupError:
    if "No matching keys" in str(error):
        return BackupError(WRONG.format(what="private key"))
    return BackupError("The artifact is damaged: it cannot be decrypted. Restore another one.")
