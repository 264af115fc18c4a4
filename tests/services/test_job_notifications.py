"""Rows of channel and condition, and what they come to."""

import pytest
from flask import Flask

from tests.factories import make_channel, make_job
from webapp.core.errors import InvalidError, NotFoundError
from webapp.models.routing import Condition
from webapp.services import job_notifications as routes


def names(channels: object) -> list[str]:
    return [channel.name for channel in channels]  # type: ignore[attr-defined]


def test_rows_are_listed_in_the_order_they_were_added(app: Flask) -> None:
    job, a, b = make_job(), make_channel(name="B side"), make_channel(name="A side")
    routes.add(job.id, a.id, "always")
    routes.add(job.id, b.id, "on_failure")
    found = routes.of_job(job.id)
    assert [(row.channel.name, row.condition) for row in found.rows] == [
        ("B side", Condition.ALWAYS),
        ("A side", Condition.ON_FAILURE),
    ]
    assert names(found.success) == ["B side"]
    assert names(found.failure) == ["B side", "A side"]
    assert not found.fails_unheard


def test_only_success_means_that_failures_are_unheard(app: Flask) -> None:
    job, channel = make_job(), make_channel()
    routes.add(job.id, channel.id, "on_success")
    found = routes.of_job(job.id)
    assert (found.fails_unheard, found.all_off) == (True, False)


def test_a_channel_that_is_off_hears_nothing(app: Flask) -> None:
    job, channel = make_job(), make_channel(enabled=False)
    routes.add(job.id, channel.id, "always")
    found = routes.of_job(job.id)
    assert (found.fails_unheard, found.all_off, found.success) == (True, True, ())


def test_the_same_channel_twice_is_counted_once_and_said(app: Flask) -> None:
    job, channel = make_job(), make_channel(name="Ops")
    routes.add(job.id, channel.id, "on_failure")
    routes.add(job.id, channel.id, "always")
    found = routes.of_job(job.id)
    assert (names(found.failure), found.doubled) == (["Ops"], ("Ops",))


def test_a_condition_is_changed_in_its_row_only(app: Flask) -> None:
    job, channel = make_job(), make_channel()
    first = routes.add(job.id, channel.id, "always")
    routes.add(job.id, channel.id, "always")
    changed = routes.set_condition(job.id, first, "on_success")
    assert [row.condition for row in changed.rows] == [Condition.ON_SUCCESS, Condition.ALWAYS]


def test_a_removed_row_names_its_neighbour_and_can_come_back(app: Flask) -> None:
    job, channel = make_job(), make_channel(name="Ops")
    ids = [routes.add(job.id, channel.id, each) for each in ("always", "on_failure", "always")]
    removed = routes.remove(job.id, ids[1])
    assert (removed.channel_name, removed.condition, removed.next_id) == (
        "Ops",
        "on_failure",
        ids[2],
    )
    assert routes.remove(job.id, ids[2]).next_id == ids[0]
    assert routes.remove(job.id, ids[0]).next_id is None


def test_rows_of_another_job_are_out_of_reach(app: Flask) -> None:
    job, other, channel = make_job(), make_job(), make_channel()
    row = routes.add(job.id, channel.id, "always")
    with pytest.raises(NotFoundError):
        routes.remove(other.id, row)
    with pytest.raises(NotFoundError):
        routes.set_condition(other.id, row, "on_success")


def test_what_cannot_be_a_row_is_refused(app: Flask) -> None:
    job, channel = make_job(), make_channel()
    with pytest.raises(InvalidError, match="Always, On Success or On Failure"):
        routes.add(job.id, channel.id, "sometimes")
    with pytest.raises(InvalidError, match="deleted"):
        routes.add(job.id, 4711, "always")
    with pytest.raises(NotFoundError):
        routes.add(4711, channel.id, "always")
