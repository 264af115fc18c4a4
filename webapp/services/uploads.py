"""Backups that somebody uploads to restore them; they are kept until the restore has ended."""

import hashlib
import re
import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from sqlalchemy import select

from webapp.backup import manifest
from webapp.backup.destinations.local import Local
from webapp.backup.encryption import SUFFIX as ENCRYPTED
from webapp.backup.errors import BackupError
from webapp.backup.files import CHUNK
from webapp.backup.streams import GZIP, NONE, ZSTD
from webapp.core import clock, text
from webapp.core.errors import InvalidError
from webapp.models.run import Restore
from webapp.services.installation import installation
from webapp.services.transaction import reading

LARGEST: Final = 1_000_000_000  # bytes; the server takes no larger request
LEFT_AFTER: Final = 3600.0  # seconds
_STARTS: Final = ((b"\x1f\x8b", GZIP), (b"\x28\xb5\x2f\xfd", ZSTD))
_AGE: Final = b"age-encryption.org/v1"
TOO_LARGE: Final = (
    f"The file is larger than {text.size(LARGEST)}. Copy it to a destination instead: the Storage "
    "Explorer lists and restores what it finds there."
)


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A file that was received, with its manifest beside it."""

    key: str
    file_name: str
    size: int
    source_type: str
    database: str
    """The database that was dumped; "" when nobody knows."""
    encryption: dict[str, Any] | None
    checksum_known: bool
    """False: no manifest came with it, so nobody knows whether it is whole."""


def shelf() -> Local:
    """Return the place of uploaded files."""
    return Local({"path": str(_root())})


def receive(
    content: IO[bytes], file_name: str, source_type: str, stated: bytes | None = None
) -> Upload:
    """Store an uploaded backup; `stated` is its manifest, if that was uploaded, too.

    Raises:
        InvalidError: it is too large or empty, or the manifest does not belong to it.
        BackupError: it cannot be stored.
    """
    _sweep()
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(file_name).name).lstrip(".-") or "backup"
    key = f"{secrets.token_hex(8)}/{name[:150]}"
    place = shelf()
    try:
        start, size, digest = _store(place, key, content)
        values = _values(stated, name, source_type, start, size, digest)
        manifest.write(place, key, values)
        found = manifest.read(place, key)
        return Upload(
            key=key,
            file_name=name,
            size=size,
            source_type=found.source_type,
            database=found.database,
            encryption=dict(found.encryption) if found.encryption else None,
            checksum_known=stated is not None,
        )
    except (InvalidError, BackupError):
        forget(key)
        raise


def forget(key: str) -> None:
    """Delete an uploaded file."""
    shutil.rmtree(_root() / key.partition("/")[0], ignore_errors=True)


def _store(place: Local, key: str, content: IO[bytes]) -> tuple[bytes, int, str]:
    start, size, hashed = b"", 0, hashlib.sha256()
    with place.open_write(key) as writer:
        while chunk := content.read(CHUNK):
            start = start or chunk[:64]
            size += len(chunk)
            if size > LARGEST:
                raise InvalidError(TOO_LARGE, "file")
            hashed.update(chunk)
            writer.write(chunk)
    if not size:
        raise InvalidError("The file is empty. Choose the file of a backup.", "file")
    return start, size, hashed.hexdigest()


def _values(
    stated: bytes | None, name: str, source_type: str, start: bytes, size: int, digest: str
) -> dict[str, Any]:
    if stated is not None:
        return _checked(stated, size, digest)
    encrypted = start.startswith(_AGE)
    plain_name = name.removesuffix(ENCRYPTED)
    by_name = {".gz": GZIP, ".zst": ZSTD}.get(Path(plain_name).suffix, NONE)
    by_start = next((kind for sign, kind in _STARTS if start.startswith(sign)), NONE)
    return {
        "format": manifest.FORMAT,
        "created_at": clock.now().isoformat(timespec="seconds"),
        "source": {"type": source_type},
        "compression": by_name if encrypted else by_start,
        "encryption": {"format": "age", "recipients": []} if encrypted else None,
        "size": size,
        "sha256": digest,
    }


def _checked(stated: bytes, size: int, digest: str) -> dict[str, Any]:
    try:
        known = manifest.parse(stated)
    except ValueError as error:
        raise InvalidError("This is not the manifest of a backup.", "manifest") from error
    if (known.size, known.sha256) != (size, digest):
        raise InvalidError(
            "Size or checksum of the file differ from this manifest: the file is damaged, or the "
            "manifest belongs to another backup.",
            "manifest",
        )
    return known.values


def _root() -> Path:
    return installation().settings.instance_path / "uploads"


def _sweep() -> None:
    """Delete what no restore waits for."""
    with reading() as session:
        wanted = {
            key.partition("/")[0]
            for key in session.scalars(
                select(Restore.upload).where(
                    Restore.outcome == "running", Restore.upload.is_not(None)
                )
            )
            if key
        }
    for path in _root().glob("*"):
        if path.name not in wanted and path.stat().st_mtime < time.time() - LEFT_AFTER:
            shutil.rmtree(path, ignore_errors=True)
