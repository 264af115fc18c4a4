"""Channels: configured ways to reach people."""

from datetime import datetime

from sqlalchemy import ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from webapp.core import clock
from webapp.models.base import Base


class ChannelRow(Base):
    """A channel. `config` is sealed as a whole; `summary` is what may be shown of it."""

    __tablename__ = "channel"

    id: Mapped[int] = mapped_column(primary_key=True)
    type: Mapped[str] = mapped_column(String(20))
    name: Mapped[str] = mapped_column(String(60), unique=True)
    config: Mapped[str] = mapped_column(Text)
    summary: Mapped[str] = mapped_column(String(200), default="")
    enabled: Mapped[bool] = mapped_column(default=True)
    enabled_changed_at: Mapped[datetime | None]
    fallback_id: Mapped[int | None] = mapped_column(ForeignKey("channel.id", ondelete="SET NULL"))
    version: Mapped[int] = mapped_column(default=1)
    """Counted up by each edit; a stale form is refused."""
    created_at: Mapped[datetime] = mapped_column(default=clock.now)

    # Health, written by the dispatcher together with the attempt.
    last_delivered_at: Mapped[datetime | None]
    failing_since: Mapped[datetime | None]
    failure_count: Mapped[int] = mapped_column(default=0)
    """Failed attempts since the last delivered message."""
    last_error: Mapped[str | None] = mapped_column(Text)
    last_advice: Mapped[str | None] = mapped_column(Text)
    broken_at: Mapped[datetime | None]
    """Set by an error about the channel itself; a passed test or an edit clears it."""
