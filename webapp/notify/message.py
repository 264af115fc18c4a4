"""What to say, in nobody's format."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from webapp.core import ids, text


class Severity(StrEnum):
    """How bad it is; channels turn it into colours, priorities and headers."""

    INFO = "info"
    SUCCESS = "success"
    WARNING = "warning"
    FAILURE = "failure"
    CRITICAL = "critical"


@dataclass(frozen=True)
class Field:
    """One fact of a message. `short` facts may stand side by side."""

    name: str
    value: str
    short: bool = True


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Who will read: decides the zone of times, the addresses of links, and the wording."""

    timezone: str
    base_url: str
    instance: str
    is_the_user: bool = False
    """True for direct mail to the person that the event is about."""

    def time(self, moment: datetime) -> str:
        """Return a moment in the reader's zone: 2026-03-01 02:15:04 UTC."""
        return f"{moment.astimezone(ZoneInfo(self.timezone)):%Y-%m-%d %H:%M:%S %Z}"


@dataclass(frozen=True, kw_only=True)
class Text:
    """What an event says of itself."""

    title: str
    text: str
    severity: Severity
    fields: tuple[Field, ...] = ()
    error: str = ""
    """The error as the tool gave it, of any length; channels shorten it first."""
    path: str = "/"
    """Page of ours with the details."""
    link_label: str = "Open DBackup"


@dataclass(frozen=True, kw_only=True)
class Message:
    """One event, said to one target. Every text in it is cleaned but not escaped or shortened."""

    event_id: str
    delivery_id: str
    event_type: str
    title: str
    text: str
    severity: Severity
    fields: tuple[Field, ...]
    error: str
    link: str
    link_label: str
    occurred_at: datetime
    time: str
    """`occurred_at` in the reader's zone."""
    instance: str
    is_test: bool
    late_by: timedelta | None = None
    """Set when the message goes out so late that it must say so."""
    recipient: str | None = None
    """The one address or number to write to; None: the channel's own recipients."""
    thread: str = ""
    """Equal for messages that belong together (those of one job)."""
    attempt: int = 1

    @property
    def success(self) -> bool:
        """Say whether this is good news or at least no bad news."""
        return self.severity in {Severity.INFO, Severity.SUCCESS}

    @property
    def late_note(self) -> str:
        """Return "Delayed: …" for a late message, else nothing."""
        if self.late_by is None:
            return ""
        return f"Delayed by {text.duration(self.late_by)}: this happened at {self.time}."

    @property
    def footer(self) -> str:
        """Return the line that identifies the message: instance, event, attempt."""
        return f"{self.instance} · event {ids.short(self.event_id)} · attempt {self.attempt}"


def compose(
    said: Text,
    reader: Reader,
    *,
    event_id: str,
    delivery_id: str,
    event_type: str,
    occurred_at: datetime,
    is_test: bool = False,
    late_by: timedelta | None = None,
    recipient: str | None = None,
    thread: str = "",
    attempt: int = 1,
) -> Message:
    """Return the message for one target."""
    title = text.one_line(said.title)
    return Message(
        event_id=event_id,
        delivery_id=delivery_id,
        event_type=event_type,
        title=f"[Test] {title}" if is_test else title,
        text=text.clean(said.text),
        severity=said.severity,
        fields=tuple(
            Field(text.one_line(field.name), text.clean(field.value).strip() or "–", field.short)
            for field in said.fields
        ),
        error=text.clean(said.error).strip(),
        link=f"{reader.base_url}{said.path}",
        link_label=said.link_label,
        occurred_at=occurred_at,
        time=reader.time(occurred_at),
        instance=text.one_line(reader.instance),
        is_test=is_test,
        late_by=late_by,
        recipient=recipient,
        thread=thread,
        attempt=attempt,
    )
