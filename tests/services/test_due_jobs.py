"""Every time of a schedule is started, or recorded and announced as missed, once."""

from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import select

from tests.factories import make_channel, make_job
from webapp.core import clock
from webapp.models.delivery import Delivery, EventRow, State
from webapp.models.job import Job
from webapp.models.routing import Condition, JobChannel
from webapp.models.run import Outcome, Run, RunLine
from webapp.services import due_jobs, jobs, runs
from webapp.services.transaction import reading, transaction

MORNING = datetime(2026, 3, 2, 2, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def scheduling(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, MORNING)
    assert due_jobs.hold()


def at(monkeypatch: pytest.MonkeyPatch, moment: datetime) -> None:
    monkeypatch.setattr(clock, "now", lambda: moment)


def look(monkeypatch: pytest.MonkeyPatch, moment: datetime) -> list[int | None]:
    at(monkeypatch, moment)
    due_jobs.hold()
    return [due_jobs.serve(job_id) for job_id in due_jobs.overdue()]


def nightly(**values: object) -> Job:
    known: dict[str, object] = {
        "schedule": "0 2 * * *",
        "served_until": MORNING - timedelta(hours=1),
    }
    job: Job = make_job(**(known | values))
    return job


def outcomes() -> list[tuple[str, str]]:
    with reading() as session:
        found = session.scalars(select(Run).order_by(Run.id))
        return [(run.trigger, run.outcome) for run in found]


def events() -> list[EventRow]:
    with reading() as session:
        return list(session.scalars(select(EventRow).order_by(EventRow.id)))


def lines(run_id: int) -> list[str]:
    with reading() as session:
        return list(session.scalars(select(RunLine.text).where(RunLine.run_id == run_id)))


def test_a_time_within_its_grace_is_started_late_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    nightly()
    look(monkeypatch, MORNING + timedelta(minutes=59))
    look(monkeypatch, MORNING + timedelta(minutes=59, seconds=3))
    assert outcomes() == [("schedule", "running")]


def test_a_job_that_never_ran_is_missed_when_the_grace_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = nightly()
    look(monkeypatch, MORNING + timedelta(minutes=61))
    assert outcomes() == [("schedule", "missed")]
    event = events()[0]
    assert (event.type, event.job_id) == ("backup_missed", job.id)
    assert event.payload["due_at"] == MORNING.isoformat()
    assert due_jobs.NOBODY in event.payload["error"]


def test_days_of_sleep_are_one_message_that_counts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    nightly()
    look(monkeypatch, MORNING + timedelta(days=2, hours=5))
    look(monkeypatch, MORNING + timedelta(days=2, hours=5, seconds=3))
    assert outcomes() == [("schedule", "missed")]
    assert events()[0].payload["times"] == 3
    assert events()[0].payload["due_at"] == (MORNING + timedelta(days=2)).isoformat()


def test_what_was_missed_is_told_and_what_is_in_its_grace_is_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nightly()
    look(monkeypatch, MORNING + timedelta(days=1, minutes=10))
    assert outcomes() == [("schedule", "missed"), ("schedule", "running")]


def test_a_run_that_still_goes_says_that_the_schedule_wanted_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = nightly(timezone="Europe/Berlin", schedule="0 3 * * *")
    run_id = runs.start(job.id, "manual", "Mara")
    for seconds in (1, 4, 7):
        look(monkeypatch, MORNING + timedelta(seconds=seconds))
    said = [text for text in lines(run_id) if "wanted" in text]
    assert len(said) == 1
    assert "03:00 (Europe/Berlin)" in said[0]
    assert outcomes() == [("manual", "running")]


def test_a_run_that_takes_longer_than_the_grace_makes_the_next_one_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = nightly()
    run_id = runs.start(job.id, "manual", "Mara")
    look(monkeypatch, MORNING + timedelta(hours=2))
    assert outcomes() == [("manual", "running"), ("schedule", "missed")]
    assert f"Run {run_id} of this job was still going." in events()[0].payload["error"]


def test_it_is_made_up_for_when_the_run_ends_within_the_grace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = nightly()
    run_id = runs.start(job.id, "manual", "Mara")
    look(monkeypatch, MORNING + timedelta(minutes=1))
    runs.stop(run_id, "Mara")
    look(monkeypatch, MORNING + timedelta(minutes=30))
    assert outcomes() == [("manual", "cancelled"), ("schedule", "running")]


def test_a_missed_run_tells_those_who_hear_of_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    job = nightly()
    channels = {condition: make_channel(name=condition).id for condition in Condition}
    with transaction() as session:
        for condition, channel_id in channels.items():
            session.add(JobChannel(job_id=job.id, channel_id=channel_id, condition=condition))
    look(monkeypatch, MORNING + timedelta(hours=2))
    with reading() as session:
        rows = session.execute(select(Delivery.channel_name, Delivery.state))
        assert {row.channel_name: row.state for row in rows} == {
            "always": State.QUEUED,
            "on_failure": State.QUEUED,
            "on_success": State.SKIPPED,
        }


def test_switching_a_job_on_does_not_miss_what_was_due_while_it_was_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = nightly(enabled=False)
    assert look(monkeypatch, MORNING + timedelta(days=3)) == []
    jobs.set_enabled(job.id, True)
    assert look(monkeypatch, MORNING + timedelta(days=3, minutes=1)) == []


def test_a_clock_that_was_set_back_does_not_silence_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    nightly(served_until=MORNING + timedelta(days=900))
    look(monkeypatch, MORNING - timedelta(minutes=1))
    look(monkeypatch, MORNING + timedelta(minutes=1))
    assert outcomes() == [("schedule", Outcome.RUNNING)]


def test_a_job_of_every_minute_does_not_count_weeks_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nightly(schedule="* * * * *")
    look(monkeypatch, MORNING + timedelta(days=30))
    assert outcomes() == [("schedule", "missed"), ("schedule", "running")]
    assert events()[0].payload["times"] <= 2 * due_jobs.MOST
