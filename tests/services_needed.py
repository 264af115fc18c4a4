"""Says what a test needs of the machine, and skips it with a reason where that is missing."""

import os
import shutil
import socket
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

import psycopg
import pytest

HOST: Final = "127.0.0.1"
PORT: Final = 5432
MARIADB_PORT: Final = 3306


def require(name: str, available: bool, reason: str) -> None:
    """Skip the test when something is missing; fail it when nothing may be left out."""
    if available:
        return
    if os.environ.get("DBACKUP_TEST_REQUIRE_ALL") == "1":
        pytest.fail(f"{name} is required: {reason}")
    pytest.skip(f"{name}: {reason}")


def require_postgres() -> None:
    """Require a PostgreSQL server on 127.0.0.1:5432 that lets postgres in, and its programs."""
    require("PostgreSQL client", bool(shutil.which("pg_dump")), "pg_dump is not installed")
    why_not = _why_postgres_is_closed()
    require("PostgreSQL server", not why_not, why_not)


@lru_cache
def _why_postgres_is_closed() -> str:
    where = f"host={HOST} port={PORT} user=postgres dbname=postgres connect_timeout=2"
    try:
        psycopg.connect(where).close()
    except psycopg.OperationalError as error:
        return " ".join(str(error).split())
    return ""


@lru_cache
def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=2):
            return True
    except OSError:
        return False


def mariadb_url() -> str:
    """Return where the tests find MariaDB: mysql://user:password@host:port."""
    return os.environ.get("DBACKUP_TEST_MARIADB_URL") or "mysql://root@127.0.0.1:3306"


def require_mariadb() -> None:
    """Require a MariaDB server that lets the tests make databases, and its client programs."""
    found = bool(shutil.which("mariadb-dump") or shutil.which("mysqldump"))
    require("MariaDB client", found, "mariadb-dump is not installed")
    url = urlsplit(mariadb_url())
    host, port = url.hostname or HOST, url.port or MARIADB_PORT
    require("MariaDB server", _answers(host, port), f"nothing answers at {host}:{port}")
