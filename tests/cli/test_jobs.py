"""dbackup jobs."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.factories import make_destination, make_job, make_source
from webapp.core.settings import PROJECT_ROOT, Settings
from webapp.models.run import Outcome, Trigger
from webapp.services import run_history
from webapp.services.run_history import Filters


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE goods (name TEXT)")
        connection.executemany("INSERT INTO goods VALUES (?)", [("nail",)] * 1000)
    connection.close()
    return path


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    path = tmp_path / "shelf"
    path.mkdir()
    return path


def nightly(database: Path, shelf: Path) -> None:
    make_job(
        name="nightly",
        enabled=False,
        source_id=make_source(config={"path": str(database)}).id,
        destinations=[make_destination(config={"path": str(shelf)}).id],
    )


def test_a_run_that_succeeds_leaves_an_artifact_and_ends_with_0(dbackup, database, shelf) -> None:
    nightly(database, shelf)
    result = dbackup("jobs", "run", "nightly")
    assert result.exit_code == 0, result.stderr
    assert "success" in result.stdout
    assert [path for path in shelf.rglob("*") if path.is_file()]
    (run,) = run_history.listing(Filters()).runs
    assert (run.outcome, run.trigger) == (Outcome.SUCCESS, Trigger.CLI)
    assert f"(run {run.id})" in result.stdout


def test_a_run_that_fails_says_why_and_ends_with_1(dbackup, shelf, tmp_path) -> None:
    nightly(tmp_path / "nothing.db", shelf)
    result = dbackup("jobs", "run", "nightly")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "nothing.db" in result.stderr.splitlines()[-1]


def test_a_job_that_is_not_there_cannot_run(dbackup) -> None:
    result = dbackup("jobs", "run", "nope")
    assert (result.exit_code, result.stderr) == (1, "Error: There is no job “nope”.\n")


def test_the_list_says_how_the_last_run_ended(dbackup, database, shelf) -> None:
    nightly(database, shelf)
    dbackup("jobs", "run", "nightly")
    (entry,) = json.loads(dbackup("jobs", "list", "--json").stdout)
    assert (entry["name"], entry["on"], entry["outcome"]) == ("nightly", False, "success")


@pytest.mark.parametrize(
    ("number", "outcome", "status"),
    [(signal.SIGINT, Outcome.CANCELLED, 4), (signal.SIGTERM, Outcome.INTERRUPTED, 5)],
)
def test_a_signal_ends_the_run_and_is_recorded(
    dbackup, settings: Settings, database, shelf, number, outcome, status
) -> None:
    with sqlite3.connect(database) as connection:  # big enough to be caught at work
        connection.executemany(
            "INSERT INTO goods VALUES (?)", ((os.urandom(500_000).hex(),) for _ in range(120))
        )
    connection.close()
    nightly(database, shelf)
    environ = os.environ | {
        "DBACKUP_INSTANCE_PATH": str(settings.instance_path),
        "DBACKUP_SECRET_KEY": settings.secret_key,
        "DBACKUP_ENCRYPTION_KEYS": " ".join(settings.encryption_keys),
    }
    command = [sys.executable, "-m", "webapp.server", "jobs", "run", "nightly"]
    with subprocess.Popen(
        command, cwd=PROJECT_ROOT, env=environ, stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 30
        while not run_history.listing(Filters()).runs:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == status, said
    assert "Traceback" not in said
    (run,) = run_history.listing(Filters()).runs
    assert run.outcome == outcome
