"""Tests: sample events sent through exactly the targets and code of the real ones."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from webapp.core.errors import InvalidError, NotFoundError
from webapp.models.channel import ChannelRow
from webapp.models.delivery import Attempt, Delivery, EventRow, State
from webapp.models.user import User
from webapp.notify.events import BY_TYPE
from webapp.notify.events.channel_test import ChannelTest
from webapp.services import outbox, routing
from webapp.services.transaction import reading, transaction

WAITING: Final = frozenset({State.QUEUED, State.SENDING, State.RETRYING})
NOTHING_SELECTED: Final = (
    "No channel is selected for this event, so there is nothing to test. Choose a channel first."
)


@dataclass(frozen=True, kw_only=True)
class TrialRow:
    """What became of a test at one target."""

    delivery_id: str
    channel_id: int | None
    channel_name: str
    channel_type: str
    recipient: str | None
    is_direct: bool
    state: State
    status: str | None
    duration_ms: int | None
    message: str
    """The receipt's words, the error, or the reason why nothing was sent."""
    excerpt: str
    advice: str


@dataclass(frozen=True, kw_only=True)
class TrialResults:
    """A test as it stands."""

    event_id: str
    event_type: str
    started_at: datetime
    done: bool
    rows: tuple[TrialRow, ...]
    """In order of selection; once done, failures come first."""
    sent: int
    failed: int
    note: str
    """What else to say: that admin channels are skipped in mode User only."""


def test_event(event_type: str, user_id: int) -> str:
    """Send a sample of a system event to its real targets; return the event's id.

    The direct mail goes to the person who asked for the test.

    Raises:
        NotFoundError: there is no such event.
        InvalidError: no channel is selected.
    """
    event = BY_TYPE.get(event_type)
    if event is None or event.group is None:
        raise NotFoundError(f"There is no system event “{event_type}”.")
    with transaction() as session:
        setting = routing.event_routing(session, event)
        if not routing.selected_channels(session, event_type, custom=setting.custom):
            raise InvalidError(NOTHING_SELECTED)
        user = session.get_one(User, user_id)
        return outbox.publish(session, event.sample(), is_test=True, test_recipient=user.email)


def test_channel(channel_id: int, user_id: int) -> str:
    """Send a sample through one stored channel, also when it is off; return the event's id."""
    with transaction() as session:
        row = session.get(ChannelRow, channel_id)
        if row is None:
            raise NotFoundError("This channel was deleted.")
        user = session.get_one(User, user_id)
        sample = ChannelTest(channel=row.name, requested_by=user.name)
        targets = routing.targets_of(row, even_if_off=True)
        return outbox.write(session, sample, targets, is_test=True)


def results(event_id: str, *, channel_ids: Collection[int] | None = None) -> TrialResults:
    """Return how a test stands; with `channel_ids`, only if it went through one of them.

    Raises:
        NotFoundError: there is no such test.
    """
    with reading() as session:
        event = session.get(EventRow, event_id)
        if event is None or not event.is_test:
            raise NotFoundError("This test is no longer in the log.")
        rows = _rows(session, event_id)
    if channel_ids is not None and not any(row.channel_id in channel_ids for row in rows):
        raise NotFoundError("This channel had no such test.")
    done = not any(row.state in WAITING for row in rows)
    if done:
        rows.sort(key=lambda row: row.state not in {State.FAILED, State.EXPIRED})
    return TrialResults(
        event_id=event.id,
        event_type=event.type,
        started_at=event.occurred_at,
        done=done,
        rows=tuple(rows),
        sent=sum(row.state is State.SENT for row in rows),
        failed=sum(row.state in {State.FAILED, State.EXPIRED} for row in rows),
        note="Admin channels are skipped: only the user is notified."
        if any(row.message == routing.USER_ONLY for row in rows)
        else "",
    )


def _rows(session: Session, event_id: str) -> list[TrialRow]:
    last = (
        select(Attempt.delivery_id, func.max(Attempt.number).label("number"))
        .join(Delivery, Delivery.id == Attempt.delivery_id)
        .where(Delivery.event_id == event_id)
        .group_by(Attempt.delivery_id)
        .subquery()
    )
    found = session.execute(
        select(Delivery, Attempt)
        .outerjoin(last, last.c.delivery_id == Delivery.id)
        .outerjoin(
            Attempt,
            (Attempt.delivery_id == Delivery.id) & (Attempt.number == last.c.number),
        )
        .where(Delivery.event_id == event_id)
        .order_by(Delivery.id)
    )
    return [_row(delivery, attempt) for delivery, attempt in found]


def _row(delivery: Delivery, attempt: Attempt | None) -> TrialRow:
    return TrialRow(
        delivery_id=delivery.id,
        channel_id=delivery.channel_id,
        channel_name=delivery.channel_name,
        channel_type=delivery.channel_type,
        recipient=delivery.recipient,
        is_direct=delivery.is_direct,
        state=State(delivery.state),
        status=None if attempt is None else attempt.status,
        duration_ms=None if attempt is None else attempt.duration_ms,
        message=(delivery.reason or "") if attempt is None else attempt.message,
        excerpt="" if attempt is None else attempt.excerpt,
        advice="" if attempt is None else attempt.advice,
    )
