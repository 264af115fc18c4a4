"""Somebody pressed Test at a channel."""

from dataclasses import dataclass
from typing import ClassVar, Self

from webapp.notify.events.base import Event
from webapp.notify.message import Field, Reader, Severity, Text


@dataclass(frozen=True, kw_only=True)
class ChannelTest(Event):
    """A sample that proves that a channel works."""

    type: ClassVar[str] = "channel_test"
    label: ClassVar[str] = "Channel Test"
    description: ClassVar[str] = "A sample sent from a channel's page."

    channel: str
    requested_by: str

    def say(self, reader: Reader) -> Text:
        """Say that the channel works."""
        return Text(
            title=f"{self.channel} works",
            text=f"This is a sample from {reader.instance}. Alarms will look like it.",
            severity=Severity.INFO,
            fields=(Field("Channel", self.channel), Field("Requested by", self.requested_by)),
            path="/channels",
            link_label="Open channels",
        )

    @classmethod
    def sample(cls) -> Self:
        """Return a plausible test."""
        return cls(channel="Ops alerts", requested_by="Mara Lindqvist")
