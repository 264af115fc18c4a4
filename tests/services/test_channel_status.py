"""The health of a channel in one word."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.factories import make_channel
from webapp.models.channel import ChannelRow
from webapp.models.delivery import Delivery, EventRow, State
from webapp.services import channel_status
from webapp.services.channel_status import Health, Status
from webapp.services.transaction import reading, transaction

pytestmark = pytest.mark.usefixtures("app")

NOON = datetime(2026, 11, 17, 12, tzinfo=UTC)


def deliver(row: ChannelRow, **values: Any) -> None:
    with transaction() as session:
        event = EventRow(type="user_login", payload={})
        session.add(event)
        session.flush()
        session.add(Delivery(event_id=event.id, channel_id=row.id, **values))


def status(row: ChannelRow) -> Status:
    with reading() as session:
        return channel_status.status_of(row, channel_status.waiting(session).get(row.id))


def test_a_channel_that_never_sent_says_so() -> None:
    assert status(make_channel()).health is Health.NEVER_USED


def test_the_last_delivered_message_makes_it_healthy() -> None:
    found = status(make_channel(last_delivered_at=NOON))
    assert (found.health, found.lead, found.moment) == (Health.HEALTHY, "Delivered", NOON)
    assert not found.needs_someone


def test_a_waiting_retry_is_shown_with_its_next_try() -> None:
    row = make_channel(last_delivered_at=NOON, failing_since=NOON)
    deliver(row, state=State.RETRYING, next_attempt_at=NOON + timedelta(minutes=9))
    deliver(row, state=State.RETRYING, next_attempt_at=NOON + timedelta(minutes=2))
    found = status(row)
    assert (found.health, found.lead) == (Health.RETRYING, "Next try")
    assert found.moment == NOON + timedelta(minutes=2)
    assert not found.needs_someone


def test_a_retry_that_will_not_heal_alone_asks_for_somebody() -> None:
    row = make_channel(failing_since=NOON)
    deliver(row, state=State.RETRYING, next_attempt_at=NOON)
    deliver(row, state=State.RETRYING, next_attempt_at=NOON, needs_you=True)
    assert status(row).needs_someone


def test_the_retries_of_another_channel_do_not_count() -> None:
    deliver(make_channel(), state=State.RETRYING, next_attempt_at=NOON)
    assert status(make_channel()).health is Health.NEVER_USED


def test_finished_deliveries_are_no_retries() -> None:
    row = make_channel(last_delivered_at=NOON)
    deliver(row, state=State.FAILED)
    deliver(row, state=State.SENT)
    assert status(row).health is Health.HEALTHY


def test_nothing_left_to_try_is_failing_since_the_first_failure() -> None:
    found = status(make_channel(last_delivered_at=NOON, failing_since=NOON))
    assert (found.health, found.lead, found.moment) == (Health.FAILING, "Since", NOON)
    assert found.needs_someone


def test_broken_counts_more_than_a_waiting_retry() -> None:
    row = make_channel(broken_at=NOON, failing_since=NOON)
    deliver(row, state=State.RETRYING, next_attempt_at=NOON)
    assert status(row).health is Health.BROKEN
    assert status(row).needs_someone


def test_off_counts_more_than_anything_and_needs_nobody() -> None:
    row = make_channel(broken_at=NOON, enabled=False, enabled_changed_at=NOON)
    found = status(row)
    assert (found.health, found.lead, found.moment) == (Health.OFF, "Turned off", NOON)
    assert not found.needs_someone
