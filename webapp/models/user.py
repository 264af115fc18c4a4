"""People who sign in."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from webapp.core import clock
from webapp.models.base import Base


class Role(StrEnum):
    """What a person may do; each role includes the ones after it."""

    ADMIN = "admin"
    OPERATOR = "operator"
    VIEWER = "viewer"

    def includes(self, other: "Role") -> bool:
        """Say whether this role may do what the other may do."""
        order = list(Role)
        return order.index(self) <= order.index(other)


class Theme(StrEnum):
    """How pages look to a person."""

    AUTO = "auto"
    LIGHT = "light"
    DARK = "dark"


class User(Base):
    """An account. The email is the login, unique without case (`email_key`)."""

    __tablename__ = "user"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(254))
    email_key: Mapped[str] = mapped_column(String(254), unique=True)
    name: Mapped[str] = mapped_column(String(100))
    password_hash: Mapped[str] = mapped_column(String(255))
    role: Mapped[str] = mapped_column(String(10), default=Role.VIEWER)
    active: Mapped[bool] = mapped_column(default=True)
    timezone: Mapped[str | None] = mapped_column(String(64))
    theme: Mapped[str] = mapped_column(String(10), default=Theme.AUTO)
    session_version: Mapped[int] = mapped_column(default=1)
    """Counted up to end every session of the account (new password, deactivated)."""
    version: Mapped[int] = mapped_column(default=1)
    """Counted up by every change; an edit that began before the latest one is refused."""
    totp_secret: Mapped[str | None] = mapped_column(Text)
    """The sealed key of the second factor; None: there is none."""
    totp_draft: Mapped[str | None] = mapped_column(Text)
    """A sealed key that is shown and not yet proven."""
    totp_step: Mapped[int] = mapped_column(BigInteger, default=0)
    """The time step of the last accepted code; a code counts once."""
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    last_login_at: Mapped[datetime | None]
