"""Databases, directories and peers of the tests of backups."""

import contextlib
import os
import secrets
import shutil
import socket
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import psycopg
import pymysql
import pytest
from psycopg import sql

from tests.services_needed import (
    HOST,
    MARIADB_PORT,
    PORT,
    mariadb_url,
    require,
    require_mariadb,
    require_postgres,
)
from webapp.backup.destinations.local import Local
from webapp.backup.sources.mysql import Mysql
from webapp.backup.sources.postgresql import Postgresql
from webapp.backup.sources.sqlite import Sqlite

SERVER = f"host={HOST} port={PORT} user=postgres"


@pytest.fixture
def local(tmp_path: Path) -> Local:
    return Local({"path": str(tmp_path / "backups")})


@pytest.fixture
def shop(tmp_path: Path) -> Sqlite:
    """A SQLite database in WAL mode with a table, a view, blobs and foreign keys."""
    path = tmp_path / "shop.db"
    connection = sqlite3.connect(path)
    connection.executescript(
        """
        PRAGMA journal_mode = WAL;
        CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT NOT NULL, photo BLOB);
        CREATE TABLE purchase (id INTEGER PRIMARY KEY, amount REAL,
          customer_id INTEGER NOT NULL REFERENCES customer (id));
        CREATE INDEX purchase_customer ON purchase (customer_id);
        CREATE VIEW total AS SELECT customer_id, sum(amount) AS amount FROM purchase GROUP BY 1;
        """
    )
    connection.executemany(
        "INSERT INTO customer VALUES (?, ?, ?)",
        [(i, f"Zoë “{i}” 雪", secrets.token_bytes(500)) for i in range(200)],
    )
    connection.executemany(
        "INSERT INTO purchase VALUES (?, ?, ?)", [(i, i / 7, i % 200) for i in range(2000)]
    )
    connection.commit()
    connection.close()
    return Sqlite({"path": str(path)})


class Scratch:
    """A server on which a test makes databases that are gone afterwards."""

    def __init__(self) -> None:
        self._made: list[str] = []

    def name(self) -> str:
        """Return a new name; a database of that name is dropped at the end."""
        name = f"dbackup_test_{secrets.token_hex(6)}"
        self._made.append(name)
        return name

    def database(self) -> Postgresql:
        """Make an empty database."""
        name = self.name()
        self.run("postgres", sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.source(name)

    def source(self, database: str, **changes: object) -> Postgresql:
        config: dict[str, object] = {
            "host": HOST,
            "port": PORT,
            "database": database,
            "user": "postgres",
            "password": "",
            "sslmode": "prefer",
            "sslrootcert": "",
        }
        return Postgresql(config | changes)

    def run(self, database: str, *statements: sql.Composable | str) -> None:
        with self.connect(database) as connection:
            for statement in statements:
                connection.execute(statement)  # type: ignore[arg-type]

    def connect(self, database: str) -> psycopg.Connection:
        return psycopg.connect(SERVER, dbname=database, autocommit=True)

    def databases(self) -> set[str]:
        with self.connect("postgres") as connection:
            return {row[0] for row in connection.execute("SELECT datname FROM pg_database")}

    def clean(self) -> None:
        for name in self._made:
            drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            self.run("postgres", drop)


@pytest.fixture
def scratch() -> Iterator[Scratch]:
    require_postgres()
    made = Scratch()
    yield made
    made.clean()


GUARD_PASSWORD = "tall ships & quiet: harbours"


class Guarded:
    """A PostgreSQL server of our own that asks for a password and can be stopped."""

    def __init__(self, folder: Path, port: int) -> None:
        self._programs = max(Path("/usr/lib/postgresql").glob("*/bin"))
        self._folder = folder
        self.port = port

    def make(self) -> None:
        password = self._folder / "password"
        password.write_text(GUARD_PASSWORD)
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            for path in (self._folder, password):
                shutil.chown(path, "postgres")
        self._run("initdb", "--auth=scram-sha-256", f"--pwfile={password}", "--no-sync")

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses={HOST} -c fsync=off -k {self._folder}"
        self._run("pg_ctl", "start", "-w", "-o", options, "-l", str(self._folder / "log"))

    def stop(self) -> None:
        self._run("pg_ctl", "stop", "-m", "immediate")

    def source(self, **changes: object) -> Postgresql:
        config: dict[str, object] = {
            "host": HOST,
            "port": self.port,
            "database": "postgres",
            "user": "postgres",
            "password": GUARD_PASSWORD,
            "sslmode": "prefer",
            "sslrootcert": "",
        }
        return Postgresql(config | changes)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), "-D", str(self._folder / "data"), *arguments]
        user = "postgres" if os.geteuid() == 0 else None
        subprocess.run(
            command, user=user, check=True, stdout=subprocess.DEVNULL, cwd=self._folder, timeout=60
        )


@pytest.fixture
def guarded() -> Iterator[Guarded]:
    require_postgres()
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    require("PostgreSQL server programs", bool(found), "initdb is not installed")
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        server = Guarded(Path(folder), port)
        server.make()
        server.start()
        yield server
        with contextlib.suppress(subprocess.CalledProcessError):
            server.stop()


class MariaScratch:
    """A MariaDB server on which a test makes databases and users that are gone afterwards."""

    def __init__(self) -> None:
        url = urlsplit(mariadb_url())
        self.login: dict[str, Any] = {
            "host": url.hostname or HOST,
            "port": url.port or MARIADB_PORT,
            "user": unquote(url.username or "root"),
            "password": unquote(url.password or ""),
        }
        self._made: list[str] = []
        self._users: list[str] = []

    def name(self) -> str:
        """Return a new name; a database of that name is dropped at the end."""
        name = f"dbackup_test_{secrets.token_hex(6)}"
        self._made.append(name)
        return name

    def database(self, *statements: str) -> Mysql:
        """Make a database of these statements."""
        name = self.name()
        self.run(None, f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
        self.run(name, *statements)
        return self.source(name)

    def user(self, password: str, *grants: str) -> str:
        """Make a user who has these rights: "SELECT ON shop.*"."""
        name = f"dbt_{secrets.token_hex(6)}"
        self._users.append(name)
        with self.connect(None) as cursor:
            cursor.execute(f"CREATE USER '{name}'@'%%' IDENTIFIED BY %s", (password,))
        self.run(None, *(f"GRANT {grant} TO '{name}'@'%'" for grant in grants))
        return name

    def source(self, database: str, **changes: object) -> Mysql:
        return Mysql(self.login | {"database": database, "tls": "prefer"} | changes)

    def run(self, database: str | None, *statements: str) -> None:
        with self.connect(database) as cursor:
            for statement in statements:
                cursor.execute(statement)

    def rows(self, database: str, query: str) -> list[Any]:
        with self.connect(database) as cursor:
            cursor.execute(query)
            return list(cursor.fetchall())

    @contextlib.contextmanager
    def connect(self, database: str | None) -> "Iterator[pymysql.cursors.Cursor]":
        connection = pymysql.connect(
            **self.login, database=database, autocommit=True, charset="utf8mb4", ssl_disabled=True
        )
        with contextlib.closing(connection), connection.cursor() as cursor:
            yield cursor

    def databases(self) -> set[str]:
        return {row[0] for row in self.rows("mysql", "SHOW DATABASES")}

    def clean(self) -> None:
        self.run(None, *(f"DROP DATABASE IF EXISTS `{name}`" for name in self._made))
        self.run(None, *(f"DROP USER IF EXISTS '{name}'@'%'" for name in self._users))


@pytest.fixture
def maria() -> Iterator[MariaScratch]:
    require_mariadb()
    made = MariaScratch()
    yield made
    made.clean()
