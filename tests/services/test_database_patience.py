"""A PostgreSQL server that goes away without a word is given up soon, and not in two hours."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from flask import Flask

from tests.conftest import make_postgres, make_settings
from webapp.app import create_app
from webapp.models import db

pytestmark = pytest.mark.postgres


@contextmanager
def connection_of(app: Flask) -> Iterator[socket.socket]:
    """The socket of a connection to the database."""
    with app.app_context(), db.engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        with socket.socket(fileno=os.dup(driver.fileno())) as sock:
            yield sock
        connection.close()
        db.engine.dispose()


def option(sock: socket.socket, name: int) -> int:
    return sock.getsockopt(socket.IPPROTO_TCP, name)


def test_a_silent_server_is_given_up_within_a_minute(postgres_app: Flask) -> None:
    with connection_of(postgres_app) as sock:
        probes = option(sock, socket.TCP_KEEPINTVL) * option(sock, socket.TCP_KEEPCNT)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert option(sock, socket.TCP_KEEPIDLE) + probes <= 60
        assert 0 < option(sock, socket.TCP_USER_TIMEOUT) <= 60_000


def test_what_the_address_says_about_that_is_kept(tmp_path: Path) -> None:
    with make_postgres() as url:
        app = create_app(make_settings(tmp_path, database_url=f"{url}?keepalives_idle=77"))
        with connection_of(app) as sock:
            assert option(sock, socket.TCP_KEEPIDLE) == 77
