"""SQLite: the online backup, which works on a file in use."""

from collections.abc import Mapping
from typing import Any, ClassVar

from webapp.backup.progress import Progress
from webapp.backup.sources.base import Probe, Reader, Source, Writer
from webapp.backup.sources.sqlite_form import SqliteForm


class Sqlite(Source):
    """A SQLite file on this server."""

    type: ClassVar[str] = "sqlite"
    label: ClassVar[str] = "SQLite"
    icon: ClassVar[str] = "file-earmark-binary"
    tagline: ClassVar[str] = "A file on this server"
    extension: ClassVar[str] = "sqlite"
    target_label: ClassVar[str] = "New file"
    target_hint: ClassVar[str] = "Full path of a file that does not exist yet."
    form: ClassVar[type[SqliteForm]] = SqliteForm

    @classmethod
    def summarize(cls, config: Mapping[str, Any]) -> str:
        """Return the path."""
        return str(config["path"])

    def probe(self) -> Probe:
        """Open the file read-only."""
        raise NotImplementedError

    def total_size_hint(self) -> int | None:
        """Return the size of the file."""
        raise NotImplementedError

    def dump(self, output: Writer, progress: Progress) -> None:
        """Copy the database as it is at one moment; readers and writers go on."""
        raise NotImplementedError

    def restore(self, input: Reader, target: str, progress: Progress) -> None:
        """Make a new file of it, checked by SQLite before it gets its name."""
        raise NotImplementedError
