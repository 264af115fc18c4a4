"""SQLite: the online backup, which works on a file in use."""

import os
import secrets
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, ClassVar, Final

from webapp.backup import files, scratch
from webapp.backup.files import CHUNK, words
from webapp.backup.progress import Progress
from webapp.backup.sources import sqlite_files
from webapp.backup.sources.base import Probe, Reader, Source, Writer
from webapp.backup.sources.sqlite_form import SqliteForm

PAGES_AT_ONCE: Final = 2048
WRITERS_WAIT: Final = (
    "The database is not in WAL mode: programs that write to it wait while it is copied."
)


class Sqlite(Source):
    """A SQLite file on this server."""

    type = "sqlite"
    label = "SQLite"
    icon = "file-earmark-binary"
    tagline = "A file on this server"
    extension = "sqlite"
    target_label = "New file"
    target_hint = "Full path of a file that does not exist yet."
    form: ClassVar = SqliteForm

    @classmethod
    def summarize(cls, config: Mapping[str, Any]) -> str:
        """Return the path."""
        return str(config["path"])

    @property
    def path(self) -> Path:
        """Return the database file."""
        return Path(self.config["path"])

    def probe(self) -> Probe:
        """Open the file read-only."""
        with sqlite_files.opened(self.path) as connection:
            (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
        notes = () if mode == "wal" else (WRITERS_WAIT,)
        return Probe(version=f"SQLite {sqlite3.sqlite_version}", notes=notes)

    def total_size_hint(self) -> int | None:
        """Return the size of the database."""
        with sqlite_files.opened(self.path) as connection:
            return sqlite_files.size(connection)

    def dump(self, output: Writer, progress: Progress) -> None:
        """Copy the database as it is at one moment, check the copy, and write it out."""
        with scratch.directory(self.total_size_hint() or 0) as directory:
            copy = directory / "copy"
            self._copy(copy, progress)
            sqlite_files.check(copy, str(self.path), progress)
            for chunk in _chunks(copy):
                output.write(chunk)

    def check_target(self, target: str) -> None:
        """Look whether the file could be made."""
        sqlite_files.require_new(target)

    def restore(self, input: Reader, target: str, progress: Progress) -> None:
        """Make a new file of it, checked by SQLite before it gets its name."""
        final = sqlite_files.require_new(target)
        with _draft(final) as draft:
            with words(f"write to {final.parent}"), _new(draft) as handle:
                while chunk := input.read(CHUNK):
                    progress.check()
                    files.require_room(handle, len(chunk))
                    files.write_all(handle, chunk)
                files.sync(handle)
            sqlite_files.check(draft, "The restored database", progress)
            with words(f"make {final}"):
                os.link(draft, final)  # unlike a rename it never replaces a file
                files.sync_directory(final.parent)

    def _copy(self, copy: Path, progress: Progress) -> None:
        def look(_status: int, _remaining: int, _total: int) -> None:
            progress.check()

        with sqlite_files.opened(self.path) as source, closing(sqlite3.connect(copy)) as target:
            target.execute("PRAGMA synchronous=OFF")
            try:
                source.backup(target, pages=PAGES_AT_ONCE, progress=look)
            except sqlite3.Error as error:
                raise sqlite_files.explained(error, self.path) from error


def _chunks(path: Path) -> Iterator[bytes]:
    with words("read the temporary copy"), path.open("rb", buffering=0) as file:
        path.unlink()  # its room is given back even if this process is killed from here on
        chunks = iter(lambda: file.read(CHUNK), b"")
        yield from chunks


@contextmanager
def _draft(final: Path) -> Iterator[Path]:
    draft = final.with_name(f".{final.name}.{secrets.token_hex(4)}.restoring")
    try:
        yield draft
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def _new(path: Path) -> Iterator[int]:
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        yield handle
    finally:
        os.close(handle)
