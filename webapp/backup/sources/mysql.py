"""MySQL and MariaDB: the server's own dump program, and its client into a new database."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, Final

from webapp.backup import files, scratch
from webapp.backup.child import BARE, Child, ChildError
from webapp.backup.errors import BackupError
from webapp.backup.files import CHUNK
from webapp.backup.progress import Progress
from webapp.backup.sources import databases, options
from webapp.backup.sources import mysql_clients as clients
from webapp.backup.sources.base import Probe, Reader, Source, Writer
from webapp.backup.sources.mysql_clients import MYSQL, Client, Version
from webapp.backup.sources.mysql_form import MysqlForm
from webapp.backup.sources.mysql_server import CONNECT_SECONDS, Server
from webapp.backup.sources.mysql_stream import Renamed

LARGEST_PACKET: Final = 1 << 30  # bytes; the most that the protocol knows
DONE: Final = b"-- Dump completed"
TAIL: Final = 200  # bytes at the end of a dump, in which it says that it is whole


class Mysql(Source):
    """Databases of a MySQL or MariaDB server; what works on one is asked of a `part`."""

    type = "mysql"
    label = "MySQL or MariaDB"
    icon = "database"
    tagline = "One or several databases of a server"
    extension = "sql"
    target_label = "New database"
    target_hint = "Name of a database that does not exist yet on this server."
    whole_when_named = False
    form: ClassVar = MysqlForm

    @classmethod
    def summarize(cls, config: Mapping[str, Any]) -> str:
        """Return databases, host and port."""
        port = "" if str(config["host"]).startswith("/") else f":{config['port']}"
        return f"{databases.summary(databases.names(config))} on {config['host']}{port}"

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
        """Connect, find a client program, and see whether the user may read everything."""
        version = self.server.version()
        client = clients.find(clients.DUMP, version)
        self.server.require_rights()
        notes = clients.notes(client, version)
        if count := self.server.without_transactions():
            notes = (
                *notes,
                (
                    f"{count} of the tables know no transactions (MyISAM and the like): what is "
                    "written to them during a dump may be in it by half. ALTER TABLE … "
                    "ENGINE=InnoDB changes that."
                ),
            )
        if not _knows_history(client, version) and (count := self.server.with_history()):
            notes = (
                *notes,
                (
                    f"{count} of the tables keep their history (system versioning). Only what "
                    "they hold now is dumped: the history needs MariaDB 10.11 and its mariadb-dump."
                ),
            )
        return Probe(version=str(version), client=str(client), notes=notes)

    def total_size_hint(self) -> int | None:
        """Return the size of the tables without their indexes."""
        return self.server.size()

    def dump(self, output: Writer, progress: Progress) -> None:
        """Stream the dump of one moment, with routines, triggers and events."""
        version = self.server.version()
        client = clients.find(clients.DUMP, version)
        history = _knows_history(client, version) and self.server.with_history() > 0
        with self._defaults(client) as first, self._explained():
            command = [
                client.path,
                first,
                "--single-transaction",
                "--quick",
                "--routines",
                "--triggers",
                "--events",
                "--hex-blob",
                "--no-tablespaces",
                "--default-character-set=utf8mb4",
                f"--max-allowed-packet={LARGEST_PACKET}",
                *(("--set-gtid-purged=OFF",) if client.version.family == MYSQL else ()),
                *(("--dump-history",) if history else ()),
                *options.parse(self.config.get("flags") or "", options.MYSQL),
                "--",
                self.config["database"],
            ]
            end = b""
            with Child(command, BARE, progress=progress) as child:
                for chunk in child.output():
                    output.write(chunk)
                    end = (end + chunk[-TAIL:])[-TAIL:]
        if DONE not in end:
            raise BackupError(f"{client} ended before the dump was whole. Run the backup again.")

    def check_target(self, target: str) -> None:
        """Ask the server whether the name is free."""
        self.server.require_new(target)

    def restore(self, input: Reader, target: str, progress: Progress) -> None:
        """Load into a new database, which is dropped when that fails."""
        client = clients.find(clients.LOAD, self.server.any_version())
        with self.server.new_database(target), self._defaults(client) as first, self._explained():
            command = [
                client.path,
                first,
                "--batch",
                # no commands of the client program itself, of which one runs a shell
                "--binary-mode",
                "--default-character-set=utf8mb4",
                f"--max-allowed-packet={LARGEST_PACKET}",
                f"--database={target}",
            ]
            with Child(command, BARE, progress=progress, reads=True) as child:
                _feed(child, input, target)
                child.end()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except ChildError as error:
            text = self.server.explain(error.tail)
            raise BackupError(f"{error}\n{text}".strip()) from error

    @contextmanager
    def _defaults(self, client: Client) -> Iterator[str]:
        """Make the file from which the program reads where to connect, and the password."""
        with scratch.directory(0) as directory:
            path = directory / "client.cnf"
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            try:
                files.write_all(handle, self._settings(client).encode())
            finally:
                os.close(handle)
            yield f"--defaults-file={path}"

    def _settings(self, client: Client) -> str:
        config = self.config
        where = (
            [f"socket={_quoted(config['host'])}"]
            if self.server.is_socket
            else [f"host={_quoted(config['host'])}", f"port={config['port']}", "protocol=tcp"]
        )
        lines = [
            "[client]",
            *where,
            f"user={_quoted(config['user'])}",
            f"password={_quoted(config.get('password') or '')}",
            *self._encryption(client),
            "[mysql]",
            # a dump, or a server, may ask the program for any file that we may read
            "local-infile=0",
            f"connect-timeout={CONNECT_SECONDS}",
        ]
        return "\n".join((*lines, ""))

    def _encryption(self, client: Client) -> list[str]:
        mode = self.config.get("tls") or "prefer"
        encrypted = mode != "disable" and (mode != "prefer" or self.server.is_encrypted())
        authority = self.config.get("ca_file")
        ca = [f"ssl-ca={_quoted(authority)}"] if encrypted and authority else []
        if client.version.family == MYSQL:
            level = "VERIFY_IDENTITY" if mode == "verify-full" else "REQUIRED"
            return [*ca, f"ssl-mode={level if encrypted else 'DISABLED'}"]
        if not encrypted:
            return ["skip-ssl"]
        verified = "ssl-verify-server-cert" if mode == "verify-full" else ""
        return [*ca, "ssl", verified or "skip-ssl-verify-server-cert"]


def _knows_history(client: Client, server: Version) -> bool:
    return all(each.is_mariadb_since(10, 11) for each in (client.version, server))


def _feed(child: Child, input: Reader, target: str) -> None:
    renamed, end = Renamed(target), b""
    while chunk := input.read(CHUNK):
        child.feed(renamed.take(chunk))
        end = (end + chunk[-TAIL:])[-TAIL:]
    child.feed(renamed.end())
    if DONE not in end:
        raise BackupError("The artifact is not a whole dump. Restore another backup.")


def _quoted(value: str) -> str:
    """Return the value as option files take it."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
