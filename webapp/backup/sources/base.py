"""What every kind of database is: a form, a probe, a dump and the way back."""

import builtins
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

from webapp.backup.progress import Progress
from webapp.backup.reach import SELF_HOSTED, Reach
from webapp.backup.sources import databases
from webapp.core.form_fields import ConfigForm


class Writer(Protocol):
    """Where bytes go."""

    def write(self, data: bytes, /) -> int:
        """Take all of the data; return its length."""


class Reader(Protocol):
    """Where bytes come from."""

    def read(self, size: int = -1, /) -> bytes:
        """Return at most this many bytes; none at the end."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What a connection test found."""

    version: str
    """Of the database: "PostgreSQL 15.20", "SQLite 3.45.1"."""
    client: str = ""
    """The client program that will be used: "pg_dump 16.2"."""
    notes: tuple[str, ...] = ()
    """Sentences that the admin should know although the test passed."""


class Source(ABC):
    """A configured database, or several of one server.

    Of several, `part` gives the source of one of them; the other methods want that.
    Configurations are plain JSON-ready mappings, made by `form` and with references to secrets
    already resolved.
    """

    type: ClassVar[str]
    label: ClassVar[str]
    icon: ClassVar[str]
    """Bootstrap icon, without the prefix "bi-"."""
    tagline: ClassVar[str]
    """For the type picker: "A file on this server"."""
    extension: ClassVar[str]
    """Of an uncompressed artifact, without the dot: "dump", "sqlite"."""
    target_label: ClassVar[str]
    """What `restore` makes: "New database", "New file"."""
    target_hint: ClassVar[str]
    """One sentence under the field for the target of a restore."""
    whole_when_named: ClassVar[bool] = True
    """A target that exists is whole; False where the system cannot rename a database."""
    form: ClassVar["builtins.type[ConfigForm]"]

    def __init__(self, config: Mapping[str, Any], reach: Reach = SELF_HOSTED) -> None:
        self.config, self.reach = config, reach

    @classmethod
    @abstractmethod
    def summarize(cls, config: Mapping[str, Any]) -> str:
        """Return what may be shown of the configuration: "shop on db.lan:5432"."""

    @property
    def databases(self) -> tuple[str, ...]:
        """Return the names of its databases; none when it is a file."""
        return databases.names(self.config)

    def part(self, database: str) -> Self:
        """Return the source of this database alone, on the same server."""
        return type(self)({**self.config, "database": database}, self.reach)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return every secret value, to be masked in texts."""
        return ()

    @abstractmethod
    def probe(self) -> Probe:
        """Connect, and return what is there.

        Raises:
            BackupError: a dump would fail; the text says why and what to do.
        """

    @abstractmethod
    def total_size_hint(self) -> int | None:
        """Return about how many bytes `dump` will write, or None when nobody knows."""

    @abstractmethod
    def dump(self, output: Writer, progress: Progress) -> None:
        """Write a consistent copy of the database.

        Raises:
            BackupError: it failed; what was written is worthless.
            CancelledError: it was stopped; nothing is left running.
        """

    @abstractmethod
    def check_target(self, target: str) -> None:
        """Look whether `restore` could make this target, so that a mistake is said at once.

        Raises:
            BackupError: the name cannot be used, or something is there already.
        """

    @abstractmethod
    def restore(self, input: Reader, target: str, progress: Progress) -> None:
        """Load what `dump` wrote into a new database or file of this name.

        It appears under that name only when it is whole; on an error nothing of it stays.

        Raises:
            BackupError: the target exists already, or loading failed.
            CancelledError: it was stopped.
        """
