"""What we ask a MySQL or MariaDB server ourselves: version, rights, sizes, new databases."""

import contextlib
import ssl
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from webapp.backup.errors import BackupError
from webapp.backup.reach import Reach
from webapp.backup.sources import mysql_rights
from webapp.backup.sources.mysql_clients import Version, parse
from webapp.backup.sources.mysql_errors import explain
from webapp.core.secrets import mask

if TYPE_CHECKING:
    import pymysql
    from pymysql.cursors import Cursor

CONNECT_SECONDS: Final = 10
ANSWER_SECONDS: Final = 600
LONGEST_NAME: Final = 64  # characters
NO_SERVER: Final = "What answers there is no MySQL or MariaDB server. Check host and port."
MARKER: Final = "dbackup_restoring"
"""A table that is in a database while it is restored: without renaming, only this shows it."""
_MARKED: Final = (
    "SELECT count(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s"
)
WITHOUT_TRANSACTIONS: Final = ("MyISAM", "Aria", "MEMORY", "CSV", "ARCHIVE")


class Server:
    """A server that one source's configuration leads to."""

    def __init__(self, config: Mapping[str, Any], reach: Reach) -> None:
        self.config, self.reach = config, reach

    @property
    def is_socket(self) -> bool:
        """Say whether the host is the path of a socket."""
        return str(self.config["host"]).startswith("/")

    @contextmanager
    def connected(self, database: str | None = None) -> Iterator["Cursor"]:
        """Connect, to no database by default.

        Raises:
            BackupError: in words, also for what fails within the block.
        """
        import pymysql

        try:
            with (
                contextlib.closing(self._connect(database)) as connection,
                connection.cursor() as cursor,
            ):
                yield cursor
        except (pymysql.Error, OSError) as error:
            raise BackupError(self.explain(_said(error))) from error

    def explain(self, said: str) -> str:
        """Return the error in words, without the password."""
        return explain(mask(said, (self.config.get("password") or "",)), self.config)

    def version(self) -> Version:
        """Return the server's version, and see that its database is there."""
        with self.connected(self.config["database"]) as cursor:
            return parse(str(_value(cursor, "SELECT VERSION()")))

    def any_version(self) -> Version:
        """Return the server's version, whatever databases it has."""
        with self.connected() as cursor:
            return parse(str(_value(cursor, "SELECT VERSION()")))

    def is_encrypted(self) -> bool:
        """Say whether connections to it are encrypted with the settings chosen."""
        with self.connected() as cursor:
            cursor.execute("SHOW SESSION STATUS LIKE 'Ssl_cipher'")
            row = cursor.fetchone()
        return bool(row and row[1])

    def require_rights(self) -> None:
        """Refuse a user whose dump would be incomplete."""
        with self.connected() as cursor:
            cursor.execute("SHOW GRANTS")
            grants = [str(row[0]) for row in cursor.fetchall()]
        if lacking := mysql_rights.missing(grants, self.config["database"]):
            raise BackupError(
                mysql_rights.words(lacking, self.config["user"], self.config["database"])
            )

    def without_transactions(self) -> int:
        """Return how many tables cannot be read as they are at one moment."""
        query = (
            "SELECT count(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s "
            "AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') AND ENGINE IN %s"
        )
        with self.connected() as cursor:
            return int(_value(cursor, query, self.config["database"], WITHOUT_TRANSACTIONS))

    def with_history(self) -> int:
        """Return how many tables keep what their rows were before (system versioning)."""
        query = (
            "SELECT count(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s "
            "AND TABLE_TYPE = 'SYSTEM VERSIONED'"
        )
        with self.connected() as cursor:
            return int(_value(cursor, query, self.config["database"]))

    def size(self) -> int:
        """Return about the size of the database's tables without their indexes."""
        query = (
            "SELECT coalesce(sum(DATA_LENGTH), 0) FROM information_schema.TABLES "
            "WHERE TABLE_SCHEMA = %s"
        )
        with self.connected() as cursor:
            return int(_value(cursor, query, self.config["database"]))

    def require_new(self, name: str) -> None:
        """Refuse a name that cannot be used or is taken."""
        _require_name(name)
        with self.connected() as cursor:
            _require_free(cursor, name)

    def is_being_restored(self, name: str) -> bool:
        """Say whether a database has the mark of a restore that has not ended."""
        with self.connected() as cursor:
            return bool(_value(cursor, _MARKED, name, MARKER))

    @contextmanager
    def new_database(self, name: str) -> Iterator[None]:
        """Make a database; it is dropped when the block raises.

        Raises:
            BackupError: a database of that name exists, or it cannot be made.
        """
        _require_name(name)
        with self.connected() as cursor:
            _require_free(cursor, name)
            cursor.execute(f"CREATE DATABASE {_quoted(name)} {self._charset(cursor)}")
            cursor.execute(f"CREATE TABLE {_quoted(name)}.{MARKER} (note INT)")
        try:
            yield
            with self.connected() as cursor:
                cursor.execute(f"DROP TABLE {_quoted(name)}.{MARKER}")
        except BaseException:
            # When the server is gone, its own error matters more than what is left there.
            with contextlib.suppress(BackupError), self.connected() as cursor:
                cursor.execute(f"DROP DATABASE IF EXISTS {_quoted(name)}")
            raise

    def _charset(self, cursor: "Cursor") -> str:
        """Return the character set and collation of the source's database, if it is still there."""
        cursor.execute(
            "SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME "
            "FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = %s",
            (self.config["database"],),
        )
        row = cursor.fetchone()
        return f"CHARACTER SET {row[0]} COLLATE {row[1]}" if row else ""

    def _connect(self, database: str | None) -> "pymysql.Connection[Cursor]":
        import pymysql

        if not self.is_socket:
            self.reach.require(self.config["host"], self.config["port"])
        elif not Path(self.config["host"]).is_socket():
            raise FileNotFoundError(f"No such file or directory: {self.config['host']}")
        mode = self.config.get("tls") or "prefer"
        if mode == "disable" or self.is_socket:
            return self._open(database, None)
        try:
            return self._open(database, self._context(mode))
        except pymysql.OperationalError as error:
            if mode != "prefer" or "doesn't support it" not in _said(error):
                raise
            return self._open(database, None)

    def _open(
        self, database: str | None, context: ssl.SSLContext | None
    ) -> "pymysql.Connection[Cursor]":
        import pymysql

        try:
            connection = pymysql.connect(
                host=None if self.is_socket else self.config["host"],
                port=self.config["port"],
                unix_socket=self.config["host"] if self.is_socket else None,
                user=self.config["user"],
                password=(self.config.get("password") or "").encode(),  # text becomes latin1
                database=database,
                charset="utf8mb4",
                connect_timeout=CONNECT_SECONDS,
                read_timeout=CONNECT_SECONDS,  # also while it introduces itself
                write_timeout=ANSWER_SECONDS,
                ssl=context,
                ssl_disabled=context is None,
                autocommit=True,
            )
        except (IndexError, struct.error, AssertionError) as error:
            raise BackupError(NO_SERVER) from error
        connection._read_timeout = ANSWER_SECONDS  # type: ignore[attr-defined]  # no other way
        return connection

    def _context(self, mode: str) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.config.get("ca_file") or None)
        if mode != "verify-full":
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def _require_name(name: str) -> None:
    if (
        not name.strip()
        or name != name.strip()
        or not name.isprintable()
        or len(name) > LONGEST_NAME
        or any(character in "/\\." for character in name)
    ):
        raise BackupError(
            f"Enter the name of the new database, at most {LONGEST_NAME} characters, without "
            "slashes and dots."
        )


def _require_free(cursor: "Cursor", name: str) -> None:
    query = "SELECT count(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = %s"
    if not _value(cursor, query, name):
        return
    if _value(cursor, _MARKED, name, MARKER):
        raise BackupError(
            f"The database {name} was left by a restore that was broken off, or that runs just "
            f"now (it has the table {MARKER}). Drop it, or choose a new name."
        )
    raise BackupError(
        f"There is a database {name} already. Nothing is overwritten: choose a new name."
    )


def _value(cursor: "Cursor", query: str, *values: object) -> Any:
    cursor.execute(query, values or None)
    row = cursor.fetchone()
    return row[0] if row else None


def _quoted(name: str) -> str:
    return f"`{name.replace('`', '``')}`"


def _said(error: BaseException) -> str:
    """Return "1045: Access denied …" of the pair that the library raises."""
    return ": ".join(str(part) for part in error.args) or type(error).__name__
