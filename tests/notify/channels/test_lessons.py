"""Faults that were seen to lose or spoil alarms elsewhere, each as a test by its name."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.notify.channels.cases import CASES, Judge, channel_of
from tests.notify.samples import DELIVERY_ID, EVENT_ID, OCCURRED, READER, failure, success
from tests.servers import discord, slack, telegram
from webapp.notify.events import BY_TYPE as EVENTS
from webapp.notify.message import Message, Severity, compose
from webapp.notify.outbound import Outbound

TYPES = [*CASES, "email"]
DUMP_ERROR = "pg_dump: error: " + "query failed: ERROR: permission denied for table x\n" * 97
every_type = pytest.mark.parametrize("kind", TYPES)


@pytest.fixture
def way_out(ca_file: Path) -> Iterator[Outbound]:
    found = Outbound(allow_private_networks="all", ca_file=ca_file)
    yield found
    found.close()


def payload(kind: str, message: Message, **changes: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(channel_of(kind, **changes).render(message).body)
    return found


@every_type
def test_lesson_6_the_longest_errors_are_not_rejected(kind: str) -> None:
    assert len(DUMP_ERROR) > 4_900
    title = "Backup failed: " + "j" * 200
    message = failure(error=DUMP_ERROR, title=title, text=DUMP_ERROR)
    assert Judge(kind).problem(message) == ""


@pytest.mark.parametrize(
    "job", ["Backup – nightly", "夜间备份", "job 🚀", "Täglich", "גיבוי לילי", "a\r\nTitle: b"]
)
def test_lesson_7_ntfy_sends_titles_in_every_script(
    job: str, make_peer: Callable[..., Any], way_out: Outbound
) -> None:
    service = make_peer(CASES["ntfy"].host, CASES["ntfy"].peer)
    channel = channel_of("ntfy")
    message = replace(failure(), title=" ".join(f"Backup failed: {job}".split()))
    channel.send(channel.render(message), way_out, {})
    assert service.messages[0]["title"] == message.title
    assert all(value.isascii() for value in service.last.headers.values())


def test_lesson_8_a_template_stays_json_whatever_the_error_holds() -> None:
    error = 'FATAL: role "app" does not exist\n\tline 2 \\ {{title}}'
    template = '{"text": "{{title}}: {{error}}", "ok": {{success}}}'
    said = payload("webhook", failure(error=error), template=template)
    assert said == {"text": f"Backup failed: nightly-orders: {error}", "ok": False}


@pytest.mark.parametrize(("message", "status"), [(failure(), "down"), (success(), "up")])
def test_lesson_9_a_heartbeat_by_get_tells_the_truth(message: Message, status: str) -> None:
    url = "https://kuma.example.org/api/push/abc?status={{status}}&msg={{message}}"
    rendered = channel_of("webhook", method="GET", url=url).render(message)
    query = parse_qs(urlsplit(rendered.url).query)
    assert query["status"] == [status]
    assert "{{" not in rendered.url
    assert query["msg"][0].startswith(message.text[:40])
    assert rendered.body == b""


@pytest.mark.parametrize("name", ["app_db", "a_b*c", "[x](y", "`tick", "<tag>", "a & b"])
def test_lesson_10_telegram_takes_every_name_of_a_database(name: str) -> None:
    message = failure(title=f"Backup failed: {name}", error=f'database "{name}" is gone')
    said = payload("telegram", message)
    assert telegram.problem_of(said) == ""
    assert said["parse_mode"] == "HTML"
    assert f"Backup failed: {name}" in telegram.Reader(said["text"], is_html=True).visible


def test_lesson_16_teams_shows_each_severity_in_its_own_colour() -> None:
    styles = [
        payload("teams", failure(severity=severity))["attachments"][0]["content"]["body"][0]
        for severity in (Severity.INFO, Severity.SUCCESS, Severity.WARNING, Severity.FAILURE)
    ]
    colours = [(style["style"], style["items"][0]["color"]) for style in styles]
    assert colours == [
        ("emphasis", "Default"),
        ("good", "Good"),
        ("warning", "Warning"),
        ("attention", "Attention"),
    ]


@pytest.mark.parametrize(
    ("kind", "pings"),
    [("slack", slack.pings), ("discord", discord.pings), ("telegram", telegram.pings)],
)
@pytest.mark.parametrize("name", ["<!channel>", "@everyone", "<@U0AAAAAAA>", "@mara_l", "<@&1>"])
def test_lesson_17_no_name_of_a_job_pings_anybody(
    kind: str, pings: Callable[[dict[str, Any]], list[str]], name: str
) -> None:
    title = f"Backup failed: {name}"
    said = payload(kind, failure(title=title, text=name, error=name))
    assert pings(said) == []


@pytest.mark.parametrize("kind", ["gotify", "ntfy"])
def test_lesson_17_text_of_others_is_no_markdown(kind: str) -> None:
    said = payload(kind, failure(error="![x](https://e.example/a.png)"))
    assert said.get("markdown") in {None, False}
    extras = said.get("extras", {"client::display": {"contentType": "text/plain"}})
    assert extras["client::display"]["contentType"] == "text/plain"


@pytest.mark.parametrize("kind", [kind for kind in TYPES if kind != "sms"])
def test_lesson_18_every_message_says_where_when_and_who(kind: str) -> None:
    reader = replace(READER, timezone="Europe/Berlin", instance="Backups of Lindqvist AB")
    message = compose(
        EVENTS["backup_failure"].sample().say(reader),
        reader,
        event_id=EVENT_ID,
        delivery_id=DELIVERY_ID,
        event_type="backup_failure",
        occurred_at=OCCURRED,
    )
    rendered = channel_of(kind).render(message)
    text = rendered.body.decode()
    if kind == "email":
        text = text.replace("=\r\n", "").replace("=\n", "")
    assert "https://backup.example.org/runs/4711" in text
    assert "Backups of Lindqvist AB" in text
    # clients of services that take a moment show it in the zone of their own user
    assert "2026-03-01 03:15:04 CET" in text or "2026-03-01T02:15:04" in text


def test_lesson_18_a_text_message_where_each_character_is_paid_has_the_link() -> None:
    body = parse_qs(channel_of("sms").render(failure()).body.decode())["Body"][0]
    assert "https://backup.example.org/runs/4711" in body
    assert "#0000aaaa" in body


@pytest.mark.parametrize(
    ("severity", "gotify", "ntfy"),
    [
        (Severity.INFO, 2, 2),
        (Severity.SUCCESS, 3, 2),
        (Severity.WARNING, 5, 3),
        (Severity.FAILURE, 8, 4),
        (Severity.CRITICAL, 10, 5),
    ],
)
def test_lesson_19_only_the_worst_has_the_highest_priority(
    severity: Severity, gotify: int, ntfy: int
) -> None:
    message = failure(severity=severity)
    assert payload("gotify", message)["priority"] == gotify
    assert payload("ntfy", message)["priority"] == ntfy
