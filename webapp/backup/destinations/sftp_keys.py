"""Host keys, which say that a server is the one it was, and private keys."""

import base64
import binascii
import hashlib
import io
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from webapp.backup import pem
from webapp.backup.errors import BackupError

if TYPE_CHECKING:
    import paramiko

_TYPE: Final = re.compile(r"(ssh|ecdsa|sk)-[a-z0-9@.-]+")
_FINGERPRINT: Final = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")


@dataclass(frozen=True)
class HostKey:
    """What a server is known by."""

    type: str
    fingerprint: str
    """As `ssh-keygen -lf` shows it: "SHA256:…"."""

    def __str__(self) -> str:
        return f"{self.type} {self.fingerprint}"


def of(type_: str, blob: bytes) -> HostKey:
    """Return the short form of a public key."""
    digest = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
    return HostKey(type_, f"SHA256:{digest}")


def parse(text: str) -> HostKey:
    """Return the host key of "ssh-ed25519 SHA256:…" or of a line of a .pub or known_hosts file.

    Raises:
        ValueError: it is neither.
    """
    words = text.split()
    for type_, rest in pairwise(words):
        if not _TYPE.fullmatch(type_):
            continue
        if _FINGERPRINT.fullmatch(rest):
            return HostKey(type_, rest)
        try:
            blob = base64.b64decode(rest, validate=True)
        except binascii.Error:
            continue
        if blob[4 : 4 + len(type_)] == type_.encode():
            return of(type_, blob)
    raise ValueError(text)


def private(text: str, passphrase: str) -> "paramiko.PKey":
    """Return the private key.

    Raises:
        BackupError: it cannot be read, or the passphrase does not open it.
    """
    import paramiko

    lines = pem.with_lines(text)
    for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
        try:
            return kind.from_private_key(io.StringIO(lines), passphrase or None)
        except paramiko.PasswordRequiredException as error:
            raise BackupError("The private key has a passphrase. Enter it.") from error
        except (paramiko.SSHException, ValueError, IndexError, UnicodeDecodeError):
            continue
    what = "or the passphrase does not open it" if passphrase else "or it is of an unknown kind"
    raise BackupError(f"The private key cannot be read: it is not whole, {what}.")
