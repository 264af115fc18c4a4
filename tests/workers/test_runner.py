"""Runner threads on real files: they take, limit, stop and recover."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from tests.factories import make_destination, make_job, make_source
from webapp.backup.sources.sqlite import Sqlite
from webapp.models.delivery import EventRow
from webapp.models.job import Job
from webapp.models.run import Outcome, Run
from webapp.services import bells, processes, run_settings, runs
from webapp.services.transaction import reading, transaction
from webapp.workers import runner as runner_module
from webapp.workers.runner import Runner


@pytest.fixture
def jobs(app: Flask, tmp_path: Path) -> list[Job]:
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE item (name TEXT)")
    connection.close()
    source = make_source(config={"path": str(path)})
    (tmp_path / "shelf").mkdir()
    place = make_destination(config={"path": str(tmp_path / "shelf")})
    return [make_job(source_id=source.id, destinations=[place.id]) for _ in range(3)]


@pytest.fixture
def runner(app: Flask) -> Iterator[Runner]:
    made = runner_module.start(app)
    yield made
    made.stop()


def outcomes() -> list[str]:
    with reading() as session:
        return list(session.scalars(select(Run.outcome).order_by(Run.id)))


def until(condition: Any) -> None:
    for _ in range(500):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError(f"it did not happen; the runs are {outcomes()}")


class Gate:
    """A dump that waits, and counts how many wait at once."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.inside = 0
        self.most = 0
        self._lock = threading.Lock()

    def dump(self, output: Any, progress: Any) -> None:
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        try:
            while not self.open.wait(0.01):
                progress.check()
            output.write(b"x")
        finally:
            with self._lock:
                self.inside -= 1


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    made = Gate()
    monkeypatch.setattr(Sqlite, "dump", lambda _source, *args: made.dump(*args))
    return made


def test_a_run_that_waits_is_carried_out(jobs: list[Job], runner: Runner) -> None:
    runs.start(jobs[0].id, "manual", "Mara")
    until(lambda: outcomes() == [Outcome.SUCCESS])


def test_two_run_at_once_and_the_third_waits(jobs: list[Job], gate: Gate, runner: Runner) -> None:
    for job in jobs:
        runs.start(job.id, "manual", "Mara")
    until(lambda: gate.inside == 2)
    time.sleep(0.2)
    assert gate.most == 2
    gate.open.set()
    until(lambda: outcomes() == [Outcome.SUCCESS] * 3)
    assert gate.most == 2


def test_a_stop_interrupts_what_runs_and_leaves_what_waits(
    jobs: list[Job], gate: Gate, runner: Runner
) -> None:
    for job in jobs:
        runs.start(job.id, "manual", "Mara")
    until(lambda: gate.inside == 2)
    assert runner.stop(10)
    assert outcomes() == [Outcome.INTERRUPTED, Outcome.INTERRUPTED, Outcome.RUNNING]
    with reading() as session:
        types = session.scalars(select(EventRow.type)).all()
    assert types == ["backup_interrupted"] * 2


def test_what_a_dead_process_left_is_recorded_before_anything_starts(
    app: Flask, jobs: list[Job]
) -> None:
    run_id = runs.start(jobs[0].id, "manual", "Mara")
    with transaction() as session:
        host = processes.owner().rsplit(":", 2)[0]
        session.get_one(Run, run_id).owner = f"{host}:999999999:0"
    made = runner_module.start(app)
    assert outcomes() == [Outcome.INTERRUPTED]
    made.stop()


def test_an_error_of_the_runner_itself_is_reported(
    app: Flask, jobs: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> int:
        raise RuntimeError("the table is gone")

    monkeypatch.setattr(runs, "claim", broken)
    made = runner_module.start(app)
    until(lambda: "system_error" in types())
    made.stop()


def types() -> list[str]:
    with reading() as session:
        return list(session.scalars(select(EventRow.type)))


def test_the_settings_say_how_many_run_at_once(app: Flask) -> None:
    run_settings.save(1)
    made = runner_module.start(app)
    assert alive(made) == 1
    for count in (3, 1):
        run_settings.save(count)
        deadline = time.monotonic() + 10
        while alive(made) != count and time.monotonic() < deadline:
            bells.run_waiting.ring()
            time.sleep(0.05)
        assert alive(made) == count
    assert made.stop()


def alive(made: Runner) -> int:
    return sum(thread.is_alive() for thread in made._threads)
