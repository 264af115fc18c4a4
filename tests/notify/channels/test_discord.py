"""Discord: the embed within its limits, the address, and what Discord's codes mean."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from werkzeug.datastructures import MultiDict

from tests.notify.samples import HOSTILE, LONG_ERROR, failure, hostile, success
from tests.servers.http import Peer
from webapp.core.errors import PermanentError, TransientError
from webapp.notify.channels.base import Rendered
from webapp.notify.channels.discord import Discord
from webapp.notify.message import Field, Message
from webapp.notify.outbound import Outbound
from webapp.notify.shorten import utf16

ID = "117400000000000001"
TOKEN = "tokTOK-_" * 8 + "abcd"
URL = f"https://discord.com/api/webhooks/{ID}/{TOKEN}"


def discord(**changes: Any) -> Discord:
    return Discord({"webhook_url": URL, "sender_name": "DBackup"} | changes)


def payload(message: Message, **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_json(discord(**changes).render(message)))
    return found


def _json(rendered: Rendered) -> str:
    body = rendered.body.decode()
    return body if rendered.content_type == "application/json" else body.split("\r\n")[4]


@pytest.fixture
def service(make_peer: Callable[[str], Peer]) -> Peer:
    peer = make_peer("discord.com")
    peer.answer(200, {"id": "1", "channel_id": "2"})
    return peer


@pytest.fixture
def way_out(ca_file: Path) -> Outbound:
    return Outbound(allow_private_networks="all", ca_file=ca_file)


def send(way_out: Outbound, channel: Discord | None = None, message: Message | None = None) -> Any:
    channel = channel or discord()
    return channel.send(channel.render(message or failure()), way_out, {})


def test_the_message_is_posted_to_the_versioned_address(service: Peer, way_out: Outbound) -> None:
    receipt = send(way_out)
    assert service.last.method == "POST"
    assert service.last.path == f"/api/v10/webhooks/{ID}/{TOKEN}?wait=true"
    assert service.last.headers["content-type"] == "application/json"
    assert service.last.headers["user-agent"].startswith("DiscordBot (https://backup.example.org,")
    assert (receipt.status, receipt.words) == ("200", "Discord answered 200.")


@pytest.mark.parametrize(
    "url",
    [
        URL,
        URL + "/",
        URL.replace("/api/", "/api/v8/"),
        URL.replace("discord.com", "ptb.discord.com"),
        URL.replace("discord.com", "discordapp.com"),
    ],
)
def test_every_form_of_the_address_leads_to_the_same_place(url: str) -> None:
    assert discord(webhook_url=url).render(success()).url == discord().render(success()).url


def test_a_thread_is_taken_from_the_address_or_the_form() -> None:
    assert "thread_id=42" in discord(webhook_url=f"{URL}?thread_id=42").render(success()).url
    assert "thread_id=43" in discord(thread_id="43").render(success()).url


def test_only_ids_that_an_admin_entered_are_pinged_and_only_on_failure() -> None:
    roles, users = ["123456789012345678"], ["223456789012345678"]
    said = payload(failure(), mention_roles=roles, mention_users=users)
    assert said["content"] == "<@&123456789012345678> <@223456789012345678>"
    assert said["allowed_mentions"] == {"parse": [], "roles": roles, "users": users}
    calm = payload(success(), mention_roles=roles)
    assert "content" not in calm
    assert calm["allowed_mentions"] == {"parse": []}


def test_the_colour_says_how_bad_it_is() -> None:
    assert payload(failure())["embeds"][0]["color"] == 15158332
    assert payload(success())["embeds"][0]["color"] == 3066993


def test_options_reach_discord() -> None:
    said = payload(success(), silent=True, thread_name="Backups", avatar_url="https://e.org/a.png")
    assert (said["flags"], said["thread_name"]) == (4096, "Backups")
    assert said["avatar_url"] == "https://e.org/a.png"


def test_a_link_that_discord_refuses_is_said_in_the_text() -> None:
    embed = payload(success(link="http://localhost:8000/runs/1"))["embeds"][0]
    assert "url" not in embed
    assert "localhost:8000/runs/1" in embed["description"]


@pytest.mark.parametrize("value", HOSTILE)
def test_every_message_is_within_the_limits(value: str) -> None:
    said = payload(hostile(value))
    (embed,) = said["embeds"]
    assert said["allowed_mentions"]["parse"] == []
    assert 1 <= utf16(embed["title"]) <= 256
    assert utf16(embed.get("description", "")) <= 4096
    assert 1 <= len(embed["fields"]) <= 25
    for field in embed["fields"]:
        assert 1 <= utf16(field["name"].strip()) <= 256
        assert 1 <= utf16(field["value"].strip()) <= 1024
    assert utf16(embed["footer"]["text"]) <= 2048
    parts = [embed["title"], embed.get("description", ""), embed["footer"]["text"]]
    parts += [field[key] for field in embed["fields"] for key in ("name", "value")]
    assert sum(map(utf16, parts)) <= 6000


def test_the_error_is_shortened_before_anything_else() -> None:
    many = tuple(Field(f"Fact {number}", "v" * 180) for number in range(24))
    embed = payload(failure(fields=many, text="t" * 500, error="e" * 5000))["embeds"][0]
    assert len(embed["fields"]) == 25
    assert embed["description"] == "t" * 500
    assert embed["fields"][-1]["name"] == "Error"
    assert "cut, 5000 characters" in embed["fields"][-1]["value"]


def test_a_long_error_is_attached_whole(service: Peer, way_out: Outbound) -> None:
    send(way_out, message=failure(error=LONG_ERROR))
    boundary = service.last.headers["content-type"].partition("boundary=")[2]
    parts = service.last.body.decode().split(f"--{boundary}")
    assert 'name="payload_json"' in parts[1]
    assert 'name="files[0]"; filename="error.txt"' in parts[2]
    assert parts[2].partition("\r\n\r\n")[2].removesuffix("\r\n") == LONG_ERROR
    value = json.loads(parts[1].partition("\r\n\r\n")[2])["embeds"][0]["fields"][-1]["value"]
    assert value.startswith("```\nline 0")
    assert value.endswith("\n```")


def test_a_code_block_cannot_be_closed_from_inside() -> None:
    value = payload(failure(error="a ```b``` c"))["embeds"][0]["fields"][-1]["value"]
    assert value.count("```") == 2


def test_markdown_of_foreign_text_is_shown_and_not_obeyed() -> None:
    title = payload(failure(title="*a* [b](http://c) <@1>"))["embeds"][0]["title"]
    assert title == r"\*a\* \[b\]\(http://c\) \<@1\>"


@pytest.mark.parametrize(
    ("status", "body", "breaks", "advice"),
    [
        (404, {"code": 10015, "message": "Unknown Webhook"}, True, "new webhook"),
        (401, {"code": 50027, "message": "Invalid Webhook Token"}, True, "Copy the webhook URL"),
        (403, {"code": 50013, "message": "Missing Permissions"}, True, "permissions"),
        (400, {"code": 220001, "message": "Forum"}, True, "name for new posts"),
        (400, {"code": 50083, "message": "Thread is archived"}, True, "Open the thread"),
        (400, {"code": 50035, "message": "Invalid Form Body"}, False, "sender name"),
        (400, {"code": 200000, "message": "AutoMod"}, False, "AutoMod"),
        (413, {"code": 40005, "message": "Too large"}, False, "full error"),
        (404, "<html>gone</html>", True, "new webhook"),
    ],
)
def test_refusals_for_good(
    service: Peer, way_out: Outbound, status: int, body: Any, breaks: bool, advice: str
) -> None:
    service.answer(status, body)
    with pytest.raises(PermanentError) as caught:
        send(way_out)
    assert caught.value.breaks_channel is breaks
    assert advice in caught.value.advice
    assert str(status) in str(caught.value)
    assert caught.value.excerpt


def test_the_answer_is_told_in_discords_words(service: Peer, way_out: Outbound) -> None:
    service.answer(404, {"code": 10015, "message": "Unknown Webhook"})
    with pytest.raises(PermanentError, match=r"Discord answered 404 / 10015: Unknown Webhook\."):
        send(way_out)


@pytest.mark.parametrize(
    ("body", "headers", "seconds"),
    [
        ({"retry_after": 0.529, "global": False}, {"Retry-After": "1"}, 0.529),
        ({"message": "x"}, {"Retry-After": "17"}, 17),
        ("<html>edge</html>", {}, 60),
    ],
)
def test_a_rate_limit_says_when_to_come_back(
    service: Peer, way_out: Outbound, body: Any, headers: dict[str, str], seconds: float
) -> None:
    service.answer(429, body, headers=headers)
    with pytest.raises(TransientError) as caught:
        send(way_out)
    assert caught.value.retry_after == timedelta(seconds=seconds)


@pytest.mark.parametrize(("status", "code"), [(500, 0), (503, 130000), (400, 40062)])
def test_trouble_of_discord_passes(
    service: Peer, way_out: Outbound, status: int, code: int
) -> None:
    service.answer(status, {"code": code, "message": "trouble"})
    with pytest.raises(TransientError):
        send(way_out)


def test_the_token_is_in_no_error(service: Peer, way_out: Outbound) -> None:
    service.answer(404, f"no webhook {TOKEN} at {URL}")
    with pytest.raises(PermanentError) as caught:
        send(way_out)
    assert TOKEN not in str(caught.value) + caught.value.excerpt
    assert TOKEN not in repr(caught.value)


def test_the_preview_is_read_from_the_very_bytes() -> None:
    rendered = discord(mention_roles=["123456789012345678"]).render(failure(error=LONG_ERROR))
    shown = Discord.preview(rendered.body.decode(), rendered.content_type).data
    assert shown["title"] == "Backup failed: nightly-orders"
    assert shown["mentions"] == ["<@&123456789012345678>"]
    assert shown["severity"] == "failure"
    assert shown["attachment"] == {"name": "error.txt", "size": len(LONG_ERROR.encode())}
    assert shown["fields"][-1]["code"]


def test_late_messages_say_so() -> None:
    late = replace(failure(), late_by=timedelta(hours=2))
    assert "Delayed by 2 h" in payload(late)["embeds"][0]["description"]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        URL.replace("https", "http"),
        URL.replace("discord.com", "discord.com.evil.example"),
        URL + "/slack",
        URL + "/github",
        "https://discord.com/api/webhooks/1/2",
    ],
)
def test_what_is_no_webhook_is_refused_when_it_is_entered(url: str) -> None:
    form = Discord.form(MultiDict({"webhook_url": url}))
    assert not form.validate()
    assert set(form.errors) == {"webhook_url"}
    assert TOKEN not in str(form.errors)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sender_name", "Clyde"),
        ("sender_name", "x" * 81),
        ("mention_roles", "@dba-oncall"),
        ("avatar_url", "http://e.org/a.png"),
        ("thread_id", "abc"),
        ("thread_name", "x" * 101),
    ],
)
def test_the_form_says_what_is_wrong(field: str, value: str) -> None:
    form = Discord.form(MultiDict({"webhook_url": URL, field: value}))
    assert not form.validate()
    assert set(form.errors) == {field}


def test_the_summary_shows_the_beginning_of_the_id_only() -> None:
    assert Discord.summarize({"webhook_url": URL}) == "discord.com/api/webhooks/1174…"
    assert Discord.summarize({"webhook_url": "env:HOOK"}) == "env:HOOK"
