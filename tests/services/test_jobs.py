"""Jobs: what can be stored, what is refused, and what lists say."""

from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from tests.factories import make_channel, make_destination, make_job, make_source
from webapp.core.errors import ConflictError, InvalidError, NotFoundError
from webapp.models.job import Job, JobDestination
from webapp.models.routing import JobChannel
from webapp.models.run import Outcome, Run
from webapp.services import bells, jobs, runs
from webapp.services.jobs import Values
from webapp.services.transaction import reading, transaction


def values(**changes: Any) -> Values:
    if "source_id" not in changes:
        changes["source_id"] = make_source().id
    if "destination_ids" not in changes:
        changes["destination_ids"] = [make_destination().id]
    defaults: dict[str, Any] = {
        "name": "Shop nightly",
        "schedule": "0 2 * * *",
        "timezone": "Europe/Berlin",
        "compression": "gzip",
        "keep_last": 7,
        "enabled": True,
    }
    return Values(**(defaults | changes))


def stored(job_id: int) -> Job:
    with reading() as session:
        return session.get_one(Job, job_id)


def test_a_job_is_stored_with_its_destinations_in_order(app: Flask) -> None:
    first, second = make_destination().id, make_destination().id
    job_id = jobs.create(values(destination_ids=[second, first]))
    assert stored(job_id).schedule == "0 2 * * *"
    assert [place.id for place in jobs.one(job_id).destinations] == [second, first]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": ""}, "name"),
        ({"source_id": 4711}, "source_id"),
        ({"destination_ids": []}, "destination_ids"),
        ({"destination_ids": [4711]}, "destination_ids"),
        ({"schedule": "every night"}, "schedule"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"compression": "rar"}, "compression"),
        ({"keep_last": 0}, "keep_last"),
    ],
)
def test_what_cannot_work_is_refused_at_its_field(
    app: Flask, changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidError) as caught:
        jobs.create(values(**changes))
    assert caught.value.field == field


def test_names_are_unique(app: Flask) -> None:
    jobs.create(values())
    with pytest.raises(InvalidError, match="Another job has this name"):
        jobs.create(values())


def test_a_job_may_keep_its_own_name(app: Flask) -> None:
    job_id = jobs.create(values())
    jobs.save(job_id, values(keep_last=3), version=1)
    assert (stored(job_id).keep_last, stored(job_id).version) == (3, 2)


def test_a_stale_edit_is_refused(app: Flask) -> None:
    job_id = jobs.create(values())
    jobs.save(job_id, values(), version=1)
    with pytest.raises(ConflictError, match="Somebody else changed this job"):
        jobs.save(job_id, values(keep_last=1), version=1)
    assert stored(job_id).keep_last == 7


def test_the_folder_is_readable_and_outlives_a_rename(app: Flask) -> None:
    job_id = jobs.create(values(name="Zoë's shop / nightly"))
    folder = stored(job_id).folder
    assert folder.startswith("zo-s-shop-nightly-")
    jobs.save(job_id, values(name="Other"), version=1)
    assert stored(job_id).folder == folder


def test_two_jobs_never_share_a_folder(app: Flask) -> None:
    first, second = jobs.create(values(name="a b")), jobs.create(values(name="a-b"))
    assert stored(first).folder != stored(second).folder


def test_the_switch_keeps_everything_else(app: Flask) -> None:
    job_id = jobs.create(values())
    assert jobs.one(job_id).next_at is not None
    jobs.set_enabled(job_id, False)
    item = jobs.one(job_id)
    assert (item.row.enabled, item.next_at, item.row.schedule) == (False, None, "0 2 * * *")


def test_a_change_rings_the_scheduler(app: Flask) -> None:
    bells.jobs_changed.wait(0)
    jobs.create(values())
    assert bells.jobs_changed.wait(0)


def test_the_next_time_is_in_the_job_s_zone(app: Flask) -> None:
    item = jobs.one(jobs.create(values(schedule="0 2 * * *", timezone="Asia/Tokyo")))
    assert item.next_at is not None
    assert (item.next_at.hour, item.next_at.utcoffset()) == (2, item.next_at.utcoffset())
    assert str(item.next_at.tzinfo) == "Asia/Tokyo"
    assert item.schedule_words == "Every day at 02:00"


def test_a_deleted_job_leaves_its_runs(app: Flask) -> None:
    job, channel = make_job(name="Old"), make_channel()
    with transaction() as session:
        session.add(JobChannel(job_id=job.id, channel_id=channel.id, condition="always"))
    run_id = runs.start(job.id, "manual", "Mara")
    runs.stop(run_id, "Mara")
    assert jobs.remove(job.id) == "Old"
    with reading() as session:
        run = session.get_one(Run, run_id)
        assert (run.job_id, run.job_name, run.outcome) == (None, "Old", Outcome.CANCELLED)
        assert session.scalars(select(JobChannel)).all() == []
        assert session.scalars(select(JobDestination)).all() == []


def test_a_running_job_is_not_deleted(app: Flask) -> None:
    job = make_job(name="Busy")
    runs.start(job.id, "manual", "Mara")
    with pytest.raises(ConflictError, match="Stop the run"):
        jobs.remove(job.id)


def test_lists_name_the_last_run(app: Flask) -> None:
    job = make_job()
    for _ in range(2):
        run_id = runs.start(job.id, "manual", "Mara")
        runs.stop(run_id, "Mara")
    make_job(name="Never ran")
    last = {item.row.name: item.last_run and item.last_run.id for item in jobs.listed()}
    assert last == {job.name: run_id, "Never ran": None}


def test_a_job_is_found_by_its_name(app: Flask) -> None:
    job = make_job(name="Shop")
    assert jobs.by_name("Shop") == job.id
    with pytest.raises(NotFoundError):
        jobs.by_name("shop floor")
