"""Says what a test needs of the machine, and skips it with a reason where that is missing."""

import os
import shutil
import socket
from functools import lru_cache
from typing import Final

import pytest

HOST: Final = "127.0.0.1"
PORT: Final = 5432


def require(name: str, available: bool, reason: str) -> None:
    """Skip the test when something is missing; fail it when nothing may be left out."""
    if available:
        return
    if os.environ.get("DBACKUP_TEST_REQUIRE_ALL") == "1":
        pytest.fail(f"{name} is required: {reason}")
    pytest.skip(f"{name}: {reason}")


def require_postgres() -> None:
    """Require a PostgreSQL server on 127.0.0.1:5432 and its client programs."""
    require("PostgreSQL client", bool(shutil.which("pg_dump")), "pg_dump is not installed")
    require("PostgreSQL server", _answers(HOST, PORT), f"nothing answers at {HOST}:{PORT}")


@lru_cache
def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=2):
            return True
    except OSError:
        return False
