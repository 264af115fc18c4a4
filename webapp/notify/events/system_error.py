"""Something inside DBackup did not work."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Self

from webapp.notify.events.base import Event, Group
from webapp.notify.message import Field, Reader, Severity, Text


@dataclass(frozen=True, kw_only=True)
class SystemError(Event):
    """An unexpected error in DBackup itself, or a part of it that stopped working."""

    type: ClassVar[str] = "system_error"
    label: ClassVar[str] = "System Error"
    description: ClassVar[str] = "The scheduler, the delivery queue or a page stopped working."
    group: ClassVar[Group | None] = Group.SYSTEM
    on_by_default: ClassVar[bool] = True

    component: str
    error: str
    first_seen: str
    """ISO 8601 with offset."""
    times_seen: int = 1

    def say(self, reader: Reader) -> Text:
        """Say which part failed, how, and how often."""
        again = self.times_seen > 1
        return Text(
            title=f"System error: {self.component}",
            text=f"This error was seen {self.times_seen} times within the last hour."
            if again
            else "A part of DBackup could not do its work. Repetitions within the hour are counted "
            "and reported together.",
            severity=Severity.FAILURE,
            fields=(
                Field("Component", self.component),
                Field("First seen", reader.time(datetime.fromisoformat(self.first_seen))),
                Field("Times seen", str(self.times_seen)),
            ),
            error=self.error,
            path="/deliveries",
            link_label="Open DBackup",
        )

    @classmethod
    def sample(cls) -> Self:
        """Return a plausible error."""
        return cls(
            component="Scheduler",
            error="OperationalError: database or disk is full",
            first_seen="2026-03-01T02:15:04+00:00",
        )
