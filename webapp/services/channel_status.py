"""How a channel is doing, in one word and one moment: derived, never stored."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Case, case, func, select, text
from sqlalchemy.orm import Session

from webapp.models.channel import ChannelRow
from webapp.models.delivery import IS_OPEN, Delivery


class Health(StrEnum):
    """The word; its look is in web/filters.py."""

    OFF = "off"
    BROKEN = "broken"
    RETRYING = "retrying"
    FAILING = "failing"
    HEALTHY = "healthy"
    NEVER_USED = "never_used"


@dataclass(frozen=True)
class Waiting:
    """What waits to be tried again on one channel."""

    next_try: datetime | None
    needs_you: bool


@dataclass(frozen=True, kw_only=True)
class Status:
    """The word, and the moment that belongs to it with the words before it."""

    health: Health
    lead: str = ""
    moment: datetime | None = None
    needs_someone: bool = False
    """True: it does not heal alone, so the page says it on top."""


def waiting(session: Session) -> dict[int, Waiting]:
    """Return what is being retried, by channel; reads open deliveries only."""
    rows = session.execute(
        select(Delivery.channel_id, func.min(Delivery.next_attempt_at), func.max(_needs_you()))
        .where(text(IS_OPEN), text("state = 'retrying'"), Delivery.channel_id.is_not(None))
        .group_by(Delivery.channel_id)
    )
    return {
        channel_id: Waiting(next_try, bool(needs_you))
        for channel_id, next_try, needs_you in rows
        if channel_id is not None
    }


def _needs_you() -> Case[int]:
    return case((Delivery.needs_you, 1), else_=0)  # PostgreSQL has no max() of booleans


def status_of(row: ChannelRow, waits: Waiting | None) -> Status:
    """Return the status of a channel; `waits` is what is being retried on it."""
    if not row.enabled:
        lead = "Turned off" if row.enabled_changed_at else ""
        return Status(health=Health.OFF, lead=lead, moment=row.enabled_changed_at)
    if row.broken_at is not None:
        return Status(health=Health.BROKEN, lead="Since", moment=row.broken_at, needs_someone=True)
    if waits is not None:
        return Status(
            health=Health.RETRYING,
            lead="Next try",
            moment=waits.next_try,
            needs_someone=waits.needs_you,
        )
    if row.failing_since is not None:
        return Status(
            health=Health.FAILING, lead="Since", moment=row.failing_since, needs_someone=True
        )
    if row.last_delivered_at is not None:
        return Status(health=Health.HEALTHY, lead="Delivered", moment=row.last_delivered_at)
    return Status(health=Health.NEVER_USED)
