"""Sessions, wrong attempts, second factors, and identities at an OpenID provider."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from webapp.core import clock
from webapp.models.base import Base


class UserSession(Base):
    """One browser in which somebody is signed in. Signing out deletes the row."""

    __tablename__ = "user_session"

    id: Mapped[int] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    """SHA-256 of what the browser's cookie holds, which itself is stored nowhere."""
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), index=True)
    version: Mapped[int]
    """The account's `session_version` when it began; the session counts while they are equal."""
    remembered: Mapped[bool] = mapped_column(default=False)
    method: Mapped[str] = mapped_column(String(20), default="password")
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    last_seen_at: Mapped[datetime] = mapped_column(default=clock.now)
    confirmed_at: Mapped[datetime] = mapped_column(default=clock.now)
    """When the person last proved to be who they are."""
    ip_address: Mapped[str] = mapped_column(String(60), default="")
    browser: Mapped[str] = mapped_column(String(100), default="")


class Throttle(Base):
    """Wrong attempts on one account, known or not."""

    __tablename__ = "throttle"
    __table_args__ = (Index("ix_throttle_last_at", "last_at"),)

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    """SHA-256 of what was attempted and on which account."""
    failures: Mapped[int] = mapped_column(default=0)
    last_at: Mapped[datetime]
    blocked_until: Mapped[datetime | None]


class RecoveryCode(Base):
    """A code that replaces the second factor once."""

    __tablename__ = "recovery_code"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), index=True)
    code_hash: Mapped[str] = mapped_column(String(64))
    """SHA-256; the codes are random, so nothing slower is needed."""
    used_at: Mapped[datetime | None]


class Identity(Base):
    """An account at an OpenID provider that signs in as one of ours."""

    __tablename__ = "identity"
    __table_args__ = (UniqueConstraint("issuer", "subject"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), index=True)
    issuer: Mapped[str] = mapped_column(String(300))
    subject: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
