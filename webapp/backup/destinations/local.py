"""A directory on this server: files appear whole, under their final name, or not at all."""

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, ClassVar, Final

from webapp.backup import files
from webapp.backup.destinations import probing
from webapp.backup.destinations.base import Destination, Entry, is_key
from webapp.backup.destinations.local_form import LocalForm
from webapp.backup.errors import BackupError
from webapp.backup.files import words
from webapp.backup.sources.base import Reader, Writer
from webapp.core import text

HALF: Final = ".half"


class Local(Destination):
    """A directory; half-written files have hidden names and are locked while they grow."""

    type = "local"
    label = "Local directory"
    icon = "hdd"
    tagline = "A directory on this server"
    form: ClassVar = LocalForm

    @classmethod
    def summarize(cls, config: Mapping[str, Any]) -> str:
        """Return the path."""
        return str(config["path"])

    @property
    def root(self) -> Path:
        """Return the directory."""
        return Path(self.config["path"])

    def probe(self) -> str:
        """Write, read back and delete a small file; say how much room there is."""
        probing.round_trip(self, str(self.root))
        with words(f"look at {self.root}"):
            status = os.statvfs(self.root)
        return f"{text.size(status.f_bavail * status.f_frsize)} free."

    @contextmanager
    def open_write(self, key: str) -> Iterator[Writer]:
        """Open a file that gets its name, and is on the disk, when the block ends well."""
        final = self._path(key)
        half = final.with_name(f".{final.name}.{secrets.token_hex(4)}{HALF}")
        doing = f"write to {self.root}"
        with words(doing):
            final.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if final.exists():
                raise BackupError(f"{key} is there already. Nothing is overwritten.")
        ref = half.relative_to(self.root).as_posix()
        self.journal.began(ref)
        try:
            with words(doing):
                file = open(half, "xb", buffering=0, opener=files.private)  # noqa: SIM115 - below
            with file:
                files.mark_in_use(file.fileno())
                yield _LocalWriter(file, doing)
                with words(doing):
                    files.sync(file.fileno())
                    os.rename(half, final)
                    files.sync_directory(final.parent)
        except BaseException:
            with contextlib.suppress(OSError):
                half.unlink(missing_ok=True)
                self.journal.ended(ref)
            raise
        self.journal.ended(ref)

    @contextmanager
    def open_read(self, key: str) -> Iterator[Reader]:
        """Open a stored file."""
        doing = f"read {key} in {self.root}"
        with words(doing):
            file = open(self._path(key), "rb", opener=_ordinary)  # noqa: SIM115 - below
        with file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise BackupError(f"{key} in {self.root} is no ordinary file.")
            yield _LocalReader(file, doing)

    def list(self, prefix: str = "") -> tuple[Entry, ...]:
        """Return the whole files, sorted by key."""
        with words(f"list {self.root}"):
            if not self.root.is_dir():
                return ()
            found = (entry for entry in self._entries() if entry.key.startswith(prefix))
            return tuple(sorted(found, key=lambda entry: entry.key))

    def delete(self, key: str) -> None:
        """Delete the file; one that is not there is fine."""
        with words(f"delete {key} in {self.root}"):
            self._path(key).unlink(missing_ok=True)

    def size(self, key: str) -> int:
        """Return the size of the stored file in bytes."""
        with words(f"read {key} in {self.root}"):
            return self._path(key).stat().st_size

    def discard(self, ref: str) -> None:
        """Remove a half-written file that nobody writes to any more."""
        folder, _, name = ref.rpartition("/")
        if not name.startswith(".") or not name.endswith(HALF):
            raise BackupError(f"{ref!r} is not the name of a half-written file.")
        path = self._path(folder) / name if folder else self.root / name
        with words(f"clean up {self.root}"):
            if files.is_locked(path):
                raise BackupError(f"{ref} is still being written.")
            path.unlink(missing_ok=True)

    def sweep(self) -> int:
        """Remove half-written files of processes that are gone."""
        with words(f"clean up {self.root}"):
            left = [path for path in self.root.rglob(f".*{HALF}") if files.is_left_over(path)]
            for path in left:
                path.unlink(missing_ok=True)
        return len(left)

    def _entries(self) -> Iterator[Entry]:
        for path in self.root.rglob("*"):
            key = path.relative_to(self.root).as_posix()
            # somebody else's: deleted while we look, a link, a name that is no text
            with contextlib.suppress(OSError):
                status = path.lstat()
                if is_key(key) and stat.S_ISREG(status.st_mode):
                    yield Entry(
                        key,
                        status.st_size,
                        datetime.fromtimestamp(status.st_mtime, UTC),
                    )

    def _path(self, key: str) -> Path:
        if not is_key(key):
            raise BackupError(f"{key!r} cannot be the name of a backup.")
        path = self.root.joinpath(*key.split("/"))
        real = Path(os.path.realpath(path.parent))
        if not real.is_relative_to(os.path.realpath(self.root)):
            raise BackupError(f"{key} leads out of {self.root} by a symbolic link.")
        return path


def _ordinary(path: str, flags: int) -> int:
    """Open what may be somebody's trap: a link to a secret, a pipe that nobody writes to."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


class _LocalWriter:
    def __init__(self, file: IO[bytes], doing: str) -> None:
        self._file, self._doing = file, doing

    def write(self, data: bytes, /) -> int:
        with words(self._doing):
            return files.write_all(self._file.fileno(), data)


class _LocalReader:
    def __init__(self, file: IO[bytes], doing: str) -> None:
        self._file, self._doing = file, doing

    def read(self, size: int = -1, /) -> bytes:
        with words(self._doing):
            return self._file.read(size)
