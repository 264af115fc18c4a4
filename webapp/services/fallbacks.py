"""Sends a message through a channel's fallback when the channel itself fails.

At once on a permanent error, after the second transient one otherwise. Whichever of the two is
delivered first ends the other, so nobody gets a second copy when the channel recovers.
"""

from typing import Any, Final

from sqlalchemy import insert, select, text, update
from sqlalchemy.orm import Session

from webapp.core import clock, ids
from webapp.core.errors import ChannelError, PermanentError
from webapp.core.retry import EXPIRES_AFTER
from webapp.models.channel import ChannelRow
from webapp.models.delivery import Delivery, State
from webapp.services.claims import Claim
from webapp.services.transaction import RING

AFTER_ATTEMPTS: Final = 2


def settle(session: Session, claim: Claim, error: ChannelError | None) -> None:
    """Queue, or call off, the stand-in for each delivery of a message that was just recorded."""
    if claim.is_test:
        return
    if error is None:
        for one in claim.whole:
            _call_off_the_other(session, one)
    elif isinstance(error, PermanentError) or claim.attempt >= AFTER_ATTEMPTS:
        fallback = _fallback_of(session, claim)
        if fallback is not None:
            for one in claim.whole:
                _queue(session, one, fallback)


def _fallback_of(session: Session, claim: Claim) -> ChannelRow | None:
    """Return the channel to use instead, if there is one that works; one step only."""
    if claim.stands_in_for is not None or claim.recipient is not None:
        return None
    fallback_id = session.scalar(
        select(ChannelRow.fallback_id).where(ChannelRow.id == claim.channel.id)
    )
    if fallback_id is None or fallback_id == claim.channel.id:
        return None
    row = session.get(ChannelRow, fallback_id)
    return row if row is not None and row.enabled and row.broken_at is None else None


def _queue(session: Session, claim: Claim, fallback: ChannelRow) -> None:
    known = session.scalar(
        select(Delivery.id).where(Delivery.fallback_for == claim.delivery_id).limit(1)
    )
    told = session.scalar(
        select(Delivery.id)
        .where(
            Delivery.event_id == claim.event_id,
            Delivery.channel_id == fallback.id,
            Delivery.recipient.is_(None),
            Delivery.state != State.SKIPPED,
        )
        .limit(1)
    )
    if known is not None or told is not None:
        return  # the fallback is told about this event anyway
    now = clock.now()
    session.execute(
        insert(Delivery),
        {
            "id": ids.uuid7(),
            "event_id": claim.event_id,
            "channel_id": fallback.id,
            "channel_name": fallback.name,
            "channel_type": fallback.type,
            "state": State.QUEUED,
            "created_at": now,
            "next_attempt_at": now,
            "expires_at": claim.expires_at or now + EXPIRES_AFTER,
            "fallback_for": claim.delivery_id,
        },
    )
    session.info[RING] = True


def _call_off_the_other(session: Session, claim: Claim) -> None:
    """A message arrived: end its stand-in, or the delivery that it stood in for."""
    if claim.stands_in_for is None:
        other: Any = Delivery.fallback_for == claim.delivery_id
        reason = f"{claim.channel.name} recovered and delivered it itself."
    else:
        original = session.scalar(
            select(Delivery.fallback_for).where(Delivery.id == claim.delivery_id)
        )
        other = Delivery.id == original
        reason = f"Delivered through the fallback channel {claim.channel.name}."
    session.execute(
        update(Delivery)
        .where(other, text("state IN ('queued', 'retrying')"))
        .values(state=State.CANCELLED, reason=reason, finished_at=clock.now(), next_attempt_at=None)
        .execution_options(synchronize_session=False)
    )
