"""Says several events of one cause in one message."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from webapp.notify.events import Event
from webapp.notify.message import Reader, Severity, Text

_ORDER: Final = tuple(Severity)
_LONGER_ZONE: Final = 3  # characters: “+0545” for “UTC”


def fitting(events: Sequence[tuple[Event, datetime]], characters: int) -> int:
    """Return how many of these events, from the first on, one message of that length names."""
    reader = Reader(timezone="UTC", base_url="", instance="")  # no zone's name is longer by much
    left = characters
    for count, (event, at) in enumerate(events):
        left -= len(_line(reader, at, event.say(reader).title)) + _LONGER_ZONE
        if left < 0:
            return count
    return len(events)


def _line(reader: Reader, at: datetime, title: str) -> str:
    return f"{reader.time(at)}  {title}\n"


def say(events: Sequence[tuple[Event, datetime]], reader: Reader) -> Text:
    """Return one text that names every event with its time; the worst severity counts."""
    said = sorted(((at, event.say(reader)) for event, at in events), key=lambda pair: pair[0])
    lines = [_line(reader, at, text.title) for at, text in said]
    label = events[0][0].label
    return Text(
        title=f"{len(said)} messages: {label}",
        text="More happened at once than this channel takes one by one:\n"
        + "".join(lines).rstrip(),
        severity=max((text.severity for _, text in said), key=_ORDER.index),
        path="/deliveries",
        link_label="Open deliveries",
    )
