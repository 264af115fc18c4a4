"""Slack: blocks within their limits, nobody pinged by foreign text, and what Slack's words mean."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from slack_sdk.models.blocks import Block
from werkzeug.datastructures import MultiDict

from tests.notify.samples import HOSTILE, LONG_ERROR, failure, hostile, success
from tests.servers.slack import HOST, PATH, pings, problem_of
from tests.servers.slack import Slack as Service
from webapp.core.errors import PermanentError, TransientError
from webapp.notify.channels.base import Receipt
from webapp.notify.channels.slack import Slack
from webapp.notify.message import Field, Message, Severity
from webapp.notify.outbound import Outbound

TOKEN = "S" * 24
URL = f"https://{HOST}{PATH}{TOKEN}"


def slack(**changes: Any) -> Slack:
    return Slack({"webhook_url": URL} | changes)


def payload(message: Message, **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(slack(**changes).render(message).body)
    return found


def blocks(message: Message) -> dict[str, Any]:
    return {block["block_id"]: block for block in payload(message)["attachments"][0]["blocks"]}


@pytest.fixture
def service(make_peer: Callable[..., Any]) -> Service:
    found: Service = make_peer(HOST, Service)
    return found


@pytest.fixture
def way_out(ca_file: Path) -> Outbound:
    return Outbound(allow_private_networks="all", ca_file=ca_file)


def send(way_out: Outbound, message: Message | None = None, **changes: Any) -> Receipt:
    channel = slack(**changes)
    return channel.send(channel.render(message or failure()), way_out, {})


def test_the_message_is_taken(service: Service, way_out: Outbound) -> None:
    receipt = send(way_out)
    assert (receipt.status, receipt.words, receipt.excerpt) == ("200", "Slack answered 200.", "ok")
    assert service.last.path == PATH + TOKEN
    assert service.last.headers["content-type"] == "application/json; charset=utf-8"
    assert len(service.messages) == 1


@pytest.mark.parametrize(
    ("severity", "colour"),
    [
        (Severity.INFO, "#3498db"),
        (Severity.SUCCESS, "#2ecc71"),
        (Severity.WARNING, "#f1c40f"),
        (Severity.FAILURE, "#e74c3c"),
        (Severity.CRITICAL, "#992d22"),
    ],
)
def test_the_colour_says_how_bad_it_is(severity: Severity, colour: str) -> None:
    assert payload(failure(severity=severity))["attachments"][0]["color"] == colour


@pytest.mark.parametrize("value", [*HOSTILE, LONG_ERROR])
def test_slacks_own_models_find_nothing_wrong(value: str) -> None:
    said = payload(hostile(value))
    for block in said["attachments"][0]["blocks"]:
        Block.parse(block).validate_json()
    assert problem_of(said) == ""
    assert pings(said) == []


def test_a_job_named_channel_pings_nobody() -> None:
    said = payload(failure(title="Backup failed: <!channel>", error="<@U0AAAAAAA> & <b>"))
    assert pings(said) == []
    assert said["text"] == "Backup failed: &lt;!channel&gt;"


def test_a_title_of_200_characters_fits_its_header() -> None:
    title = blocks(failure(title="x" * 200))["title"]["text"]["text"]
    assert len(title) <= 150
    assert title.endswith("… (cut, 200 characters)")


def test_the_error_gives_way_first_and_says_so() -> None:
    facts = tuple(Field(f"Fact {number}", "v" * 900) for number in range(10))
    found = blocks(failure(fields=facts, text="t" * 500, error="begin" + "e" * 5000 + "the end"))
    assert found["text"]["text"]["text"] == "t" * 500
    error = found["error"]["text"]["text"]
    assert "cut, 5012 characters" in error
    assert error.startswith("*Error*\n```\nbegin")
    assert error.endswith("the end\n```")


def test_facts_that_find_no_room_are_counted() -> None:
    facts = tuple(Field(f"Fact {number}", "v" * 900) for number in range(40))
    section = list(blocks(failure(fields=facts)).values())
    said = json.dumps(section)
    assert "facts left out, see DBackup" in said


def test_only_those_whom_an_admin_entered_are_pinged_and_only_on_failure() -> None:
    mentions = ["here", "channel", "U0AAAAAAA", "S0AAAAAAA"]
    assert pings(payload(failure(), mentions=mentions)) == [
        "!here", "!channel", "@U0AAAAAAA", "!subteam^S0AAAAAAA",
    ]  # fmt: skip
    assert pings(payload(success(), mentions=mentions)) == []


@pytest.mark.parametrize("value", ["*b*", "_i_", "~s~", "`c`", "> quote", ":tada:", "__init__"])
def test_formatting_of_foreign_text_is_shown_and_not_obeyed(value: str) -> None:
    said = blocks(failure(text=value))["text"]["text"]["text"]
    assert "\u034f" in said
    shown = Slack.preview(slack().render(failure(text=value)).body.decode(), "").data
    assert shown["text"] == value


def test_names_with_underscores_stay_as_they_are() -> None:
    assert blocks(failure(text="app_db at 02:15:04"))["text"]["text"]["text"] == (
        "app_db at 02:15:04"
    )


def test_a_code_block_cannot_be_closed_from_inside() -> None:
    assert blocks(failure(error="a ```b``` c"))["error"]["text"]["text"].count("```") == 2


def test_the_time_is_shown_in_the_readers_zone() -> None:
    footer = blocks(failure())["footer"]["elements"][0]["text"]
    assert footer.startswith("<!date^1772331304^{date_short_pretty} {time_secs}|2026-03-01 02:15")


def test_a_link_that_slack_refuses_is_said_in_the_text() -> None:
    found = blocks(failure(link="http://localhost:8000/runs/1"))
    assert "open" not in found
    assert "localhost:8000/runs/1" in found["text"]["text"]["text"]


def test_a_refused_card_goes_once_more_as_plain_blocks(service: Service, way_out: Outbound) -> None:
    service.takes_cards = False
    send(way_out, mentions=["here"])
    first, second = service.requests
    assert "attachments" in first.json()
    assert "attachments" not in second.json()
    (taken,) = service.messages
    assert taken["blocks"][0]["text"]["text"] == "<!here>"
    assert taken["blocks"][1]["text"]["text"] == "Backup failed: nightly-orders"


@pytest.mark.parametrize("takes_cards", [True, False])
def test_refused_blocks_go_once_more_as_text(
    service: Service, way_out: Outbound, takes_cards: bool
) -> None:
    service.takes_cards, service.takes_blocks = takes_cards, False
    send(way_out)
    (taken,) = service.messages
    assert set(taken) == {"text", "unfurl_links", "unfurl_media"}
    assert "pg_dump ended with exit code 1." in taken["text"]
    assert "<https://backup.example.org/runs/4711>" in taken["text"]


def test_what_is_refused_in_every_form_is_given_up(service: Service, way_out: Outbound) -> None:
    service.answer(400, "invalid_attachments")
    with pytest.raises(PermanentError, match="400 / invalid_attachments") as caught:
        send(way_out)
    assert len(service.requests) == 3
    assert not caught.value.breaks_channel


@pytest.mark.parametrize(
    ("status", "word", "breaks", "advice"),
    [
        (403, "invalid_token", True, "Copy the webhook URL"),
        (403, "action_prohibited", True, "Ask an administrator"),
        (404, "no_service", True, "Add a new webhook"),
        (404, "channel_not_found", True, "another channel"),
        (404, "no_team", True, "another workspace"),
        (410, "channel_is_archived", True, "Unarchive"),
        (400, "user_not_found", False, "Mention on failure"),
        (400, "no_text", False, "fault of DBackup"),
        (404, "<html>gone</html>", True, "Add a new webhook"),
    ],
)
def test_refusals_for_good(
    service: Service, way_out: Outbound, status: int, word: str, breaks: bool, advice: str
) -> None:
    service.answer(status, word)
    with pytest.raises(PermanentError) as caught:
        send(way_out)
    assert caught.value.breaks_channel is breaks
    assert advice in caught.value.advice
    assert str(status) in str(caught.value)


def test_a_wrong_token_is_a_refusal(service: Service, way_out: Outbound) -> None:
    with pytest.raises(PermanentError, match="403 / invalid_token"):
        send(way_out, webhook_url=URL[:-1] + "X")


def test_200_without_ok_is_not_delivered(service: Service, way_out: Outbound) -> None:
    service.answer(200, "<html>Sign in to the guest network</html>")
    with pytest.raises(TransientError, match="not “ok”") as caught:
        send(way_out)
    assert "proxy" in caught.value.advice


def test_a_rate_limit_says_when_to_come_back(service: Service, way_out: Outbound) -> None:
    service.answer(429, "rate_limited", retry_after=17)
    with pytest.raises(TransientError) as caught:
        send(way_out)
    assert caught.value.retry_after == timedelta(seconds=17)


@pytest.mark.parametrize(("status", "word"), [(500, "rollup_error"), (503, "x"), (502, "<html>")])
def test_trouble_of_slack_passes(
    service: Service, way_out: Outbound, status: int, word: str
) -> None:
    service.answer(status, word)
    with pytest.raises(TransientError):
        send(way_out)


def test_the_url_is_in_no_error(service: Service, way_out: Outbound) -> None:
    service.answer(404, f"no hook at {URL}")
    with pytest.raises(PermanentError) as caught:
        send(way_out)
    assert TOKEN not in str(caught.value) + caught.value.excerpt + repr(caught.value)


def test_the_preview_is_read_from_the_very_bytes() -> None:
    rendered = slack(mentions=["here"]).render(failure())
    shown = Slack.preview(rendered.body.decode(), rendered.content_type).data
    assert shown["mentions"] == ["@here"]
    assert shown["title"] == "Backup failed: nightly-orders"
    assert shown["severity"] == "failure"
    assert {"name": "Job", "value": "nightly-orders", "short": True} in shown["fields"]
    assert shown["error"].endswith("exit code 1.")
    assert shown["footer"].startswith("2026-03-01 02:15:04 UTC · DBackup")
    assert shown["button"] == "Open run"


def test_late_messages_say_so() -> None:
    late = replace(failure(), late_by=timedelta(hours=2))
    assert "Delayed by 2 h" in blocks(late)["text"]["text"]["text"]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "Enter the webhook URL"),
        ("nonsense", "https://hooks.slack.com/services/"),
        (URL.replace("https", "http"), "https://hooks.slack.com/services/"),
        (URL.replace(HOST, "hooks.slack.com.evil.example"), "https://hooks.slack.com/services/"),
        (f"https://{HOST}/workflows/T0AAAAAAA/A0/1/abc", "starts a workflow"),
        (f"https://{HOST}/triggers/T0AAAAAAA/1/abc", "starts a workflow"),
    ],
)
def test_what_is_no_webhook_is_refused_when_it_is_entered(url: str, words: str) -> None:
    form = Slack.form(MultiDict({"webhook_url": url}))
    assert not form.validate()
    assert words in form.errors["webhook_url"][0]
    assert TOKEN not in str(form.errors)


def test_the_government_cloud_is_known() -> None:
    url = URL.replace(HOST, "hooks.slack-gov.com")
    assert Slack.form(MultiDict({"webhook_url": url})).validate()


def test_mentions_are_taken_as_people_write_them() -> None:
    typed = "@here, <!channel> <@U0AAAAAAA> <!subteam^S0AAAAAAA> u0aaaaaab"
    form = Slack.form(MultiDict({"webhook_url": URL, "mentions": typed}))
    assert form.validate(), form.errors
    assert form.config()["mentions"] == ["here", "channel", "U0AAAAAAA", "S0AAAAAAA", "U0AAAAAAB"]


TOO_MANY = " ".join(f"U0AAAAA{number:02}" for number in range(21))


@pytest.mark.parametrize("typed", ["@mara", "everyone", "#ops", TOO_MANY])
def test_mentions_of_nobody_are_refused(typed: str) -> None:
    form = Slack.form(MultiDict({"webhook_url": URL, "mentions": typed}))
    assert not form.validate()
    assert set(form.errors) == {"mentions"}


def test_the_summary_shows_the_beginning_of_the_id_only() -> None:
    assert Slack.summarize({"webhook_url": URL}) == "webhook …/B0BB…"
    assert Slack.summarize({"webhook_url": "env:HOOK"}) == "env:HOOK"
