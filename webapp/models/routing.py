"""Which event goes to which channels."""

from enum import StrEnum

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from webapp.models.base import Base


class NotifyUser(StrEnum):
    """Whether the person an event is about gets a direct email."""

    DISABLED = "disabled"
    ADMIN_AND_USER = "admin_and_user"
    USER_ONLY = "user_only"


class Condition(StrEnum):
    """When a job's row sends."""

    ALWAYS = "always"
    ON_SUCCESS = "on_success"
    ON_FAILURE = "on_failure"


class EventSetting(Base):
    """How one system event is set; without a row its defaults hold."""

    __tablename__ = "event_setting"

    event_type: Mapped[str] = mapped_column(String(40), primary_key=True)
    enabled: Mapped[bool]
    custom: Mapped[bool] = mapped_column(default=False)
    """True: the event has its own channels (perhaps none). False: it follows the global ones."""
    notify_user: Mapped[str] = mapped_column(String(20), default=NotifyUser.DISABLED)


class EventChannel(Base):
    """One channel of an event's own selection."""

    __tablename__ = "event_channel"

    event_type: Mapped[str] = mapped_column(String(40), primary_key=True)
    channel_id: Mapped[int] = mapped_column(
        ForeignKey("channel.id", ondelete="CASCADE"), primary_key=True
    )
    position: Mapped[int]


class GlobalChannel(Base):
    """One of the channels of every event without its own selection."""

    __tablename__ = "global_channel"

    channel_id: Mapped[int] = mapped_column(
        ForeignKey("channel.id", ondelete="CASCADE"), primary_key=True
    )
    position: Mapped[int]


class JobChannel(Base):
    """One row of a job's notifications: a channel and when it is told."""

    __tablename__ = "job_channel"

    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"), index=True)
    channel_id: Mapped[int] = mapped_column(
        ForeignKey("channel.id", ondelete="CASCADE"), index=True
    )
    condition: Mapped[str] = mapped_column(String(12), default=Condition.ALWAYS)
