"""The outbox and the log: events, their deliveries, and every attempt."""

from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import (
    JSON,
    CheckConstraint,
    ForeignKey,
    Index,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, deferred, mapped_column

from webapp.core import clock, ids
from webapp.models.base import Base


class State(StrEnum):
    """Where a delivery stands."""

    QUEUED = "queued"
    SENDING = "sending"
    RETRYING = "retrying"
    SENT = "sent"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"


# A delivery is open exactly while it has a next attempt; a constraint keeps the two equal. The
# partial index hangs on the second, because "next_attempt_at <= ?" implies it for the planner,
# also with a bound parameter, and no index on the state competes with it.
IS_OPEN: Final = "next_attempt_at IS NOT NULL"
OPEN_STATES: Final = "state IN ('queued', 'sending', 'retrying')"
# Written like this, no index on the state competes with the small one of its own.
IS_UNSEEN: Final = "state || '' = 'expired' AND seen_at IS NULL"
CLOSED_STATES: Final = (State.FAILED, State.EXPIRED, State.CANCELLED)


class EventRow(Base):
    """One occurrence of an event. `payload` holds the fields of its dataclass."""

    __tablename__ = "event"
    __table_args__ = (
        Index("ix_event_occurred_at_id", "occurred_at", "id"),
        Index("ix_event_type_id", "type", "id"),
        Index("ix_event_job_id_id", "job_id", "id"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=ids.uuid7)
    type: Mapped[str] = mapped_column(String(40))
    payload: Mapped[dict[str, Any]] = mapped_column(JSON)
    occurred_at: Mapped[datetime] = mapped_column(default=clock.now)
    job_id: Mapped[int | None] = mapped_column(ForeignKey("job.id", ondelete="SET NULL"))
    run_id: Mapped[int | None] = mapped_column(ForeignKey("run.id", ondelete="SET NULL"))
    is_test: Mapped[bool] = mapped_column(default=False)


class Delivery(Base):
    """One event to one target: a channel, or one person through an email channel.

    A skipped delivery is the record of why nothing was sent. It may have no channel (the event
    is off, nothing is selected).
    """

    __tablename__ = "delivery"
    __table_args__ = (
        Index(
            "ix_delivery_open",
            "next_attempt_at",
            "id",
            sqlite_where=text(IS_OPEN),
            postgresql_where=text(IS_OPEN),
        ),
        CheckConstraint(f"({OPEN_STATES}) = ({IS_OPEN})", name="open_has_next_attempt"),
        Index("ix_delivery_state_id", "state", "id"),
        Index(
            "ix_delivery_unseen",
            "id",
            sqlite_where=text(IS_UNSEEN),
            postgresql_where=text(IS_UNSEEN),
        ),
        Index("ix_delivery_channel_id_id", "channel_id", "id"),
        Index("ix_delivery_event_id", "event_id"),
        Index(
            "ix_delivery_bundle_id",
            "bundle_id",
            sqlite_where=text("bundle_id IS NOT NULL"),
            postgresql_where=text("bundle_id IS NOT NULL"),
        ),
        Index(
            "ix_delivery_fallback_for",
            "fallback_for",
            sqlite_where=text("fallback_for IS NOT NULL"),
            postgresql_where=text("fallback_for IS NOT NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=ids.uuid7)
    event_id: Mapped[str] = mapped_column(ForeignKey("event.id", ondelete="CASCADE"))
    channel_id: Mapped[int | None] = mapped_column(ForeignKey("channel.id", ondelete="SET NULL"))
    channel_name: Mapped[str] = mapped_column(String(60), default="")
    channel_type: Mapped[str] = mapped_column(String(20), default="")
    """Name and type as they were; the log outlives the channel."""
    recipient: Mapped[str | None] = mapped_column(String(254))
    """The one address or number to write to; None: the channel's own recipients."""
    is_direct: Mapped[bool] = mapped_column(default=False)
    """True when the recipient is the person that the event is about ("Notify user directly")."""
    state: Mapped[str] = mapped_column(String(12), default=State.QUEUED)
    reason: Mapped[str | None] = mapped_column(Text)
    """Why it was skipped, failed, expired, or waits."""
    needs_you: Mapped[bool] = mapped_column(default=False)
    attempts: Mapped[int] = mapped_column(default=0)
    """Attempts begun; also the fence: only the latest one may record."""
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    next_attempt_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    seen_at: Mapped[datetime | None]
    """When somebody looked at it after it had expired; until then the overview lists it."""
    lease_owner: Mapped[str | None] = mapped_column(String(120))
    leased_until: Mapped[datetime | None]
    bundle_id: Mapped[str | None] = mapped_column(String(36))
    """The delivery whose message names this one as well, when a storm outgrew the channel's rate.
    It stays for the retries, so that a repetition of the message names the same events."""
    fallback_for: Mapped[str | None] = mapped_column(String(36))
    """The delivery that this one stands in for, because its channel fails."""
    resend_of: Mapped[str | None] = mapped_column(String(36))
    """The delivery that this one repeats on somebody's request."""
    progress: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    """What a channel wants to remember between attempts (recipients who already accepted)."""
    rendered: Mapped[dict[str, Any] | None] = deferred(mapped_column(JSON))
    """The message of the latest attempt as it left, secrets masked."""


class Attempt(Base):
    """One try of a delivery. Written once, never changed."""

    __tablename__ = "attempt"
    __table_args__ = (UniqueConstraint("delivery_id", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    delivery_id: Mapped[str] = mapped_column(ForeignKey("delivery.id", ondelete="CASCADE"))
    number: Mapped[int]
    started_at: Mapped[datetime]
    duration_ms: Mapped[int]
    outcome: Mapped[str] = mapped_column(String(12))
    """sent, transient, permanent, or lost (no result before the lease ran out)."""
    status: Mapped[str | None] = mapped_column(String(40))
    message: Mapped[str] = mapped_column(Text, default="")
    """What happened, in our words."""
    excerpt: Mapped[str] = mapped_column(Text, default="")
    """The service's own words, at most 2 KB, secrets masked."""
    advice: Mapped[str] = mapped_column(Text, default="")
