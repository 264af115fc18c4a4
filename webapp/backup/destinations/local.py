"""A directory on this server: files appear whole, under their final name, or not at all."""

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Final

from wtforms import Form, StringField
from wtforms.validators import DataRequired, Length, ValidationError

from webapp.backup.destinations.base import Destination, Entry
from webapp.backup.errors import BackupError, os_words
from webapp.backup.sources.base import Reader, Writer
from webapp.core import text

HALF: Final = ".half"
PROBE_SIZE: Final = 4096


class LocalForm(Form):
    """A directory on the server."""

    path = StringField(
        "Directory",
        [DataRequired("Enter the path of the directory."), Length(max=300)],
        description="Full path on the server that runs DBackup, for example /srv/backups. "
        "It is made when it does not exist.",
    )

    def validate_path(self, field: StringField) -> None:
        """Accept absolute paths only: a relative one depends on where the server was started."""
        if "\0" in (field.data or "") or not Path(field.data or "").is_absolute():
            raise ValidationError("Enter the full path, beginning with a slash.")


class Local(Destination):
    """A directory; half-written files have hidden names that are locked while they grow."""

    type: ClassVar[str] = "local"
    label: ClassVar[str] = "Local directory"
    icon: ClassVar[str] = "hdd"
    tagline: ClassVar[str] = "A directory on this server"
    form: ClassVar[type[LocalForm]] = LocalForm

    @classmethod
    def summarize(cls, config: Mapping[str, Any]) -> str:
        """Return the path."""
        return str(config["path"])

    @property
    def root(self) -> Path:
        """Return the directory."""
        return Path(self.config["path"])

    def probe(self) -> str:
        """Write, read back and delete a small file."""
        key, content = f"dbackup-probe-{secrets.token_hex(4)}", secrets.token_bytes(PROBE_SIZE)
        try:
            with self.open_write(key) as writer:
                writer.write(content)
            with self.open_read(key) as reader:
                same = reader.read() == content
        finally:
            self.delete(key)
        if not same:
            raise BackupError("The directory gave back other bytes than were written. Check disk.")
        with _words("look at the free space"):
            status = os.statvfs(self.root)
        return f"{text.size(status.f_bavail * status.f_frsize)} free."

    @contextmanager
    def open_write(self, key: str) -> Iterator[Writer]:
        """Open a file that gets its name, and is on the disk, when the block ends well."""
        final = self._path(key)
        half = final.with_name(f".{final.name}.{secrets.token_hex(4)}{HALF}")
        with _words(f"write {key}"):
            final.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = half.open("xb", buffering=0, opener=_private)
        try:
            with file, _words(f"write {key}"):
                fcntl.flock(file, fcntl.LOCK_EX)
                yield _Whole(file)
                os.fsync(file.fileno())
                os.replace(half, final)
                _sync_directory(final.parent)
        except BaseException:
            with contextlib.suppress(OSError):
                half.unlink()
            raise

    @contextmanager
    def open_read(self, key: str) -> Iterator[Reader]:
        """Open a stored file."""
        with _words(f"read {key}"), self._path(key).open("rb") as file:
            yield file

    def list(self, prefix: str = "") -> tuple[Entry, ...]:
        """Return the whole files, sorted by key."""
        with _words("list the directory"):
            return tuple(
                sorted(
                    (e for e in self._entries() if e.key.startswith(prefix)), key=lambda e: e.key
                )
            )

    def delete(self, key: str) -> None:
        """Delete the file; one that is not there is fine."""
        with _words(f"delete {key}"):
            self._path(key).unlink(missing_ok=True)

    def size(self, key: str) -> int:
        """Return the size of the stored file in bytes."""
        with _words(f"read {key}"):
            return self._path(key).stat().st_size

    def sweep(self) -> int:
        """Remove half-written files that nobody holds a lock on."""
        with _words("clean up"):
            return sum(_remove_if_left(path) for path in self.root.rglob(f".*{HALF}"))

    def _entries(self) -> Iterator[Entry]:
        for path in self.root.rglob("*"):
            if not path.name.startswith(".") and path.is_file():
                status = path.stat()
                yield Entry(
                    path.relative_to(self.root).as_posix(),
                    status.st_size,
                    datetime.fromtimestamp(status.st_mtime, UTC),
                )

    def _path(self, key: str) -> Path:
        parts = key.split("/")
        if any(part.startswith(".") or not part or not part.isprintable() for part in parts):
            raise BackupError(f"{key!r} cannot be the name of a backup.")
        return self.root.joinpath(*parts)


class _Whole:
    """Writes all of each chunk: an unbuffered file may take a part only."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, data: bytes, /) -> int:
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]
        return len(data)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)  # a backup holds everything the database holds


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove_if_left(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
    except (BlockingIOError, FileNotFoundError):
        return False
    return True


@contextmanager
def _words(doing: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BackupError(f"Cannot {doing}: {os_words(error)}") from error
