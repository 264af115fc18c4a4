"""What people do to deliveries: Resend and Stop retrying."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import insert, select, text, update
from sqlalchemy.orm import Session

from webapp.core import clock, ids
from webapp.core.errors import ConflictError, NotFoundError
from webapp.core.retry import EXPIRES_AFTER
from webapp.models.channel import ChannelRow
from webapp.models.delivery import CLOSED_STATES, OPEN_STATES, Delivery, EventRow, State
from webapp.services import audit, delivery_lines
from webapp.services.delivery_lines import GONE, OPEN, Line
from webapp.services.delivery_log import REPEATED, given_up_since
from webapp.services.transaction import RING, transaction

RESEND_LIMIT: Final = 500  # copies that one press may queue


@dataclass(frozen=True, kw_only=True)
class Resent:
    """What Resend queued."""

    delivery_id: str
    channel_name: str


def resend(delivery_id: str) -> Resent:
    """Queue a copy of a delivery that ended without success; try a waiting one at once.

    Raises:
        ConflictError: it is under way or was sent, its channel is gone or off, or a copy of it
            waits already.
        NotFoundError: it is not in the log.
    """
    now = clock.now()
    with transaction() as session:
        old = _stored(session, delivery_id)
        if session.scalar(select(EventRow.is_test).where(EventRow.id == old.event_id)):
            raise ConflictError("A test is tried once. Press Test again instead.")
        _refuse_without_channel(session, old)
        session.info[RING] = True
        if old.state == State.RETRYING:
            old.next_attempt_at = now
            audit.note(session, "delivery.resent", old.channel_name, after={"delivery": old.id})
            return Resent(delivery_id=old.id, channel_name=old.channel_name)
        if old.state not in CLOSED_STATES:
            raise ConflictError("Only a delivery that ended without success can be sent again.")
        if _copy_waits(session, old):
            raise ConflictError("It is queued again already.")
        copy = _copy(old, now)
        session.execute(insert(Delivery), copy)
        audit.note(session, "delivery.resent", old.channel_name, after={"delivery": old.id})
        return Resent(delivery_id=copy["id"], channel_name=old.channel_name)


def resend_failed(since: timedelta) -> int:
    """Queue copies of what was given up since then, at most RESEND_LIMIT; return how many.

    Tests, what was resent before, and channels that are off or gone are left out.
    """
    now = clock.now()
    with transaction() as session:
        given_up = session.scalars(
            select(Delivery)
            .join(EventRow, EventRow.id == Delivery.event_id)
            .join(ChannelRow, ChannelRow.id == Delivery.channel_id)
            .where(given_up_since(now - since), ~EventRow.is_test, ChannelRow.enabled, ~REPEATED)
            .order_by(Delivery.id)
            .limit(RESEND_LIMIT)
        ).all()
        if given_up:
            session.execute(insert(Delivery), [_copy(old, now) for old in given_up])
            audit.note(session, "deliveries.resent", after={"count": len(given_up)})
            session.info[RING] = True
    return len(given_up)


def cancel(delivery_id: str) -> Line:
    """Stop trying. A message that is on the wire at this moment may still arrive.

    Raises:
        ConflictError: it has ended already.
        NotFoundError: it is not in the log.
    """
    with transaction() as session:
        stopped = session.execute(
            update(Delivery)
            .where(Delivery.id == delivery_id, text(OPEN_STATES))
            .values(
                state=State.CANCELLED,
                reason="Stopped by hand.",
                needs_you=False,
                finished_at=clock.now(),
                next_attempt_at=None,
                lease_owner=None,
                leased_until=None,
            )
            .returning(Delivery.id)
            .execution_options(synchronize_session=False)
        ).first()
        shown = delivery_lines.one(session, delivery_id)
        if stopped is None:
            raise ConflictError("It is not waiting any more, so there is nothing to stop.")
        facts = {"delivery": delivery_id, "event": shown.event_type}
        audit.note(session, "delivery.cancelled", shown.channel_name, after=facts)
        return shown


def _stored(session: Session, delivery_id: str) -> Delivery:
    row = session.get(Delivery, delivery_id, with_for_update=True)
    if row is None:
        raise NotFoundError(GONE)
    return row


def _refuse_without_channel(session: Session, row: Delivery) -> None:
    enabled = session.scalar(select(ChannelRow.enabled).where(ChannelRow.id == row.channel_id))
    if enabled is None:
        raise ConflictError("The channel of this delivery was deleted, so it cannot be sent again.")
    if not enabled:
        raise ConflictError(f"{row.channel_name} is off. Turn it on, then send again.")


def _copy_waits(session: Session, old: Delivery) -> bool:
    copies = select(Delivery.id).where(
        Delivery.event_id == old.event_id, Delivery.resend_of == old.id, Delivery.state.in_(OPEN)
    )
    return session.execute(copies.limit(1)).first() is not None


def _copy(old: Delivery, now: datetime) -> dict[str, Any]:
    return {
        "id": ids.uuid7(),
        "event_id": old.event_id,
        "channel_id": old.channel_id,
        "channel_name": old.channel_name,
        "channel_type": old.channel_type,
        "recipient": old.recipient,
        "is_direct": old.is_direct,
        "state": State.QUEUED,
        "attempts": 0,
        "created_at": now,
        "next_attempt_at": now,
        "expires_at": now + EXPIRES_AFTER,
        "resend_of": old.id,
        "progress": old.progress,  # recipients who took the message do not get it again
    }
