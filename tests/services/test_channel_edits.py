"""Channels are added, changed, switched and deleted."""

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select

from tests.factories import make_channel, make_job
from webapp.core import clock
from webapp.core.errors import ConflictError, InvalidError, NotFoundError
from webapp.models.channel import ChannelRow
from webapp.models.delivery import Delivery, EventRow, State
from webapp.models.routing import GlobalChannel, JobChannel
from webapp.services import channel_edits, channels, notification_settings
from webapp.services.channel_edits import Values
from webapp.services.transaction import reading, transaction

pytestmark = pytest.mark.usefixtures("app")

YESTERDAY = datetime(2026, 11, 16, 23, 10, tzinfo=UTC)


def values(**changes: Any) -> Values:
    base: dict[str, Any] = {
        "name": "Ops alerts",
        "config": {"url": "https://hooks.example.org/backup"},
        "is_global": False,
    }
    return Values(**(base | changes))


def stored(channel_id: int) -> ChannelRow:
    with reading() as session:
        return session.get_one(ChannelRow, channel_id)


def global_ids() -> list[int]:
    with reading() as session:
        return list(
            session.scalars(select(GlobalChannel.channel_id).order_by(GlobalChannel.position))
        )


def deliver(row: ChannelRow, **changes: Any) -> str:
    with transaction() as session:
        event = EventRow(type="user_login", payload={})
        session.add(event)
        session.flush()
        delivery = Delivery(event_id=event.id, channel_id=row.id, **changes)
        session.add(delivery)
        session.flush()
        return delivery.id


def delivery(delivery_id: str) -> Delivery:
    with reading() as session:
        return session.get_one(Delivery, delivery_id)


def test_a_new_channel_is_sealed_summarized_and_on() -> None:
    row = stored(channel_edits.create("webhook", values()).id)
    assert row.enabled
    assert "hooks.example.org" not in row.config
    assert "hooks.example.org" in row.summary
    assert channels.config_of(row)["url"] == "https://hooks.example.org/backup"


def test_a_new_global_channel_comes_after_those_that_are_there() -> None:
    first = channel_edits.create("webhook", values(name="First", is_global=True))
    second = channel_edits.create("webhook", values(name="Second", is_global=True))
    assert global_ids() == [first.id, second.id]


def test_a_type_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InvalidError, match="Choose one of the services"):
        channel_edits.create("carrier_pigeon", values())


def test_a_taken_name_is_refused_with_a_free_one() -> None:
    channel_edits.create("webhook", values(name="Ops alerts"))
    channel_edits.create("webhook", values(name="Ops alerts (2)"))
    with pytest.raises(InvalidError, match=r"called “Ops alerts”.*“Ops alerts \(3\)”") as caught:
        channel_edits.create("webhook", values(name="ops ALERTS"))
    assert caught.value.field == "name"


def test_an_edit_keeps_its_own_name() -> None:
    row = channel_edits.create("webhook", values())
    channel_edits.save(row.id, row.version, values(name="OPS alerts"))
    assert stored(row.id).name == "OPS alerts"


def test_a_stale_edit_is_refused_and_changes_nothing() -> None:
    row = channel_edits.create("webhook", values())
    channel_edits.save(row.id, 1, values(name="First change"))
    with pytest.raises(ConflictError, match="Somebody else changed"):
        channel_edits.save(row.id, 1, values(name="Second change"))
    assert stored(row.id).name == "First change"


def test_an_edit_heals_a_broken_channel_and_sends_what_waits() -> None:
    row = make_channel(broken_at=YESTERDAY, failing_since=YESTERDAY, failure_count=14)
    waiting = deliver(row, state=State.RETRYING, next_attempt_at=datetime(2099, 1, 1, tzinfo=UTC))
    channel_edits.save(row.id, row.version, values())
    healed = stored(row.id)
    assert (healed.broken_at, healed.failing_since, healed.failure_count) == (None, None, 0)
    due = delivery(waiting).next_attempt_at
    assert due is not None
    assert due <= clock.now()


def test_unchecking_global_takes_only_this_channel_away() -> None:
    stays = channel_edits.create("webhook", values(name="Stays", is_global=True))
    goes = channel_edits.create("webhook", values(name="Goes", is_global=True))
    channel_edits.save(goes.id, 1, values(name="Goes"))
    assert global_ids() == [stays.id]


def test_turning_off_says_which_events_tell_nobody_now() -> None:
    row, other = make_channel(), make_channel()
    notification_settings.choose_channels("restore_failure", [row.id])
    notification_settings.choose_channels("system_error", [row.id, other.id])
    switched = channel_edits.set_enabled(row.id, False)
    assert [event.key for event in switched.silent] == ["restore_failure"]
    assert stored(row.id).enabled_changed_at is not None
    assert channel_edits.set_enabled(row.id, True).silent == ()


def test_turning_off_what_is_off_already_keeps_the_moment() -> None:
    row = make_channel(enabled=False, enabled_changed_at=YESTERDAY)
    channel_edits.set_enabled(row.id, False)
    assert stored(row.id).enabled_changed_at == YESTERDAY


def test_a_channel_in_use_is_not_deleted_without_saying_so() -> None:
    row = make_channel()
    notification_settings.choose_channels("user_login", [row.id])
    with pytest.raises(ConflictError, match="in use"):
        channel_edits.delete(row.id, everywhere=False)
    assert stored(row.id).name == row.name


def test_deleting_everywhere_leaves_custom_selections_empty_and_custom() -> None:
    row, job = make_channel(), make_job()
    notification_settings.choose_channels("restore_failure", [row.id])
    channel_edits.set_global(row.id, True)
    with transaction() as session:
        session.add(JobChannel(job_id=job.id, channel_id=row.id))
    channel_edits.delete(row.id, everywhere=True)
    event = notification_settings.one("restore_failure").event
    assert event.custom
    assert event.channels == ()
    assert global_ids() == []
    with reading() as session:
        assert session.scalars(select(JobChannel)).all() == []


def test_deleting_cancels_what_waits_and_keeps_the_log() -> None:
    row = make_channel()
    sent = deliver(row, state=State.SENT, channel_name="Ops")
    waiting = deliver(row, state=State.QUEUED, channel_name="Ops", next_attempt_at=YESTERDAY)
    channel_edits.delete(row.id, everywhere=False)
    assert (delivery(waiting).state, delivery(waiting).reason) == (
        State.CANCELLED,
        "The channel was deleted.",
    )
    assert (delivery(sent).state, delivery(sent).channel_id) == (State.SENT, None)


def test_a_channel_that_is_gone_says_so() -> None:
    with pytest.raises(NotFoundError, match="deleted"):
        channel_edits.set_enabled(4711, True)


def test_a_channel_keeps_the_fallback_that_was_chosen_for_it() -> None:
    spare = make_channel(name="On-call")
    row = channel_edits.create("webhook", values(fallback_id=spare.id))
    assert stored(row.id).fallback_id == spare.id
    channel_edits.save(row.id, row.version, values(fallback_id=None))
    assert stored(row.id).fallback_id is None


def test_a_channel_cannot_be_its_own_fallback() -> None:
    row = make_channel()
    with pytest.raises(InvalidError, match="its own fallback") as refused:
        channel_edits.save(row.id, row.version, values(fallback_id=row.id))
    assert refused.value.field == "fallback_id"
    assert row.id not in dict(channel_edits.fallback_choices(row.id))


def test_a_fallback_that_was_deleted_meanwhile_is_said() -> None:
    with pytest.raises(InvalidError, match="deleted meanwhile"):
        channel_edits.create("webhook", values(fallback_id=4711))


def test_a_deleted_fallback_leaves_its_channel_without_one() -> None:
    spare = make_channel()
    row = make_channel(fallback_id=spare.id)
    channel_edits.delete(spare.id, everywhere=True)
    assert stored(row.id).fallback_id is None
