"""Says several events of one cause in one message."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from webapp.notify.events import Event
from webapp.notify.message import Reader, Severity, Text

_ORDER: Final = tuple(Severity)


def say(events: Sequence[tuple[Event, datetime]], reader: Reader) -> Text:
    """Return one text that names every event with its time; the worst severity counts."""
    said = sorted(((at, event.say(reader)) for event, at in events), key=lambda pair: pair[0])
    lines = [f"{reader.time(at)}  {text.title}" for at, text in said]
    label = events[0][0].label
    return Text(
        title=f"{len(said)} messages: {label}",
        text="More happened at once than this channel takes one by one:\n" + "\n".join(lines),
        severity=max((text.severity for _, text in said), key=_ORDER.index),
        path="/deliveries",
        link_label="Open deliveries",
    )
