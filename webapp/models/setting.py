"""Settings that admins change in the browser, errors already announced, and leases."""

from datetime import datetime

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from webapp.models.base import Base


class Setting(Base):
    """One value set on a settings page; a missing row means the default."""

    __tablename__ = "setting"

    key: Mapped[str] = mapped_column(String(60), primary_key=True)
    value: Mapped[str] = mapped_column(Text)


class ErrorReport(Base):
    """An unexpected error that was announced; repetitions within the hour are counted here."""

    __tablename__ = "error_report"

    fingerprint: Mapped[str] = mapped_column(String(64), primary_key=True)
    component: Mapped[str] = mapped_column(String(60))
    error: Mapped[str] = mapped_column(Text)
    first_seen_at: Mapped[datetime]
    announced_at: Mapped[datetime]
    times: Mapped[int] = mapped_column(default=1)
    """How often it was seen since it was last announced, that time included."""


class Lease(Base):
    """A right that one process holds at a time: to schedule, or to run a certain job."""

    __tablename__ = "lease"

    name: Mapped[str] = mapped_column(String(60), primary_key=True)
    owner: Mapped[str] = mapped_column(String(120))
    leased_until: Mapped[datetime]


class RateBucket(Base):
    """What a target still takes, shared by all processes and kept over restarts."""

    __tablename__ = "rate_bucket"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    """SHA-256 of the target, which may be secret."""
    tokens: Mapped[float]
    updated_at: Mapped[datetime]
    blocked_until: Mapped[datetime | None]
    """Set by the service's own "too many requests"."""
