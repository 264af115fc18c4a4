"""Retries, time limits, names, and what destinations keep: what a job promises beside the dump."""

import os
import signal
import stat
import time
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select

from tests.factories import make_channel, make_destination, make_job, make_source
from tests.services.restoring import fill
from webapp.backup import retention
from webapp.backup.errors import BackupError
from webapp.backup.retention import LOCK, Rules
from webapp.backup.sources.sqlite import Sqlite
from webapp.core import clock
from webapp.core.errors import InvalidError
from webapp.models.delivery import EventRow
from webapp.models.job import Job
from webapp.models.routing import JobChannel
from webapp.models.run import ArtifactRow, Outcome, Run, RunLine
from webapp.services import artifact_names, job_retention, jobs, run_pulse, runs
from webapp.services.transaction import reading, transaction


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return fill(tmp_path / "shop.db")


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    path = tmp_path / "shelf"
    path.mkdir()
    return path


def job_of(database: Path, *shelves: Path, **values: object) -> Job:
    source = make_source(name="shop db", config={"path": str(database)})
    places = [make_destination(name=path.name, config={"path": str(path)}) for path in shelves]
    known: dict[str, object] = {"name": "Shop", "source_id": source.id}
    job: Job = make_job(**(known | values), destinations=[place.id for place in places])
    return job


def stored(run_id: int) -> Run:
    with reading() as session:
        return session.get_one(Run, run_id)


def types() -> list[str]:
    with reading() as session:
        return list(session.scalars(select(EventRow.type).order_by(EventRow.id)))


def log(run_id: int) -> str:
    with reading() as session:
        found = session.scalars(select(RunLine.text).where(RunLine.run_id == run_id))
        return "\n".join(found)


def take(job: Job) -> int:
    run_id = runs.start(job.id, "manual", "Mara")
    assert runs.claim() == run_id
    return run_id


def test_a_failed_attempt_is_not_announced_while_another_follows(
    app: Flask, tmp_path: Path, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(tmp_path / "gone.db", shelf, retries=1, retry_pause=10)
    run_id = take(job)
    assert runs.execute(run_id) is Outcome.RUNNING
    assert types() == []
    assert runs.claim() is None  # the pause lasts
    assert "Attempt 1 of 2 failed. The next one begins in 10 min. Connect: " in log(run_id)
    later = clock.now() + timedelta(minutes=11)
    monkeypatch.setattr(clock, "now", lambda: later)
    assert runs.claim() == run_id
    assert runs.execute(run_id) is Outcome.FAILURE
    assert types() == ["backup_failure"]
    assert (stored(run_id).attempt, stored(run_id).attempts_allowed) == (2, 2)


def test_an_attempt_that_succeeds_ends_it_well(
    app: Flask, tmp_path: Path, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(tmp_path / "late.db", shelf, retries=3)
    run_id = take(job)
    runs.execute(run_id)
    fill(tmp_path / "late.db")
    later = clock.now() + timedelta(minutes=6)
    monkeypatch.setattr(clock, "now", lambda: later)
    assert runs.claim() == run_id
    assert runs.execute(run_id) is Outcome.SUCCESS
    assert types() == ["backup_success"]
    assert stored(run_id).error is None


def test_a_run_that_waits_for_its_next_attempt_can_be_stopped(
    app: Flask, tmp_path: Path, shelf: Path
) -> None:
    run_id = take(job_of(tmp_path / "gone.db", shelf, retries=1))
    runs.execute(run_id)
    runs.stop(run_id, "Mara")
    assert stored(run_id).outcome == Outcome.CANCELLED
    assert types() == ["backup_cancelled"]


def test_on_the_command_line_the_next_attempt_is_waited_for(
    app: Flask, tmp_path: Path, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(tmp_path / "gone.db", shelf, retries=2)
    monkeypatch.setattr(runs, "_pause", lambda job: timedelta(milliseconds=50))
    run_id = runs.start(job.id, "cli", "mara")
    assert runs.execute(run_id) is Outcome.FAILURE
    assert stored(run_id).attempt == 3
    assert types() == ["backup_failure"]


def test_a_run_over_its_time_limit_fails_and_its_child_is_killed(
    app: Flask, shelf: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from webapp.backup.child import Child

    pid_file = tmp_path / "pid"
    program = tmp_path / "slow_dump"
    program.write_text(f"#!/bin/sh\necho $$ > {pid_file}\nexec sleep 600\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)

    def slow(self: Sqlite, output: object, progress: object) -> None:
        with Child([str(program)], {"PATH": os.defpath}, progress=progress) as child:  # type: ignore[arg-type]
            for _ in child.output():
                pass

    monkeypatch.setattr(Sqlite, "dump", slow)
    job = job_of(fill(tmp_path / "shop.db"), shelf, time_limit=1)
    monkeypatch.setattr(runs, "timedelta", lambda minutes: timedelta(seconds=minutes))
    run_id = take(job)
    began = time.monotonic()
    assert runs.execute(run_id) is Outcome.FAILURE
    assert time.monotonic() - began < 10
    assert "ran longer than 1 s, the time limit of the job" in (stored(run_id).error or "")
    assert stored(run_id).step == "Dump"
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), signal.SIG_DFL)
    assert list(shelf.rglob("*.gz")) == []
    assert types() == ["backup_failure"]


def test_names_follow_the_pattern_and_stay_unique(app: Flask, database: Path, shelf: Path) -> None:
    job = job_of(database, shelf, name="Shop, nightly", name_pattern="{job}_{source}_{date}")
    for _ in range(2):
        assert runs.execute(take(job)) is Outcome.SUCCESS
    with reading() as session:
        keys = session.scalars(select(ArtifactRow.key).order_by(ArtifactRow.id)).all()
    day = f"{clock.now():%Y-%m-%d}"
    assert keys == [
        f"{job.folder}/Shop-nightly_shop-db_{day}-1.sqlite.gz",
        f"{job.folder}/Shop-nightly_shop-db_{day}-2.sqlite.gz",
    ]


@pytest.mark.parametrize(
    "pattern",
    ["{job}", "../{date}", "{date}/{time}", ".{date}", "{date}{host}", "{date} {time}", "ü{date}"],
)
def test_a_pattern_that_makes_no_good_names_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidError):
        artifact_names.check(pattern)


def test_each_destination_keeps_what_its_rules_say(
    app: Flask, database: Path, tmp_path: Path
) -> None:
    near, far = tmp_path / "near", tmp_path / "far"
    job = job_of(database, near, far, keep_last=1)
    places = {place.name: place.id for place in job_retention.places(job.id)}
    job_retention.save(job.id, places["far"], Rules(last=3))
    for _ in range(4):
        assert runs.execute(take(job)) is Outcome.SUCCESS
    assert len(list(near.rglob("*.gz"))) == 1
    assert len(list(far.rglob("*.gz"))) == 3
    with reading() as session:
        assert len(session.scalars(select(ArtifactRow)).all()) == 4


def test_the_dry_run_says_what_would_be_deleted_and_deletes_nothing(
    app: Flask, database: Path, shelf: Path
) -> None:
    job = job_of(database, shelf)
    for _ in range(3):
        runs.execute(take(job))
    place = job_retention.places(job.id)[0]
    preview = job_retention.preview(job.id, place.id, Rules(last=2))
    assert (preview.doomed, len(preview.kept)) == (2, 3)
    assert preview.freed > 0
    assert len(list(shelf.rglob("*.gz"))) == 3


@pytest.mark.parametrize("rules", [Rules(last=2), Rules(daily=2), Rules(last=1, monthly=3)])
def test_the_next_run_deletes_what_the_dry_run_said(
    app: Flask, database: Path, shelf: Path, rules: Rules
) -> None:
    job = job_of(database, shelf)
    for _ in range(4):
        runs.execute(take(job))
    place = job_retention.places(job.id)[0]
    job_retention.save(job.id, place.id, rules)
    there = {f"{job.folder}/{path.name}" for path in shelf.rglob("*.gz")}
    said = {each.key for each in job_retention.preview(job.id, place.id).kept if not each.reasons}
    runs.execute(take(job))
    assert said == there - {f"{job.folder}/{path.name}" for path in shelf.rglob("*.gz")}
    assert len(said) > 1


def test_a_locked_backup_outlives_every_rule(app: Flask, database: Path, shelf: Path) -> None:
    job = job_of(database, shelf, keep_last=1)
    runs.execute(take(job))
    first = next(shelf.rglob("*.gz"))
    first.with_name(first.name + LOCK).touch()
    for _ in range(3):
        runs.execute(take(job))
    assert first.exists()
    assert len(list(shelf.rglob("*.gz"))) == 2


def test_trouble_with_pruning_is_a_system_error_and_the_backup_is_good(
    app: Flask, database: Path, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from webapp.backup import retention

    def stuck(destination: object, key: str) -> None:
        raise BackupError("Permission denied.")

    job = job_of(database, shelf, keep_last=1)
    runs.execute(take(job))
    monkeypatch.setattr(retention, "delete", stuck)
    assert runs.execute(take(job)) is Outcome.SUCCESS
    assert types() == ["backup_success", "system_error", "backup_success"]
    with reading() as session:
        error = session.scalars(select(EventRow).where(EventRow.type == "system_error")).one()
    assert "Shop at shelf: Permission denied." in error.payload["error"]


def test_a_clone_is_the_same_job_switched_off_under_its_own_name(
    app: Flask, database: Path, shelf: Path
) -> None:
    job = job_of(database, shelf, schedule="0 2 * * *", keep_last=3, retries=2)
    job_retention.save(job.id, job_retention.places(job.id)[0].id, Rules(monthly=6))
    channel = make_channel()
    with transaction() as session:
        session.add(JobChannel(job_id=job.id, channel_id=channel.id, condition="on_failure"))
    names = [jobs.one(jobs.clone(job.id)).row.name for _ in range(2)]
    assert names == ["Shop copy", "Shop copy 2"]
    made = jobs.one(jobs.by_name("Shop copy"))
    assert not made.row.enabled
    assert made.row.folder != job.folder
    assert (made.row.schedule, made.row.retries, made.routes) == ("0 2 * * *", 2, 1)
    assert job_retention.places(made.row.id)[0].rules == Rules(monthly=6)


def test_saving_a_job_keeps_the_rules_of_its_destinations(
    app: Flask, database: Path, shelf: Path
) -> None:
    job = job_of(database, shelf)
    place = job_retention.places(job.id)[0]
    job_retention.save(job.id, place.id, Rules(daily=7))
    values = jobs.Values(
        name="Shop", source_id=job.source_id, destination_ids=[place.id], schedule="",
        timezone="UTC", compression="gzip", keep_last=None, enabled=True,
    )  # fmt: skip
    jobs.save(job.id, values, version=1)
    assert job_retention.places(job.id)[0].rules == Rules(daily=7)


@pytest.fixture(autouse=True)
def _fast_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_pulse, "BEAT", 0.05)


def test_a_fault_of_ours_in_retention_does_not_undo_the_backup(
    app: Flask, database: Path, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(*_: object, **__: object) -> None:
        raise OverflowError("a date that nobody thought of")

    monkeypatch.setattr(retention, "plan", stumble)
    run_id = take(job_of(database, shelf, keep_last=1))
    assert runs.execute(run_id) is Outcome.SUCCESS
    assert types() == ["system_error", "backup_success"]
    assert "older backups were not deleted" in log(run_id)
    with reading() as session:
        assert session.scalars(select(ArtifactRow.run_id)).all() == [run_id]
