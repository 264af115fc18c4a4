"""A message that stands for several events names every one of them, as it leaves."""

from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes, policy

import pytest

from tests.notify.channels.cases import CASES, channel_of
from webapp.notify.channels.base import Rendered
from webapp.notify.events import BY_TYPE
from webapp.notify.events.restore_failure import RestoreFailure
from webapp.notify.message import Reader, compose
from webapp.services import bundles

AT = datetime(2026, 3, 1, 2, 15, tzinfo=UTC)
READER = Reader(
    timezone="Asia/Kathmandu", base_url="https://backup.example.org", instance="Production"
)


def storm(count: int, name: str) -> list[tuple[RestoreFailure, datetime]]:
    event = BY_TYPE["restore_failure"].sample()
    assert isinstance(event, RestoreFailure)
    return [(replace(event, target=f"{name}no{number:03d}x"), AT) for number in range(count)]


def shown(kind: str, rendered: Rendered) -> str:
    if kind != "email":
        return rendered.body.decode()
    plain = message_from_bytes(rendered.body, policy=policy.default).get_body(("plain",))
    assert plain is not None
    return str(plain.get_content())


@pytest.mark.parametrize("name", ["a", "nightly_customer-db & co *<1>* ", "データベース & _*" * 4])
@pytest.mark.parametrize("kind", [*CASES, "email"])
def test_every_event_of_a_bundle_is_named_in_the_bytes_that_leave(kind: str, name: str) -> None:
    channel = channel_of(kind)
    events = storm(50, name)
    fitting = bundles.fitting(events, channel.bundle_characters)
    if kind != "sms":
        assert fitting >= 10
    elif name == "a":  # longer names go one by one: an SMS is short
        assert fitting == 2
    message = compose(
        bundles.say(events[:fitting] or events[:1], READER),
        READER,
        event_id="01a21acb-7946-7b42-a6f3-9d6c4c315a8c",
        delivery_id="01a21acb-7946-7b42-a6f3-9d6c4c315a8d",
        event_type="restore_failure",
        occurred_at=AT,
        recipient={"sms": "+15005550006", "email": "ops@example.org"}.get(kind),
    )
    body = shown(kind, channel.render(message))
    missing = [number for number in range(fitting) if f"no{number:03d}x" not in body]
    assert missing == []
