"""The scheduler mirrors the job table and starts what is due."""

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from tests.factories import make_job
from webapp.core import clock
from webapp.models.delivery import EventRow
from webapp.models.job import Job
from webapp.models.run import Run
from webapp.models.setting import Lease
from webapp.services import bells, due_jobs, processes, runs
from webapp.services.transaction import reading, transaction
from webapp.workers import scheduler as scheduler_module
from webapp.workers.scheduler import Scheduler


@pytest.fixture
def scheduler(app: Flask) -> Iterator[Scheduler]:
    made = scheduler_module.start(app)
    yield made
    made.stop()


def until(condition: Any) -> None:
    for _ in range(300):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("it did not happen")


def change(job: Job, **values: Any) -> None:
    with transaction() as session:
        row = session.get_one(Job, job.id)
        for name, value in values.items():
            setattr(row, name, value)
    bells.jobs_changed.ring()


def started() -> list[tuple[int | None, str]]:
    with reading() as session:
        return [(run.job_id, run.trigger) for run in session.scalars(select(Run))]


def lease(owner: str, until: datetime) -> None:
    with transaction() as session:
        session.merge(Lease(name=due_jobs.LEASE_NAME, owner=owner, leased_until=until))


def test_enabled_jobs_with_a_schedule_are_mirrored(app: Flask) -> None:
    job = make_job(schedule="0 2 * * *", timezone="Europe/Berlin")
    make_job(schedule=None)
    make_job(schedule="0 2 * * *", enabled=False)
    made = scheduler_module.start(app)
    until(lambda: made.next_times)
    assert list(made.next_times) == [job.id]
    assert (made.next_times[job.id].hour, made.next_times[job.id].minute) == (2, 0)
    made.stop()


def test_a_change_of_the_table_is_followed(scheduler: Scheduler, app: Flask) -> None:
    job = make_job(schedule="0 2 * * *")
    bells.jobs_changed.ring()
    until(lambda: job.id in scheduler.next_times)
    change(job, schedule="0 5 * * *")
    until(lambda: scheduler.next_times[job.id].hour == 5)
    change(job, enabled=False)
    until(lambda: scheduler.next_times == {})


def test_what_is_due_starts(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    job = make_job(schedule="* * * * *", served_until=clock.now() - timedelta(minutes=1))
    made = scheduler_module.start(app)
    until(lambda: started() == [(job.id, "schedule")])
    made.stop()


def test_what_fell_due_long_before_is_recorded_as_missed_once_and_not_made_up_for(
    app: Flask,
) -> None:
    due = clock.now() - timedelta(hours=3)
    job = make_job(schedule=f"{due.minute} {due.hour} * * *", served_until=due - timedelta(hours=1))
    made = scheduler_module.start(app)
    until(lambda: types() == ["backup_missed"])
    bells.jobs_changed.ring()
    time.sleep(0.3)
    assert types() == ["backup_missed"]
    with reading() as session:
        run = session.scalars(select(Run)).one()
        assert (run.job_id, run.outcome) == (job.id, "missed")
        assert run.started_at == due.replace(second=0, microsecond=0)
    made.stop()


def test_what_was_started_already_is_not_started_again(app: Flask) -> None:
    due = clock.now() - timedelta(minutes=5)
    job = make_job(
        schedule=f"{due.minute} {due.hour} * * *", served_until=due - timedelta(minutes=1)
    )
    runs.start(job.id, "schedule")
    made = scheduler_module.start(app)
    until(lambda: made.next_times)
    time.sleep(0.1)
    assert len(started()) == 1
    made.stop()


def test_one_process_schedules_at_a_time(app: Flask) -> None:
    make_job(schedule="0 2 * * *")
    lease("elsewhere:1:1", clock.now() + timedelta(minutes=1))
    made = scheduler_module.start(app)
    time.sleep(0.3)
    assert made.next_times == {}
    lease("elsewhere:1:1", clock.now() - timedelta(minutes=1))
    bells.jobs_changed.ring()
    until(lambda: made.next_times)
    made.stop()


def test_a_process_that_lost_the_right_starts_nothing(app: Flask) -> None:
    job = make_job(schedule="* * * * *", served_until=clock.now() - timedelta(minutes=1))
    lease("elsewhere:1:1", clock.now() + timedelta(minutes=1))
    assert due_jobs.serve(job.id) is None
    assert started() == []


def test_a_stop_gives_the_right_back(app: Flask) -> None:
    made = scheduler_module.start(app)
    until(lambda: owner() == processes.owner())
    assert made.stop()
    with reading() as session:
        assert session.get_one(Lease, due_jobs.LEASE_NAME).leased_until <= clock.now()


def owner() -> str:
    with reading() as session:
        found = session.get(Lease, due_jobs.LEASE_NAME)
        return "" if found is None else found.owner


def test_a_job_that_still_runs_is_not_started_again(app: Flask) -> None:
    job = make_job(schedule="* * * * *", served_until=clock.now() - timedelta(minutes=1))
    runs.start(job.id, "manual", "Mara")
    made = scheduler_module.start(app)
    until(lambda: made.next_times)
    time.sleep(0.1)
    assert started() == [(job.id, "manual")]
    made.stop()


def test_an_unexpected_error_is_reported(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("the table is gone")

    monkeypatch.setattr(due_jobs, "scheduled", broken)
    made = scheduler_module.start(app)
    until(lambda: "system_error" in types())
    made.stop()


def types() -> list[str]:
    with reading() as session:
        return list(session.scalars(select(EventRow.type)))
