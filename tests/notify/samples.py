"""Messages for tests of channels."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from webapp.notify.events import BY_TYPE, Event
from webapp.notify.message import Field, Message, Reader, compose

EVENT_ID = "01930000-0000-7000-8000-00000000aaaa"
DELIVERY_ID = "01930000-0000-7000-8000-00000000bbbb"
OCCURRED = datetime(2026, 3, 1, 2, 15, 4, tzinfo=UTC)
READER = Reader(timezone="UTC", base_url="https://backup.example.org", instance="DBackup")

HOSTILE = (
    '@everyone <!channel> <@U1> <@&123456789012345678> *b* _i_ [x](http://e) <b>&"q"\\ {{x}} ${x}',
    "x\r\nBcc: x@y.example",
    "=?utf-8?q?=0D=0ABcc:_x=40y.example?=",
    "é" * 10_000,
    "👩\u200d👩\u200d👧\u200d👦" * 3_000,
    "abc\u202egnp.exe",
    "lone \ud800 surrogate",
    "nul \x00 and bell \x07",
    "",
    "   \t ",
    "```" * 500,
    "\u200b",
    "[" * 5_000,
)
LONG_ERROR = "\n".join(f'line {number}: "quoted" <tag> `tick` é 😀' for number in range(4_000))[
    :100_000
]


def message_of(event: type[Event], **changes: Any) -> Message:
    return composed(event.sample(), **changes)


def composed(event: Event, **changes: Any) -> Message:
    made = compose(
        event.say(READER),
        READER,
        event_id=EVENT_ID,
        delivery_id=DELIVERY_ID,
        event_type=event.type,
        occurred_at=OCCURRED,
    )
    return replace(made, **changes)


def failure(**changes: Any) -> Message:
    return message_of(BY_TYPE["backup_failure"], **changes)


def success(**changes: Any) -> Message:
    return message_of(BY_TYPE["backup_success"], **changes)


def hostile(value: str) -> Message:
    """Return a message that has the value in every place where foreign text can stand."""
    said = replace(
        BY_TYPE["backup_failure"].sample().say(READER),
        title=value,
        text=value,
        error=value,
        fields=(Field(value, value), *(Field(f"f{number}", value, False) for number in range(40))),
    )
    return compose(
        said,
        replace(READER, instance=value or "DBackup"),
        event_id=EVENT_ID,
        delivery_id=DELIVERY_ID,
        event_type="backup_failure",
        occurred_at=OCCURRED,
        thread=value,
    )
