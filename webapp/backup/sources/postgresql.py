"""PostgreSQL: pg_dump in its custom format, and pg_restore into a new database."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, Final

from webapp.backup.child import BARE, Child, ChildError
from webapp.backup.errors import BackupError
from webapp.backup.files import CHUNK
from webapp.backup.progress import Progress
from webapp.backup.sources import databases, options
from webapp.backup.sources import postgresql_clients as clients
from webapp.backup.sources.base import Probe, Reader, Source, Writer
from webapp.backup.sources.postgresql_form import PostgresqlForm
from webapp.backup.sources.postgresql_server import ABSENT_FILE, CONNECT_SECONDS, Server

HEADER: Final = 7  # bytes: PGDMP and the version of the archive format
LOCK_WAIT_MS: Final = 600_000  # for a table that somebody holds exclusively


class Postgresql(Source):
    """Databases of a PostgreSQL server; what works on one is asked of a `part`."""

    type = "postgresql"
    label = "PostgreSQL"
    icon = "database"
    tagline = "One or several databases of a server"
    extension = "dump"
    target_label = "New database"
    target_hint = "Name of a database that does not exist yet on this server."
    form: ClassVar = PostgresqlForm

    @classmethod
    def summarize(cls, config: Mapping[str, Any]) -> str:
        """Return databases, host and port."""
        return f"{databases.summary(databases.names(config))} on {config['host']}:{config['port']}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return the password."""
        password = self.config.get("password")
        return (password,) if password else ()

    @property
    def server(self) -> Server:
        """Return the server."""
        return Server(self.config, self.reach)

    def probe(self) -> Probe:
        """Connect, and find a client program that is new enough."""
        version = self.server.version()
        client = clients.find("pg_dump", _major(version))
        return Probe(version=f"PostgreSQL {version}", client=str(client))

    def total_size_hint(self) -> int | None:
        """Return the size of the tables without their indexes."""
        return self.server.size()

    def dump(self, output: Writer, progress: Progress) -> None:
        """Stream `pg_dump -Fc -Z0`: uncompressed, because the pipeline compresses."""
        program = clients.find("pg_dump", _major(self.server.version()))
        command = [
            program.path,
            "--format=custom",
            "--compress=0",
            "--no-password",
            f"--lock-wait-timeout={LOCK_WAIT_MS}",
            *self._chosen(),
        ]
        env = self._environment(self.config["database"])
        with self._explained(), Child(command, env, progress=progress) as child:
            for chunk in child.output():
                output.write(chunk)

    def _chosen(self) -> Iterator[str]:
        for name in options.names(self.config.get("schemas") or ""):
            yield f"--schema={name}"
        for name in options.names(self.config.get("excluded_schemas") or ""):
            yield f"--exclude-schema={name}"
        yield from options.parse(self.config.get("flags") or "", options.POSTGRESQL)

    def check_target(self, target: str) -> None:
        """Ask the server whether the name is free."""
        self.server.require_new(target)

    def restore(self, input: Reader, target: str, progress: Progress) -> None:
        """Load into a new database; owners and grants of the dump are left out."""
        start = input.read(HEADER)
        needed = max(clients.reader_of(start), _major(self._any_version()))
        program = clients.find("pg_restore", needed)
        with self.server.new_database(target) as working:
            command = [
                program.path,
                f"--dbname=dbname={working}",
                "--no-owner",
                "--no-privileges",
                "--exit-on-error",
                "--no-password",
            ]
            env = self._environment(working)
            with self._explained(), Child(command, env, progress=progress, reads=True) as child:
                child.feed(start)
                while chunk := input.read(CHUNK):
                    child.feed(chunk)
                child.end()

    def _any_version(self) -> str:
        with self.server.maintenance() as connection:
            return (connection.info.parameter_status("server_version") or "?").split(" ")[0]

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except ChildError as error:
            text = self.server.explain(error.tail)
            raise BackupError(f"{error}\n{text}".strip()) from error

    def _environment(self, database: str) -> dict[str, str]:
        """Return all that the program knows: no argument, thus no process list, holds a secret."""
        env = {
            **BARE,
            "PGHOST": self.config["host"],
            "PGPORT": str(self.config["port"]),
            "PGUSER": self.config["user"],
            "PGDATABASE": database,
            "PGPASSFILE": ABSENT_FILE,
            "PGSSLMODE": self.config.get("sslmode") or "prefer",
            "PGCONNECT_TIMEOUT": str(CONNECT_SECONDS),
            "PGAPPNAME": "dbackup",
        }
        if password := self.config.get("password"):
            env["PGPASSWORD"] = password
        if authority := self.config.get("sslrootcert"):
            env["PGSSLROOTCERT"] = authority
        return env


def _major(version: str) -> int:
    digits = version.split(".")[0]
    return int(digits) if digits.isdigit() else 0
