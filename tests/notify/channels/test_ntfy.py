"""ntfy: JSON at the root within bytes, topics, priorities, and what its codes mean."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from werkzeug.datastructures import MultiDict

from tests.notify.samples import (
    EVENT_ID,
    HOSTILE,
    LONG_ERROR,
    failure,
    hostile,
    message_of,
    success,
)
from tests.servers import ntfy as service
from webapp.core.errors import PermanentError, TransientError
from webapp.notify.channels.ntfy import Ntfy, NtfyForm, next_day, suggested_topic
from webapp.notify.events import EVENTS
from webapp.notify.message import Message, Severity
from webapp.notify.outbound import Outbound

TOPIC = "dbackup-q7Xk2P9vLm3RtY8aQwEr"
WAY_OUT = Outbound(allow_private_networks="self-hosted", ca_file=None)


@pytest.fixture
def server() -> Iterator[service.Ntfy]:
    with service.Ntfy() as server:
        yield server


def ntfy(url: str = "https://ntfy.sh", **changes: Any) -> Ntfy:
    return Ntfy({"server_url": url, "topic": TOPIC} | changes)


def send(server: service.Ntfy, message: Message | None = None, **changes: Any) -> Any:
    channel = ntfy(f"{server.url}{server.base}", **changes)
    return channel.send(channel.render(message or failure()), WAY_OUT, {})


def payload(message: Message, **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ntfy(**changes).render(message).body)
    return found


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type)
def test_the_server_takes_every_event(server: service.Ntfy, event: Any) -> None:
    assert send(server, message_of(event)).words == "ntfy answered 200."
    assert server.messages[0]["title"] == message_of(event).title
    assert server.last.path == "/"


@pytest.mark.parametrize("value", [*HOSTILE, LONG_ERROR, '"' * 9_000, "\n\\" * 9_000, "漢" * 9_000])
def test_the_server_takes_every_text_within_its_bytes(server: service.Ntfy, value: str) -> None:
    send(server, hostile(value), tags="disk, db_1")
    assert len(server.last.body) <= 8_192
    assert len(server.messages[0]["message"].encode()) <= 4_096


def test_letters_are_sent_as_they_are_and_not_escaped(server: service.Ntfy) -> None:
    send(server, failure(title="Sauvegarde échouée 🚨 漢字"))
    assert "Sauvegarde échouée 🚨 漢字".encode() in server.last.body
    assert server.messages[0]["title"] == "Sauvegarde échouée 🚨 漢字"
    assert all(value.isascii() for value in server.last.headers.values())


def test_a_server_behind_a_path_keeps_its_path() -> None:
    with service.Ntfy(base="/ntfy") as server:
        send(server)
        assert server.last.path == "/ntfy/"


@pytest.mark.parametrize(
    ("severity", "priority", "tag"),
    [
        (Severity.INFO, 2, "information_source"),
        (Severity.SUCCESS, 2, "white_check_mark"),
        (Severity.WARNING, 3, "warning"),
        (Severity.FAILURE, 4, "rotating_light"),
        (Severity.CRITICAL, 5, "rotating_light"),
    ],
)
def test_priority_and_sign_are_those_of_the_severity(
    severity: Severity, priority: int, tag: str
) -> None:
    said = payload(failure(severity=severity), tags="db, nas")
    assert (said["priority"], said["tags"]) == (priority, [tag, "db", "nas"])


def test_priorities_can_be_chosen() -> None:
    chosen = {"priority": 1, "failure_priority": 5}
    assert payload(success(), **chosen)["priority"] == 1
    assert payload(failure(), **chosen)["priority"] == 5


def test_a_tap_opens_the_run_unless_that_is_off() -> None:
    said = payload(failure())
    assert said["click"] == failure().link
    assert said["actions"] == [
        {"action": "view", "label": failure().link_label, "url": failure().link}
    ]
    assert payload(failure(), click=False).keys().isdisjoint({"click", "actions"})


def test_a_copy_replaces_what_the_phone_shows(server: service.Ntfy) -> None:
    send(server)
    send(server)
    assert server.copies == {EVENT_ID: 2}
    assert list(server.shown) == [(TOPIC, EVENT_ID)]


@pytest.mark.parametrize(
    "login",
    [
        {"access_token": service.TOKEN},
        {"username": "dbackup", "password": "correct-password"},
    ],
)
def test_a_protected_topic_takes_token_or_password(login: dict[str, str]) -> None:
    with service.Ntfy(protected=True) as server:
        send(server, **login)
        assert len(server.messages) == 1


@pytest.mark.parametrize(
    ("login", "code", "advice"),
    [
        ({}, "403 / 40301", "right to write"),
        ({"access_token": "tk_" + "x" * 29}, "401 / 40101", "Account → Access tokens"),
    ],
)
def test_a_missing_right_breaks_the_channel(login: dict[str, str], code: str, advice: str) -> None:
    with service.Ntfy(protected=True) as server, pytest.raises(PermanentError) as caught:
        send(server, **login)
    assert caught.value.status == code
    assert caught.value.breaks_channel
    assert advice in caught.value.advice


def test_a_burst_that_is_used_up_is_waited_for(server: service.Ntfy) -> None:
    server.burst = 0
    with pytest.raises(TransientError, match="too many requests") as caught:
        send(server)
    assert caught.value.retry_after == timedelta(seconds=5)


def test_a_day_that_is_used_up_is_waited_for_until_midnight(server: service.Ntfy) -> None:
    server.daily = 0
    with (
        time_machine.travel(datetime(2026, 3, 1, 20, 0, tzinfo=UTC), tick=False),
        pytest.raises(TransientError) as caught,
    ):
        send(server)
    assert caught.value.status == "429 / 42908"
    assert caught.value.retry_after == timedelta(hours=4, minutes=1)
    assert "fallback" in caught.value.advice


def test_midnight_is_that_of_utc() -> None:
    east = datetime.fromisoformat("2026-03-01T01:30:00+09:00")  # still February there
    assert next_day(east) == timedelta(hours=7, minutes=31)


@pytest.mark.parametrize("code", [42909, 40009, 40010, 40401])
def test_errors_about_the_channel_break_it(server: service.Ntfy, code: int) -> None:
    reply = service.error(code)
    server.once(reply.status, reply.body)
    with pytest.raises(PermanentError) as caught:
        send(server)
    assert caught.value.breaks_channel
    assert caught.value.advice


@pytest.mark.parametrize("code", [40007, 40014, 40017, 40018, 41303])
def test_errors_about_a_message_fail_it_alone(server: service.Ntfy, code: int) -> None:
    reply = service.error(code)
    server.once(reply.status, reply.body)
    with pytest.raises(PermanentError) as caught:
        send(server)
    assert not caught.value.breaks_channel
    assert caught.value.advice


def test_a_push_service_that_is_not_ready_is_tried_again(server: service.Ntfy) -> None:
    reply = service.error(50701)
    server.once(507, reply.body)
    with pytest.raises(TransientError, match="UnifiedPush") as caught:
        send(server)
    assert caught.value.status == "507 / 50701"


def form_of(**typed: str) -> NtfyForm:
    return NtfyForm(MultiDict({"server_url": "https://ntfy.sh", "topic": TOPIC} | typed))


@pytest.mark.parametrize(
    "typed",
    [
        {"topic": f"https://push.example.org/{TOPIC}"},
        {"topic": f"https://push.example.org/{TOPIC}/"},
        {"server_url": f"https://push.example.org/{TOPIC}", "topic": ""},
    ],
)
def test_an_address_with_its_topic_is_taken_apart(typed: dict[str, str]) -> None:
    form = form_of(**typed)
    assert form.validate(), form.errors
    config = form.merged({})
    assert (config["server_url"], config["topic"]) == ("https://push.example.org", TOPIC)


def test_a_path_of_the_server_is_no_topic_when_there_is_one() -> None:
    config = form_of(server_url="https://home.example.org/ntfy").merged({})
    assert (config["server_url"], config["topic"]) == ("https://home.example.org/ntfy", TOPIC)
    stored = {"server_url": "https://ntfy.sh", "topic": TOPIC}
    entered = MultiDict({"server_url": "https://home.example.org/ntfy", "topic": ""})
    kept = NtfyForm(entered, stored=stored).merged(stored)
    assert (kept["server_url"], kept["topic"]) == ("https://home.example.org/ntfy", TOPIC)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ({"topic": "with blank"}, "letters, digits"),
        ({"topic": "x" * 65}, "1 to 64"),
        ({"topic": "settings"}, "for itself"),
        ({"topic": ""}, "Enter the topic"),
        ({"access_token": "secret-token"}, "tk_"),
        ({"username": "me"}, "Enter the password"),
        ({"username": "me", "password": "p", "access_token": service.TOKEN}, "not both"),
        ({"username": "a:b", "password": "p"}, "no colon"),
        ({"priority": "0"}, "from 1 to 5"),
        ({"tags": "a,b,c,d,e,f"}, "at most 5"),
        ({"tags": "<b>"}, "letters, digits"),
        ({"server_url": "https://ntfy.sh?x=1"}, "from ? or #"),
    ],
)
def test_mistakes_are_told_in_words(typed: dict[str, str], words: str) -> None:
    form = form_of(**typed)
    assert not form.validate()
    assert words in str(form.errors)


def test_a_topic_that_nobody_guesses_is_suggested() -> None:
    first, second = suggested_topic(), suggested_topic()
    assert first != second
    assert len(first) == 28
    assert "such as dbackup-" in str(NtfyForm().topic.description)
    assert form_of(topic=first).validate()


def test_topic_and_login_are_secret() -> None:
    channel = ntfy(username="dbackup", password="correct-password")
    [header] = channel.render(failure()).headers.values()
    assert TOPIC in channel.secrets
    assert header.removeprefix("Basic ") in channel.secrets
    assert TOPIC not in Ntfy.summarize(channel.config)
    assert ntfy(topic="backup").secrets == ()  # a word that everybody guesses would be masked


def test_messages_are_counted_per_host() -> None:
    [(target, rate)] = ntfy().buckets
    assert (target, rate.seconds, rate.burst) == ("ntfy:ntfy.sh", 5.0, 20)
    assert ntfy(topic="other-topic").buckets == ntfy().buckets
    assert ntfy("http://10.0.0.5").buckets == ()
