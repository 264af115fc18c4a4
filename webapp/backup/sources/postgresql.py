"""PostgreSQL: pg_dump in its custom format, and pg_restore into a new database."""

from collections.abc import Mapping
from typing import Any, ClassVar

from webapp.backup.progress import Progress
from webapp.backup.sources.base import Probe, Reader, Source, Writer
from webapp.backup.sources.postgresql_form import PostgresqlForm


class Postgresql(Source):
    """One database of a PostgreSQL server."""

    type: ClassVar[str] = "postgresql"
    label: ClassVar[str] = "PostgreSQL"
    icon: ClassVar[str] = "database"
    tagline: ClassVar[str] = "One database of a server"
    extension: ClassVar[str] = "dump"
    target_label: ClassVar[str] = "New database"
    target_hint: ClassVar[str] = "Name of a database that does not exist yet on this server."
    form: ClassVar[type[PostgresqlForm]] = PostgresqlForm

    @classmethod
    def summarize(cls, config: Mapping[str, Any]) -> str:
        """Return database, host and port."""
        return f"{config['database']} on {config['host']}:{config['port']}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return the password."""
        password = self.config.get("password") or ""
        return (password,) if password else ()

    def probe(self) -> Probe:
        """Connect, and find a client program that is new enough."""
        raise NotImplementedError

    def total_size_hint(self) -> int | None:
        """Return the size of the tables without their indexes."""
        raise NotImplementedError

    def dump(self, output: Writer, progress: Progress) -> None:
        """Stream `pg_dump -Fc -Z0`."""
        raise NotImplementedError

    def restore(self, input: Reader, target: str, progress: Progress) -> None:
        """Load into a new database; owners and grants of the dump are left out."""
        raise NotImplementedError
