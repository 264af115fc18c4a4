"""What uses a channel, and who would hear nothing without it."""

import pytest

from tests.factories import make_channel, make_job
from webapp.models.channel import ChannelRow
from webapp.models.routing import Condition, GlobalChannel, JobChannel
from webapp.services import channel_usage, notification_settings
from webapp.services.transaction import transaction

pytestmark = pytest.mark.usefixtures("app")


def use_globally(*rows: ChannelRow) -> None:
    with transaction() as session:
        for position, row in enumerate(rows):
            session.add(GlobalChannel(channel_id=row.id, position=position))


def keys(events: tuple[notification_settings.EventSetup, ...]) -> set[str]:
    return {event.key for event in events}


def test_a_global_channel_is_used_by_every_event_without_its_own() -> None:
    row = make_channel()
    use_globally(row)
    notification_settings.choose_channels("user_login", [])
    usage = channel_usage.uses_of(row.id)
    assert usage.is_global
    assert "restore_failure" in keys(usage.events)
    assert "user_login" not in keys(usage.events)


def test_events_that_are_off_are_named_but_not_counted() -> None:
    row = make_channel()
    notification_settings.choose_channels("user_login", [row.id])
    notification_settings.choose_channels("restore_failure", [row.id])
    usage = channel_usage.uses_of(row.id)
    assert keys(usage.events) == {"user_login", "restore_failure"}
    assert usage.events_on == 1


def test_a_job_with_several_rows_counts_once() -> None:
    row, job = make_channel(), make_job(name="nightly")
    with transaction() as session:
        for condition in (Condition.ALWAYS, Condition.ON_FAILURE):
            session.add(JobChannel(job_id=job.id, channel_id=row.id, condition=condition))
    usage = channel_usage.uses_of(row.id)
    assert [use.name for use in usage.jobs] == ["nightly"]
    assert usage.in_use


def test_nothing_uses_a_channel_that_nobody_chose() -> None:
    use_globally(make_channel())
    assert not channel_usage.uses_of(make_channel().id).in_use


def test_without_the_channel_only_events_with_no_other_channel_that_is_on_are_lost() -> None:
    row, other, off = make_channel(), make_channel(), make_channel(enabled=False)
    notification_settings.choose_channels("restore_failure", [row.id, off.id])
    notification_settings.choose_channels("restore_complete", [row.id, other.id])
    notification_settings.choose_channels("user_login", [row.id])
    usage = channel_usage.uses_of(row.id)
    assert keys(usage.lost_by(row.id)) == {"restore_failure"}
