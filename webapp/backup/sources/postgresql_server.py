"""What we ask a PostgreSQL server ourselves: its version, sizes, new and dropped databases."""

import contextlib
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, LiteralString

from webapp.backup.errors import BackupError
from webapp.backup.reach import Reach
from webapp.backup.sources.postgresql_errors import explain
from webapp.core.secrets import mask

if TYPE_CHECKING:
    import psycopg

CONNECT_SECONDS: Final = 10
MAINTENANCE: Final = ("postgres", "template1")
ABSENT_FILE: Final = "/dev/null/none"  # never that of the user who runs the server
LONGEST_NAME: Final = 63  # bytes, NAMEDATALEN - 1


class Server:
    """A server that one source's configuration leads to."""

    def __init__(self, config: Mapping[str, Any], reach: Reach) -> None:
        self.config, self.reach = config, reach

    @contextmanager
    def connected(self, database: str | None = None) -> Iterator["psycopg.Connection[Any]"]:
        """Connect to a database (by default the source's own), each statement by itself.

        Raises:
            BackupError: in words, also for what fails within the block.
        """
        import psycopg

        if not self.config["host"].startswith("/"):
            self.reach.require(self.config["host"], self.config["port"])
        try:
            with psycopg.connect(
                host=self.config["host"],
                port=self.config["port"],
                dbname=database or self.config["database"],
                user=self.config["user"],
                password=self.config.get("password") or "",
                passfile=ABSENT_FILE,
                sslmode=self.config.get("sslmode") or "prefer",
                sslrootcert=self.config.get("sslrootcert") or None,
                connect_timeout=CONNECT_SECONDS,
                application_name="dbackup",
                autocommit=True,
            ) as connection:
                yield connection
        except psycopg.Error as error:
            raise BackupError(self.explain(str(error))) from error

    def explain(self, said: str) -> str:
        """Return the error in words, without the password."""
        return explain(mask(said, (self.config.get("password") or "",)), self.config)

    def version(self) -> str:
        """Return the server's version: "15.20"."""
        with self.connected() as connection:
            return (connection.info.parameter_status("server_version") or "?").split(" ")[0]

    def size(self) -> int:
        """Return the size of the database's tables without their indexes."""
        query = (
            "SELECT coalesce(sum(pg_table_size(c.oid)), 0)::bigint FROM pg_class c "
            "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'm') "
            "AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'"
        )
        with self.connected() as connection:
            row = connection.execute(query).fetchone()
        return int(row[0]) if row else 0

    def require_new(self, name: str) -> None:
        """Refuse a name that cannot be used or is taken."""
        require_name(name)
        with self.maintenance() as connection:
            _require_free(connection, name)

    @contextmanager
    def new_database(self, name: str) -> Iterator[str]:
        """Make a database under a working name; it gets its own name when the block ends well.

        Else it is dropped.

        Raises:
            BackupError: a database of that name exists, or it cannot be made.
        """
        require_name(name)
        working = f"dbackup_restoring_{secrets.token_hex(6)}"
        with self.maintenance() as connection:
            _require_free(connection, name)
            self._create(connection, working)
        try:
            yield working
            with self.maintenance() as connection:
                _require_free(connection, name)
                _run(connection, "ALTER DATABASE {} RENAME TO {}", working, name)
        except BaseException:
            # When the server is gone, its own error matters more than what is left there.
            with contextlib.suppress(BackupError), self.maintenance() as connection:
                _drop(connection, working)
            raise

    @contextmanager
    def maintenance(self) -> Iterator["psycopg.Connection[Any]"]:
        """Connect to a database that every server has, or to the source's own."""
        # The source's own database comes last: it may be the one that was lost.
        *first, last = dict.fromkeys((*MAINTENANCE, self.config["database"]))
        for database in first:
            try:
                with self.connected(database):
                    pass
            except BackupError:
                continue
            last = database
            break
        with self.connected(last) as connection:
            yield connection

    def _create(self, connection: "psycopg.Connection[Any]", name: str) -> None:
        """Make it with the encoding and locale of the source's database, if that is still there."""
        from psycopg import sql

        row = connection.execute(
            "SELECT pg_encoding_to_char(encoding), to_jsonb(d) FROM pg_database d "
            "WHERE datname = %s",
            (self.config["database"],),
        ).fetchone()
        query = sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name))
        if row is not None:
            for option, value in _locale(row[0], row[1]):
                query += sql.SQL(f" {option} {{}}").format(sql.Literal(value))
        connection.execute(query)


def _locale(encoding: str, facts: Mapping[str, Any]) -> Iterator[tuple[LiteralString, str]]:
    """Yield the options that give a new database the encoding and sort order of another.

    `facts` is its row of pg_database, whose columns differ from version to version.
    """
    yield "ENCODING", encoding
    yield "LC_COLLATE", facts["datcollate"]
    yield "LC_CTYPE", facts["datctype"]
    locale = facts.get("datlocale") or facts.get("daticulocale")  # since 17, since 15
    if locale and facts.get("datlocprovider") == "i":
        yield "LOCALE_PROVIDER", "icu"
        yield "ICU_LOCALE", locale
        if rules := facts.get("daticurules"):
            yield "ICU_RULES", rules
    elif locale and facts.get("datlocprovider") == "b":
        yield "LOCALE_PROVIDER", "builtin"
        yield "BUILTIN_LOCALE", locale


def require_name(name: str) -> None:
    """Refuse what cannot be a database's name."""
    if not name.strip() or not name.isprintable() or len(name.encode()) > LONGEST_NAME:
        raise BackupError(f"Enter the name of the new database, at most {LONGEST_NAME} bytes.")


def _require_free(connection: "psycopg.Connection[Any]", name: str) -> None:
    query = "SELECT 1 FROM pg_database WHERE datname = %s"
    if connection.execute(query, (name,)).fetchone():
        raise BackupError(
            f"There is a database {name} already. Nothing is overwritten: choose a new name."
        )


def _drop(connection: "psycopg.Connection[Any]", name: str) -> None:
    connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
    )
    _run(connection, "DROP DATABASE IF EXISTS {}", name)


def _run(connection: "psycopg.Connection[Any]", statement: Any, *names: str) -> None:
    from psycopg import sql

    connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
