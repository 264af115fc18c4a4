"""Runner threads carry out restores beside runs, and break them off when the server stops."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select

from tests.services.restoring import items, reload, sqlite_artifact
from webapp.backup.progress import Progress
from webapp.backup.sources.sqlite import Sqlite
from webapp.core.settings import Settings
from webapp.models.delivery import EventRow
from webapp.services import restores
from webapp.services.transaction import reading
from webapp.workers import runner as runner_module
from webapp.workers.runner import Runner


@pytest.fixture
def runner(app: Flask) -> Iterator[Runner]:
    made = runner_module.start(app)
    yield made
    made.stop()


def ask(tmp_path: Path) -> int:
    artifact = sqlite_artifact(tmp_path)
    target = str(tmp_path / "restored.db")
    return restores.request(artifact.id, target=target, source_id=None, requested_by="Mara")


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def types() -> list[str]:
    with reading() as session:
        return list(session.scalars(select(EventRow.type)))


@pytest.mark.usefixtures("runner")
def test_a_restore_that_waits_is_carried_out(tmp_path: Path) -> None:
    restore_id = ask(tmp_path)
    until(lambda: reload(restore_id).outcome == "success")
    assert len(items(tmp_path / "restored.db")) == 500
    assert types() == ["restore_complete"]


def wait_for_ever(_self: Sqlite, _input: object, _target: str, progress: Progress) -> None:
    while True:
        progress.check()
        time.sleep(0.01)


def test_a_server_that_stops_breaks_the_restore_off_and_announces_it(
    runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Sqlite, "restore", wait_for_ever)
    restore_id = ask(tmp_path)
    until(lambda: reload(restore_id).step == "Load")

    assert runner.stop(10)

    assert (reload(restore_id).outcome, types()) == ("interrupted", ["restore_failure"])


SERVER = """
import sys, time
from tests.conftest import make_settings
from pathlib import Path
from webapp.app import create_app
from webapp.backup.sources.sqlite import Sqlite
from webapp.workers import runner

def never_ending(*_arguments):
    print("loading", flush=True)
    time.sleep(600)

Sqlite.restore = never_ending
app = create_app(make_settings(Path(sys.argv[1]), encryption_keys=(sys.argv[2],)))
runner.start(app)
time.sleep(600)
"""


@pytest.mark.crash
def test_a_restore_of_a_server_that_was_killed_is_announced_by_the_next_one(
    app: Flask, settings: Settings, tmp_path: Path
) -> None:
    restore_id = ask(tmp_path)
    command = [sys.executable, "-c", SERVER, str(settings.instance_path)]
    with subprocess.Popen(
        [*command, settings.encryption_keys[0]], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "loading\n"
        os.kill(server.pid, signal.SIGKILL)
    assert reload(restore_id).outcome == "running"

    runner_module.start(app).stop()

    row = reload(restore_id)
    assert (row.outcome, row.step, types()) == ("interrupted", "Load", ["restore_failure"])
