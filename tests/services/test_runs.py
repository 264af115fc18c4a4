"""Runs on a real SQLite file and a real directory: what they leave, and whom they tell."""

import gzip
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from tests.factories import make_channel, make_destination, make_job, make_source
from webapp.backup.errors import BackupError
from webapp.backup.sources.sqlite import Sqlite
from webapp.core import clock
from webapp.core.errors import ConflictError, NotFoundError
from webapp.models.delivery import Delivery, EventRow, State
from webapp.models.job import Job, SourceRow
from webapp.models.routing import Condition, JobChannel
from webapp.models.run import ArtifactRow, Outcome, Run, RunLine
from webapp.models.setting import Lease
from webapp.services import processes, run_settings, runs
from webapp.services.transaction import reading, transaction


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE item (name TEXT)")
        connection.executemany("INSERT INTO item VALUES (?)", [("a",), ("b",), ("c",)])
    connection.close()
    return path


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    path = tmp_path / "shelf"
    path.mkdir()
    return path


@pytest.fixture
def job(app: Flask, database: Path, shelf: Path) -> Job:
    source = make_source(name="shop", config={"path": str(database)})
    place = make_destination(name="nas", config={"path": str(shelf)})
    job: Job = make_job(name="Shop nightly", source_id=source.id, destinations=[place.id])
    return job


def rows(job: Job) -> dict[str, int]:
    """Give the job one row per condition; return the channels' ids."""
    channels = {condition: make_channel(name=condition).id for condition in Condition}
    with transaction() as session:
        for condition, channel_id in channels.items():
            session.add(JobChannel(job_id=job.id, channel_id=channel_id, condition=condition))
    return {condition.value: channel_id for condition, channel_id in channels.items()}


def run(job: Job, trigger: str = "cli", by: str = "Mara") -> Run:
    run_id = runs.start(job.id, trigger, by)
    runs.execute(run_id)
    return stored(run_id)


def stored(run_id: int) -> Run:
    with reading() as session:
        return session.get_one(Run, run_id)


def told() -> dict[str, str]:
    """Return the state of each channel's delivery, by channel name."""
    with reading() as session:
        found = session.execute(select(Delivery.channel_name, Delivery.state))
        return {row.channel_name: row.state for row in found}


def published() -> list[EventRow]:
    with reading() as session:
        return list(session.scalars(select(EventRow).order_by(EventRow.id)))


def log(run_id: int) -> str:
    with reading() as session:
        found = session.scalars(select(RunLine).where(RunLine.run_id == run_id))
        return "\n".join(f"{line.level} {line.text}" for line in found)


def break_source(job: Job, database: Path) -> None:
    database.write_bytes(b"this is not a database" * 100)


def test_a_run_leaves_a_restorable_artifact_and_says_so(
    job: Job, shelf: Path, tmp_path: Path
) -> None:
    ended = run(job)
    assert ended.outcome == Outcome.SUCCESS
    with reading() as session:
        artifact = session.scalars(select(ArtifactRow)).one()
    assert artifact.key.startswith(f"{job.folder}/")
    assert (artifact.run_id, artifact.job_id) == (ended.id, job.id)
    copy = tmp_path / "copy.db"
    copy.write_bytes(gzip.decompress((shelf / artifact.key).read_bytes()))
    with sqlite3.connect(copy) as connection:
        assert connection.execute("SELECT count(*) FROM item").fetchone() == (3,)
    connection.close()
    assert ended.destinations == [
        {"id": artifact.destination_id, "name": "nas", "stored": True, "detail": ""}
    ]


def test_steps_and_lines_are_recorded(job: Job) -> None:
    ended = run(job)
    assert [(step["name"], step["state"]) for step in ended.steps] == [
        ("Connect", "done"),
        ("Dump", "done"),
        ("Store", "done"),
        ("Verify", "done"),
    ]
    assert "Started by Mara on the command line." in log(ended.id)
    assert "info Backup finished in" in log(ended.id)


def test_success_tells_always_and_on_success_only(job: Job) -> None:
    rows(job)
    run(job)
    assert told() == {
        "always": State.QUEUED,
        "on_success": State.QUEUED,
        "on_failure": State.SKIPPED,
    }


def test_failure_tells_always_and_on_failure_only(job: Job, database: Path) -> None:
    rows(job)
    break_source(job, database)
    ended = run(job)
    assert ended.outcome == Outcome.FAILURE
    assert told() == {
        "always": State.QUEUED,
        "on_success": State.SKIPPED,
        "on_failure": State.QUEUED,
    }


def test_the_event_carries_the_run_and_the_step(job: Job, database: Path) -> None:
    break_source(job, database)
    ended = run(job)
    event = published()[0]
    assert (event.type, event.run_id, event.job_id) == ("backup_failure", ended.id, job.id)
    assert event.payload["source"] == "shop (SQLite)"
    assert event.payload["step"] == ended.step
    assert event.payload["error"] == ended.error
    assert event.payload["destinations"] == [{"name": "nas", "stored": False, "detail": ""}]


def test_a_destination_that_fails_makes_the_run_partial(
    app: Flask, database: Path, shelf: Path
) -> None:
    source = make_source(config={"path": str(database)})
    good = make_destination(name="nas", config={"path": str(shelf)})
    bad = make_destination(name="offsite", config={"path": str(shelf / "missing" / "deep")})
    (shelf / "missing").write_text("a file is in the way")
    job = make_job(source_id=source.id, destinations=[good.id, bad.id])
    rows(job)
    ended = run(job)
    assert ended.outcome == Outcome.PARTIAL
    assert ended.error is not None
    assert ended.error.startswith("offsite: ")
    assert told()["on_failure"] == State.QUEUED
    assert told()["on_success"] == State.SKIPPED
    with reading() as session:
        assert [row.destination_id for row in session.scalars(select(ArtifactRow))] == [good.id]


def test_a_source_that_cannot_be_opened_is_a_failure_that_tells(job: Job) -> None:
    rows(job)
    with transaction() as session:
        session.get_one(SourceRow, job.source_id).config = "sealed with a key that is lost"
    ended = run(job)
    assert (ended.outcome, ended.step) == (Outcome.FAILURE, "Set up")
    assert told()["on_failure"] == State.QUEUED


def test_a_missing_secret_is_a_failure_that_names_it(app: Flask, shelf: Path) -> None:
    source = make_source(
        type="postgresql",
        config={
            "host": "127.0.0.1",
            "port": 5432,
            "database": "postgres",
            "user": "postgres",
            "password": "env:NOT_SET_ANYWHERE",
        },
    )
    place = make_destination(config={"path": str(shelf)})
    job = make_job(source_id=source.id, destinations=[place.id])
    ended = run(job)
    assert ended.outcome == Outcome.FAILURE
    assert "NOT_SET_ANYWHERE" in (ended.error or "")
    assert [event.type for event in published()] == ["backup_failure"]


def test_a_job_without_destination_fails_and_tells(app: Flask, database: Path) -> None:
    job = make_job(source_id=make_source(config={"path": str(database)}).id, destinations=[])
    rows(job)
    ended = run(job)
    assert ended.outcome == Outcome.FAILURE
    assert "no destination" in (ended.error or "")
    assert told()["on_failure"] == State.QUEUED


def test_an_unexpected_error_is_a_failure_and_a_system_error(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(*_: Any) -> None:
        raise ZeroDivisionError("nobody expected this")

    monkeypatch.setattr(Sqlite, "dump", explode)
    ended = run(job)
    assert ended.outcome == Outcome.FAILURE
    assert "nobody expected this" in (ended.error or "")
    assert sorted(event.type for event in published()) == ["backup_failure", "system_error"]


def test_only_the_last_n_artifacts_are_kept(job: Job, shelf: Path) -> None:
    with transaction() as session:
        session.get_one(Job, job.id).keep_last = 2
    for _ in range(4):
        run(job)
    with reading() as session:
        listed = {row.key for row in session.scalars(select(ArtifactRow))}
    on_disk = {str(path.relative_to(shelf)) for path in shelf.rglob("*.gz") if not path.is_dir()}
    assert len(listed) == 2
    assert listed == on_disk


def test_the_same_job_does_not_run_twice_at_once(job: Job) -> None:
    runs.start(job.id, "manual", "Mara")
    with pytest.raises(ConflictError, match="is running already"):
        runs.start(job.id, "cli", "Priya")


def test_a_lease_of_another_process_is_respected(job: Job) -> None:
    with transaction() as session:
        session.add(
            Lease(
                name=f"job:{job.id}",
                owner="elsewhere:1:1",
                leased_until=clock.now() + timedelta(minutes=1),
            )
        )
    with pytest.raises(ConflictError, match="is running already"):
        runs.start(job.id, "cli", "Mara")


def test_a_job_can_run_again_after_it_ended(job: Job) -> None:
    assert run(job).outcome == run(job).outcome == Outcome.SUCCESS


def test_a_job_that_was_deleted_cannot_start(app: Flask) -> None:
    with pytest.raises(NotFoundError):
        runs.start(4711, "manual", "Mara")


def test_waiting_runs_are_taken_in_turn(job: Job, database: Path, shelf: Path) -> None:
    other = make_job(source_id=job.source_id, destinations=[])
    first, second = runs.start(job.id, "manual", "M"), runs.start(other.id, "schedule")
    assert [runs.claim(), runs.claim(), runs.claim()] == [first, second, None]


def test_the_runs_of_other_processes_count(job: Job) -> None:
    run_settings.save(2)
    for _ in range(2):
        other = make_job(source_id=job.source_id, destinations=[])
        run_id = runs.start(other.id, "schedule")
        with transaction() as session:  # this test runner's parent lives as long as it does
            session.get_one(Run, run_id).owner = processes._name(os.getppid())
    waits = runs.start(job.id, "manual", "Mara")
    assert runs.claim() is None
    with transaction() as session:
        session.get_one(Run, run_id).outcome = Outcome.SUCCESS
    assert runs.claim() == waits


def test_a_thread_that_comes_late_does_not_disown_the_run(app: Flask, job: Job) -> None:
    run_id = runs.start(job.id, "manual", "Mara")
    together = threading.Barrier(4)
    got: list[int | None] = []

    def claim() -> None:
        together.wait(10)
        with app.app_context():
            got.append(runs.claim())

    threads = [threading.Thread(target=claim) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(got, key=str) == [run_id, None, None, None]
    assert runs.recover() == 0
    assert stored(run_id).outcome == Outcome.RUNNING


def test_a_run_that_waits_is_cancelled_at_once(job: Job) -> None:
    rows(job)
    run_id = runs.start(job.id, "manual", "Mara")
    runs.stop(run_id, "Priya")
    assert stored(run_id).outcome == Outcome.CANCELLED
    assert runs.claim() is None
    assert told() == {
        "always": State.QUEUED,
        "on_success": State.SKIPPED,
        "on_failure": State.SKIPPED,
    }


class Slow:
    """A dump that goes on until it is stopped."""

    def __init__(self) -> None:
        self.began = threading.Event()

    def __call__(self, source: Sqlite, output: Any, progress: Any) -> None:
        output.write(b"x" * 1000)
        self.began.set()
        for _ in range(2000):
            progress.check()
            time.sleep(0.01)
        raise AssertionError("it was never stopped")


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    dump = Slow()
    monkeypatch.setattr(Sqlite, "dump", lambda *args: dump(*args))
    return dump


@pytest.fixture
def at_work(app: Flask, job: Job, slow: Slow) -> Iterator[int]:
    """A run that dumps in another thread."""
    run_id = runs.start(job.id, "manual", "Mara")
    assert runs.claim() == run_id

    def work() -> None:
        with app.app_context():
            runs.execute(run_id)

    thread = threading.Thread(target=work)
    thread.start()
    assert slow.began.wait(10)
    yield run_id
    runs.interrupt_all()
    thread.join(10)


def wait_for_end(run_id: int) -> Run:
    for _ in range(500):
        found = stored(run_id)
        if found.outcome != Outcome.RUNNING:
            return found
        time.sleep(0.02)
    raise AssertionError("the run did not end")


def test_stop_ends_a_run_for_real_and_leaves_nothing(job: Job, at_work: int, shelf: Path) -> None:
    rows(job)
    runs.stop(at_work, "Priya")
    ended = wait_for_end(at_work)
    assert (ended.outcome, ended.stopped_by) == (Outcome.CANCELLED, "Priya")
    assert [path for path in shelf.rglob("*") if path.is_file()] == []
    assert [event.type for event in published()] == ["backup_cancelled"]
    assert "Stopped by Priya." in log(at_work)


def test_what_fails_after_the_stop_is_told_as_cancelled(
    app: Flask, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server did not answer, so somebody pressed Stop; then its time ran out."""
    rows(job)
    began, goes_on = threading.Event(), threading.Event()

    def dump(*_: Any) -> None:
        began.set()
        assert goes_on.wait(10)
        raise BackupError("The server does not answer.")

    monkeypatch.setattr(Sqlite, "dump", dump)
    run_id = runs.start(job.id, "manual", "Mara")
    assert runs.claim() == run_id

    def work() -> None:
        with app.app_context():
            runs.execute(run_id)

    thread = threading.Thread(target=work)
    thread.start()
    assert began.wait(10)
    runs.stop(run_id, "Priya")
    goes_on.set()
    thread.join(10)
    assert stored(run_id).outcome == Outcome.CANCELLED
    assert [event.type for event in published()] == ["backup_cancelled"]


def test_a_stop_by_another_process_is_heard(at_work: int) -> None:
    with transaction() as session:
        session.get_one(Run, at_work).stopped_by = "Priya"
    assert wait_for_end(at_work).outcome == Outcome.CANCELLED


def test_progress_is_stored_while_it_runs(at_work: int) -> None:
    for _ in range(200):
        if stored(at_work).bytes_done:
            break
        time.sleep(0.02)
    assert (stored(at_work).step, stored(at_work).bytes_done) == ("Dump", 1000)


def test_a_shutdown_is_recorded_and_announced_as_interrupted(job: Job, at_work: int) -> None:
    rows(job)
    assert runs.interrupt_all() == 1
    ended = wait_for_end(at_work)
    assert ended.outcome == Outcome.INTERRUPTED
    assert told()["on_failure"] == State.QUEUED
    assert told()["on_success"] == State.SKIPPED


def test_ctrl_c_is_recorded_before_the_process_ends(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pressed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Sqlite, "dump", pressed)
    run_id = runs.start(job.id, "cli", "Mara")
    with pytest.raises(KeyboardInterrupt):
        runs.execute(run_id)
    assert stored(run_id).outcome == Outcome.INTERRUPTED
    assert [event.type for event in published()] == ["backup_interrupted"]


def left_behind(job: Job, owner: str) -> int:
    run_id = runs.start(job.id, "manual", "Mara")
    with transaction() as session:
        session.get_one(Run, run_id).owner = owner
        session.get_one(Run, run_id).step = "Dump"
    return run_id


def dead_here() -> str:
    return processes.owner().rsplit(":", 2)[0] + ":999999999:0"


def test_a_run_of_a_dead_process_is_found_and_announced(job: Job) -> None:
    rows(job)
    run_id = left_behind(job, dead_here())
    assert runs.recover() == 1
    ended = stored(run_id)
    assert (ended.outcome, ended.step) == (Outcome.INTERRUPTED, "Dump")
    assert "died" in (ended.error or "")
    assert told()["on_failure"] == State.QUEUED
    assert runs.recover() == 0


def test_a_run_of_a_living_process_is_left_alone(at_work: int) -> None:
    assert runs.recover() == 0
    assert stored(at_work).outcome == Outcome.RUNNING


def test_a_run_of_another_host_lives_as_long_as_its_lease(job: Job) -> None:
    run_id = left_behind(job, "elsewhere:1:1")
    assert runs.recover() == 0
    with transaction() as session:
        session.get_one(Lease, f"job:{job.id}").leased_until = clock.now() - timedelta(seconds=1)
    assert runs.recover() == 1
    assert stored(run_id).outcome == Outcome.INTERRUPTED


def test_a_new_run_first_records_the_one_whose_process_died(job: Job) -> None:
    dead = left_behind(job, dead_here())
    assert run(job).outcome == Outcome.SUCCESS
    assert stored(dead).outcome == Outcome.INTERRUPTED


def test_secrets_never_reach_error_and_log(
    app: Flask, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leak(source: Sqlite, output: Any, progress: Any) -> None:
        progress.line("info", "connecting with hunter2-hunter2")
        raise RuntimeError("login failed for hunter2-hunter2")

    monkeypatch.setattr(Sqlite, "dump", leak)
    monkeypatch.setattr(Sqlite, "secrets", ("hunter2-hunter2",), raising=False)
    ended = run(job)
    events = [event for event in published() if event.type == "backup_failure"]
    assert "hunter2" not in log(ended.id) + (ended.error or "") + json.dumps(events[0].payload)
