"""How a delivery hangs together with others: fallback, bundle, copies. Said in words."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from webapp.models.channel import ChannelRow
from webapp.models.delivery import Delivery, State

_STANDS: Final = {
    State.QUEUED: "waits for its turn there",
    State.SENDING: "is being sent there",
    State.RETRYING: "is tried there again and again",
    State.CANCELLED: "was called off there",
}


@dataclass(frozen=True, kw_only=True)
class Relation:
    """One sentence about another delivery, and which one it is."""

    label: str
    words: str
    delivery_id: str | None = None


def relations(
    session: Session, delivery_id: str, *, fallback_for: str | None, bundle_id: str | None
) -> tuple[Relation, ...]:
    """Return what is to be said about a delivery and those around it."""
    found = [
        _stands_in_for(session, fallback_for) if fallback_for else None,
        _fallback_of(session, delivery_id),
        _bundle(session, delivery_id, bundle_id) if bundle_id else None,
    ]
    return tuple(each for each in found if each is not None)


def not_chosen(session: Session, event_id: str, occurred_at: datetime) -> tuple[str, ...]:
    """Return the channels of that time that the event was not meant for.

    An event that is off or has no channels says so in its only delivery; then there is no more to
    say about each channel.
    """
    meant = select(Delivery.channel_id).where(
        Delivery.event_id == event_id, Delivery.channel_id.is_not(None)
    )
    chosen = set(session.scalars(meant))
    if not chosen:
        return ()
    there = (
        select(ChannelRow.id, ChannelRow.name)
        .where(ChannelRow.created_at <= occurred_at)
        .order_by(func.lower(ChannelRow.name))
    )
    return tuple(row.name for row in session.execute(there) if row.id not in chosen)


def _stands_in_for(session: Session, original: str) -> Relation | None:
    name = session.scalar(select(Delivery.channel_name).where(Delivery.id == original))
    if name is None:  # pruned
        return None
    return Relation(label="Sent instead of", words=f"{name}, which failed", delivery_id=original)


def _fallback_of(session: Session, delivery_id: str) -> Relation | None:
    row = session.execute(
        select(Delivery.id, Delivery.channel_name, Delivery.state)
        .where(Delivery.fallback_for == delivery_id)
        .limit(1)
    ).one_or_none()
    if row is None:
        return None
    if row.state == State.SENT:
        words = f"Delivered through the fallback channel {row.channel_name}"
    else:
        stands = _STANDS.get(State(row.state), "was not delivered there either")
        words = f"{row.channel_name}: {stands}"
    return Relation(label="Fallback", words=words, delivery_id=row.id)


def _bundle(session: Session, delivery_id: str, bundle_id: str) -> Relation:
    count = session.scalar(
        select(func.count()).select_from(Delivery).where(Delivery.bundle_id == bundle_id)
    )
    leads = delivery_id == bundle_id
    return Relation(
        label="Message",
        words=f"One message named {count} events",
        delivery_id=None if leads else bundle_id,
    )
