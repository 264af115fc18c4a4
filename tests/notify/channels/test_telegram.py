"""Telegram: HTML that is always balanced, 4,096 units, groups that move, and three limits."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from werkzeug.datastructures import MultiDict

from tests.notify.samples import HOSTILE, LONG_ERROR, failure, hostile, success
from tests.servers.http import Peer
from tests.servers.telegram import (
    BOT,
    CHAT,
    HOST,
    Reader,
    moved,
    pings,
    problem_of,
    refused,
    too_many,
)
from tests.servers.telegram import (
    Telegram as Service,
)
from webapp.core.errors import PermanentError, TransientError
from webapp.notify.channels.base import Receipt
from webapp.notify.channels.telegram import PER_BOT, PER_CHAT, PER_GROUP, Telegram
from webapp.notify.message import Field, Message, Severity
from webapp.notify.outbound import Outbound

SECRET = "t" * 35
TOKEN = f"{BOT}:{SECRET}"


def telegram(**changes: Any) -> Telegram:
    return Telegram({"bot_token": TOKEN, "chat_id": str(CHAT)} | changes)


def payload(message: Message, **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(telegram(**changes).render(message).body)
    return found


def visible(message: Message) -> str:
    return Reader(payload(message)["text"], is_html=True).visible


@pytest.fixture
def service(make_peer: Callable[..., Any]) -> Service:
    found: Service = make_peer(HOST, Service)
    return found


@pytest.fixture
def way_out(ca_file: Path) -> Outbound:
    return Outbound(allow_private_networks="all", ca_file=ca_file)


def send(
    way_out: Outbound,
    message: Message | None = None,
    progress: dict[str, Any] | None = None,
    **changes: Any,
) -> Receipt:
    channel = telegram(**changes)
    kept = {} if progress is None else progress
    return channel.send(channel.render(message or failure()), way_out, kept)


def answer(service: Peer, reply: Any) -> None:
    service.answer(reply.status, reply.body, headers=dict(reply.headers))


def once(service: Peer, reply: Any) -> None:
    service.once(reply.status, reply.body, headers=dict(reply.headers))


def test_the_message_is_taken(service: Service, way_out: Outbound) -> None:
    receipt = send(way_out)
    assert (receipt.status, receipt.words) == ("200", "Telegram answered 200.")
    assert receipt.config_changes == {}
    (taken,) = service.messages
    assert taken["chat_id"] == CHAT
    assert taken["link_preview_options"] == {"is_disabled": True}
    assert taken["text"].startswith("<b>Backup failed: nightly-orders</b>\norders (PostgreSQL 16)")
    assert taken["reply_markup"]["inline_keyboard"] == [
        [{"text": "Open run", "url": "https://backup.example.org/runs/4711"}]
    ]


def test_names_with_underscores_are_sent_as_they_are(service: Service, way_out: Outbound) -> None:
    send(way_out, failure(error='relation "app_db" *does* not [exist]'))
    assert 'relation "app_db" *does* not [exist]' in service.messages[0]["text"]


@pytest.mark.parametrize("value", [*HOSTILE, LONG_ERROR, "&" * 20_000, "<" * 20_000])
def test_every_message_is_valid_html_within_the_limit(value: str) -> None:
    said = payload(hostile(value))
    assert problem_of(said) == ""
    assert pings(said) == []


def test_nobody_is_mentioned_by_foreign_text() -> None:
    said = payload(failure(title="@mara", text="cc @ops_team", fields=(Field("@a_b", "@c_d"),)))
    assert pings(said) == []


def test_mail_addresses_stay_as_they_are() -> None:
    assert "mara@example.org" in visible(failure(text="mara@example.org"))


def test_the_error_gives_way_first_and_says_so() -> None:
    facts = tuple(Field(f"Fact {number}", "v" * 100) for number in range(12))
    found = visible(failure(fields=facts, text="t" * 500, error="begin" + "e" * 9000 + "the end"))
    assert "t" * 500 in found
    assert "Fact 11" in found
    assert "cut, 9012 characters" in found
    assert "the end" in found


def test_facts_that_find_no_room_are_counted() -> None:
    facts = tuple(Field(f"Fact {number}", "v" * 700) for number in range(40))
    assert "facts left out, see DBackup" in visible(failure(fields=facts))


@pytest.mark.parametrize(
    ("severity", "sound", "silent"),
    [
        (Severity.INFO, "auto", True),
        (Severity.SUCCESS, "auto", True),
        (Severity.WARNING, "auto", False),
        (Severity.FAILURE, "auto", False),
        (Severity.CRITICAL, "auto", False),
        (Severity.SUCCESS, "always", False),
        (Severity.CRITICAL, "never", True),
    ],
)
def test_sound_follows_the_severity_unless_chosen(
    severity: Severity, sound: str, silent: bool
) -> None:
    assert payload(failure(severity=severity), sound=sound)["disable_notification"] is silent


def test_options_reach_telegram() -> None:
    said = payload(success(), topic_id="7", protect=True, chat_id="@ops_channel")
    assert (said["message_thread_id"], said["protect_content"]) == (7, True)
    assert said["chat_id"] == "@ops_channel"


def test_a_link_that_telegram_refuses_is_said_in_the_text() -> None:
    message = failure(link="http://localhost:8000/runs/1")
    assert "reply_markup" not in payload(message)
    assert "localhost:8000/runs/1" in visible(message)


def test_refused_formatting_goes_once_more_as_plain_text(
    service: Service, way_out: Outbound
) -> None:
    once(service, refused(400, "Bad Request: can't parse entities: unsupported start tag"))
    send(way_out, failure(error="<b> & @mara"))
    (taken,) = service.messages
    assert "parse_mode" not in taken
    assert taken["text"].startswith("Backup failed: nightly-orders\n")
    assert "<b> & @\u2060mara" in taken["text"]
    assert taken["text"].endswith("Open run: https://backup.example.org/runs/4711")
    assert pings(taken) == []


def test_a_message_that_is_too_long_is_shortened_once(service: Service, way_out: Outbound) -> None:
    answer(service, refused(400, "Bad Request: message is too long"))
    with pytest.raises(PermanentError, match="message is too long") as caught:
        send(way_out, failure(error="e" * 9000))
    first, second = service.requests
    assert len(second.json()["text"]) <= 2000 < len(first.json()["text"])
    assert not caught.value.breaks_channel


def test_a_refused_button_becomes_a_line(service: Service, way_out: Outbound) -> None:
    once(service, refused(400, "Bad Request: BUTTON_URL_INVALID"))
    send(way_out)
    assert "reply_markup" not in service.messages[0]
    assert "https://backup.example.org/runs/4711" in service.messages[0]["text"]


def test_a_group_that_moved_is_followed_and_remembered(service: Service, way_out: Outbound) -> None:
    service.moved_from = -42
    receipt = send(way_out, chat_id="-42")
    assert receipt.config_changes == {"chat_id": str(CHAT)}
    assert [message["chat_id"] for message in service.messages] == [CHAT]


def test_a_move_is_remembered_between_attempts(service: Service, way_out: Outbound) -> None:
    progress: dict[str, Any] = {}
    once(service, moved(CHAT))
    once(service, too_many(3))
    with pytest.raises(TransientError):
        send(way_out, progress=progress, chat_id="-42")
    receipt = send(way_out, progress=progress, chat_id="-42")
    assert receipt.config_changes == {"chat_id": str(CHAT)}
    assert len(service.requests) == 3


def test_a_group_that_moves_in_circles_is_given_up(service: Service, way_out: Outbound) -> None:
    answer(service, moved(CHAT))
    with pytest.raises(PermanentError, match="upgraded to a supergroup") as caught:
        send(way_out, chat_id="-42")
    assert len(service.requests) == 2
    assert caught.value.breaks_channel


def test_a_rate_limit_says_when_to_come_back(service: Service, way_out: Outbound) -> None:
    answer(service, too_many(17))
    with pytest.raises(TransientError, match="Too Many Requests: retry after 17") as caught:
        send(way_out)
    assert caught.value.retry_after == timedelta(seconds=17)


def test_a_limit_of_the_edge_without_a_number_waits_a_minute(
    service: Service, way_out: Outbound
) -> None:
    service.answer(429, "<html>")
    with pytest.raises(TransientError) as caught:
        send(way_out)
    assert caught.value.retry_after == timedelta(seconds=60)


@pytest.mark.parametrize(
    ("status", "description", "breaks", "advice"),
    [
        (401, "Unauthorized", True, "Ask @BotFather"),
        (404, "Not Found", True, "Enter the token again"),
        (400, "Bad Request: chat not found", True, "Press Start"),
        (400, "Bad Request: message thread not found", True, "another topic ID"),
        (400, "Bad Request: something new", False, "fault of DBackup"),
        (403, "Forbidden: bot was blocked by the user", True, "press Start"),
        (403, "Forbidden: user is deactivated", True, "press Start"),
        (403, "Forbidden: bot was kicked from the supergroup chat", True, "Add the bot"),
        (403, "Forbidden: bot is not a member of the channel chat", True, "Add the bot"),
        (403, "Forbidden: the group chat was deleted", True, "Add the bot"),
        (400, "Bad Request: need administrator rights in the channel chat", True, "administrator"),
        (403, "Forbidden: something new", True, "right to post"),
    ],
)
def test_refusals_for_good(
    service: Service, way_out: Outbound, status: int, description: str, breaks: bool, advice: str
) -> None:
    answer(service, refused(status, description))
    with pytest.raises(PermanentError) as caught:
        send(way_out)
    assert caught.value.breaks_channel is breaks
    assert advice in caught.value.advice
    assert str(status) in str(caught.value)


def test_a_wrong_token_and_a_wrong_chat_are_told_apart(service: Service, way_out: Outbound) -> None:
    with pytest.raises(PermanentError, match="401"):
        send(way_out, bot_token=TOKEN[:-1] + "x")
    with pytest.raises(PermanentError, match="400 / chat not found"):
        send(way_out, chat_id="-5")


@pytest.mark.parametrize("status", [421, 500, 502, 503])
def test_trouble_of_telegram_passes(service: Service, way_out: Outbound, status: int) -> None:
    service.answer(status, "<html>edge</html>")
    with pytest.raises(TransientError):
        send(way_out)


def test_a_server_that_is_no_bot_api_is_told(service: Service, way_out: Outbound) -> None:
    service.answer(200, "<html>It works!</html>")
    with pytest.raises(PermanentError, match="not “ok”") as caught:
        send(way_out)
    assert "Bot API server" in caught.value.advice


def test_a_bot_api_server_of_ones_own_is_called(peer: Peer) -> None:
    peer.answer(200, {"ok": True, "result": {"message_id": 1}})
    own = Outbound(allow_private_networks="self-hosted", ca_file=None)
    send(own, api_url=f"{peer.url}/bots/")
    assert peer.last.path == f"/bots/bot{TOKEN}/sendMessage"


def test_the_token_is_in_no_error(service: Service, way_out: Outbound) -> None:
    service.answer(404, f"no bot at /bot{TOKEN}/sendMessage")
    with pytest.raises(PermanentError) as caught:
        send(way_out)
    assert SECRET not in str(caught.value) + caught.value.excerpt + repr(caught.value)


def test_chat_group_and_bot_have_buckets_of_their_own() -> None:
    group = dict(telegram().buckets)
    assert list(group.values()) == [PER_CHAT, PER_GROUP, PER_BOT]
    person = dict(telegram(chat_id="42").buckets)
    assert list(person.values()) == [PER_CHAT, PER_BOT]
    assert set(group) & set(person) == {f"telegram:{BOT}"}


def test_a_pasted_bot_prefix_is_dropped() -> None:
    form = Telegram.form(MultiDict(entered(bot_token=f"bot{TOKEN}")))
    assert form.validate(), form.errors
    assert form.config()["bot_token"] == TOKEN


def entered(**changes: str) -> dict[str, str]:
    form = {"bot_token": TOKEN, "chat_id": "-1001", "sound": "auto"}
    return form | {"api_url": "https://api.telegram.org"} | changes


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("bot_token", "", "Enter the bot token"),
        ("bot_token", "AAE-abc", "@BotFather"),
        ("bot_token", "0123456:" + "a" * 35, "@BotFather"),
        ("chat_id", "", "Enter the chat ID"),
        ("chat_id", "mara", "@name of a public"),
        ("chat_id", "@ab", "@name of a public"),
        ("topic_id", "general", "number of the topic"),
        ("api_url", "http://api.telegram.org", "https://api.telegram.org"),
        ("api_url", "https://bots.example.org/?a=b", "behind the path"),
        ("sound", "loud", "valid choice"),
    ],
)
def test_the_form_says_what_is_wrong(field: str, value: str, words: str) -> None:
    form = Telegram.form(MultiDict(entered(**{field: value})))
    assert not form.validate()
    assert words in form.errors[field][0]


def test_the_preview_is_read_from_the_very_bytes() -> None:
    rendered = telegram().render(failure(text="<b> & @mara"))
    shown = Telegram.preview(rendered.body.decode(), rendered.content_type).data
    assert shown["parts"][0] == {"tag": "b", "text": "Backup failed: nightly-orders"}
    assert "<b> & @mara" in shown["parts"][1]["text"]
    assert {"tag": "pre", "text": failure().error} in shown["parts"]
    assert shown["button"] == "Open run"
    assert not shown["is_silent"]


def test_the_summary_shows_chat_and_topic() -> None:
    assert Telegram.summarize({"chat_id": "-42", "topic_id": "7"}) == "chat -42 · topic 7"
    assert Telegram.summarize({"chat_id": "@ops", "topic_id": ""}) == "chat @ops"
