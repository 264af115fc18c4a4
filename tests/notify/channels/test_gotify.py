"""Gotify: paths, priorities, text that stays text, and what its answers mean."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from werkzeug.datastructures import MultiDict

from tests.notify.samples import HOSTILE, LONG_ERROR, failure, hostile, message_of, success
from tests.servers import gotify as service
from webapp.core.errors import PermanentError, TransientError
from webapp.notify.channels.gotify import Gotify, GotifyForm
from webapp.notify.events import EVENTS
from webapp.notify.message import Message, Severity
from webapp.notify.outbound import Outbound

WAY_OUT = Outbound(allow_private_networks="self-hosted", ca_file=None)


@pytest.fixture
def server() -> Iterator[service.Gotify]:
    with service.Gotify() as server:
        yield server


def gotify(url: str = "https://gotify.example.org", **changes: Any) -> Gotify:
    return Gotify({"server_url": url, "token": service.TOKEN} | changes)


def send(server: service.Gotify, message: Message | None = None, **changes: Any) -> Any:
    channel = gotify(f"{server.url}{server.base}", **changes)
    return channel.send(channel.render(message or failure()), WAY_OUT, {})


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type)
def test_the_server_takes_every_event(server: service.Gotify, event: Any) -> None:
    receipt = send(server, message_of(event))
    assert receipt.words == "Gotify answered 200."
    assert server.messages[0]["title"] == message_of(event).title


@pytest.mark.parametrize("value", [*HOSTILE, LONG_ERROR])
def test_the_server_takes_every_text_as_plain_text(server: service.Gotify, value: str) -> None:
    send(server, hostile(value))
    [message] = server.messages
    assert message["extras"]["client::display"] == {"contentType": "text/plain"}
    assert len(message["message"].encode()) <= 8_000
    assert len(message["title"].encode()) <= 250
    assert "event 0000aaaa" in message["message"] or len(value) > 1_000


@pytest.mark.parametrize("end", ["", "/"])
def test_a_server_behind_a_path_keeps_its_path(end: str) -> None:
    with service.Gotify("/gotify") as server:
        channel = gotify(f"{server.url}/gotify{end}")
        channel.send(channel.render(success()), WAY_OUT, {})
        assert server.last.path == "/gotify/message"


def test_the_token_is_in_a_header_and_never_in_the_address(server: service.Gotify) -> None:
    send(server)
    assert service.TOKEN not in server.last.path
    assert server.last.headers["x-gotify-key"] == service.TOKEN


@pytest.mark.parametrize(
    ("severity", "priority"),
    [
        (Severity.INFO, 2),
        (Severity.SUCCESS, 3),
        (Severity.WARNING, 5),
        (Severity.FAILURE, 8),
        (Severity.CRITICAL, 10),
    ],
)
def test_the_priority_is_that_of_the_severity(severity: Severity, priority: int) -> None:
    body = json.loads(gotify().render(failure(severity=severity)).body)
    assert body["priority"] == priority


def test_priorities_can_be_chosen_also_zero() -> None:
    channel = gotify(priority=0, failure_priority=9)
    assert json.loads(channel.render(success()).body)["priority"] == 0
    assert json.loads(channel.render(failure()).body)["priority"] == 9


def test_a_tap_opens_the_run() -> None:
    extras = json.loads(gotify().render(failure()).body)["extras"]
    assert extras["client::notification"]["click"]["url"] == failure().link


def test_a_secret_in_an_error_is_masked_before_it_is_cut() -> None:
    error = "x" * 7_000 + service.TOKEN + "y" * 7_000
    for shift in range(0, 40, 3):
        body = gotify().render(failure(error="z" * shift * 50 + error)).body.decode()
        assert service.TOKEN[:8] not in body


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"token": "AWrongWrongWron"}, "401: you need to provide a valid access token"),
        ({"token": service.CLIENT}, "403: you are not allowed"),
    ],
)
def test_a_wrong_token_breaks_the_channel(
    server: service.Gotify, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(PermanentError, match=words) as caught:
        send(server, **changes)
    assert caught.value.breaks_channel
    assert "Apps" in caught.value.advice


def test_a_wrong_path_breaks_the_channel(server: service.Gotify) -> None:
    channel = gotify(f"{server.url}/elsewhere")
    with pytest.raises(PermanentError, match="404") as caught:
        channel.send(channel.render(failure()), WAY_OUT, {})
    assert caught.value.breaks_channel
    assert "https://home.example.org/gotify" in caught.value.advice


def test_a_refused_message_fails_alone(server: service.Gotify) -> None:
    server.once(
        400,
        {"error": "Bad Request", "errorCode": 400, "errorDescription": "Field 'message' required"},
    )
    with pytest.raises(PermanentError, match="Field 'message' required") as caught:
        send(server)
    assert not caught.value.breaks_channel


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_trouble_of_the_proxy_is_tried_again(server: service.Gotify, status: int) -> None:
    server.once(status, b"<html><h1>Bad Gateway</h1></html>", headers={"Content-Type": "text/html"})
    with pytest.raises(TransientError) as caught:
        send(server)
    assert caught.value.advice
    assert caught.value.excerpt == "Bad Gateway"


def form_of(**typed: str) -> GotifyForm:
    entered = {"server_url": "https://gotify.example.org", "token": service.TOKEN}
    return GotifyForm(MultiDict(entered | typed))


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ({"token": service.CLIENT}, "token of a client"),
        ({"token": "short"}, "Enter the token"),
        ({"server_url": ""}, "Enter the address"),
        ({"server_url": "https://g.example.org/message"}, "Leave /message out"),
        ({"server_url": "https://g.example.org/?token=x"}, "Leave everything from"),
        ({"server_url": "https://user:pw@g.example.org"}, "Leave user and password out"),
        ({"priority": "11"}, "from 0 to 10"),
        ({"failure_priority": "high"}, "from 0 to 10"),
        ({"ca_file": "/nowhere.pem"}, "no such file"),
    ],
)
def test_mistakes_are_told_in_words(typed: dict[str, str], words: str) -> None:
    form = form_of(**typed)
    assert not form.validate()
    assert words in str(form.errors)


def test_empty_priorities_are_left_to_the_severity() -> None:
    form = form_of(priority="", failure_priority=" ")
    assert form.validate(), form.errors
    assert form.merged({})["priority"] is None


def test_new_tokens_are_taken_too() -> None:
    assert form_of(token="gtfy" + "x" * 60).validate()


def test_only_servers_elsewhere_are_spared() -> None:
    assert gotify("http://192.168.1.5:8080").buckets == ()
    [(target, rate)] = gotify().buckets
    assert (target, rate.seconds) == ("gotify:gotify.example.org", 0.2)
