"""Calls of well-known services that say good and bad news in different ways.

PagerDuty: https://developer.pagerduty.com/docs/events-api-v2/overview/
Uptime Kuma: the push URL of a monitor of type Push
Healthchecks: https://healthchecks.io/docs/http_api/
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from webapp.core import text
from webapp.notify import plain
from webapp.notify.message import Message, Severity
from webapp.notify.shorten import fit, utf8

PAGERDUTY: Final = "pagerduty"
UPTIME_KUMA: Final = "uptime_kuma"
HEALTHCHECKS: Final = "healthchecks"
LABELS: Final = {
    "": "None: method and body as below",
    PAGERDUTY: "PagerDuty (Events API v2)",
    UPTIME_KUMA: "Uptime Kuma (push monitor)",
    HEALTHCHECKS: "Healthchecks (ping)",
}
PAGERDUTY_URL: Final = "https://events.pagerduty.com/v2/enqueue"
SUMMARY: Final = 1024  # characters, as all that follow but BODY and ERROR
DEDUP_KEY: Final = 255
SOURCE: Final = 255
FIELD: Final = 1_000
ERROR: Final = 10_000
KUMA_MESSAGE: Final = 250
PING_BODY: Final = 10_000  # bytes; what a Healthchecks of one's own stores
SEVERITIES: Final = {
    Severity.INFO: "info",
    Severity.SUCCESS: "info",
    Severity.WARNING: "warning",
    Severity.FAILURE: "error",
    Severity.CRITICAL: "critical",
}


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a preset makes of a message."""

    method: str
    url: str
    content_type: str = "application/json"
    body: bytes = b""


def make(preset: str, message: Message, *, url: str, key: str) -> Request:
    """Return the call; `key` is PagerDuty's integration key."""
    return _MAKERS[preset](message, url, key)


def pagerduty(message: Message, url: str, key: str) -> Request:
    """Open an alert, or resolve the one of the same job.

    Both bear the key of the job, so a repetition changes nothing. A test has a key of its own: it
    must not resolve a real alert.
    """
    event: dict[str, Any] = {
        "routing_key": key,
        "event_action": "resolve" if message.severity is Severity.SUCCESS else "trigger",
        "dedup_key": dedup_key(message),
    }
    if event["event_action"] == "trigger":
        event |= {
            "client": _cut(message.instance, SOURCE),
            "client_url": message.link,
            "links": [{"href": message.link, "text": message.link_label}],
            "payload": _payload(message),
        }
    return Request(method="POST", url=url or PAGERDUTY_URL, body=_dump(event))


def dedup_key(message: Message) -> str:
    """Return what the alerts of one job share; an event without a job is an alert of its own."""
    thread = text.one_line(message.thread) or message.event_id
    end = f"/{thread}{'/test' if message.is_test else ''}"[-100:]
    return _cut(message.instance, DEDUP_KEY - len(end)) + end


def _payload(message: Message) -> dict[str, Any]:
    said = " ".join(filter(None, (message.text.strip(), message.late_note)))
    details = {
        _cut(field.name, 100) or "–": _cut(field.value, FIELD) for field in message.fields[:40]
    }
    if message.error:
        details["Error"] = fit(message.error, ERROR, keep_end=True)
    return {
        "summary": _cut(f"{message.title}: {said}" if said else message.title, SUMMARY) or "–",
        "source": urlsplit(message.link).hostname or "DBackup",
        "severity": SEVERITIES[message.severity],
        "timestamp": message.occurred_at.astimezone(UTC).isoformat(timespec="milliseconds"),
        "class": message.event_type,
        "custom_details": details | {"Event": message.event_id},
    }


def uptime_kuma(message: Message, url: str, key: str) -> Request:
    """Say up or down; every status but "up" means down to Uptime Kuma."""
    parts = urlsplit(url)
    ours = {"status", "msg", "ping"}
    kept = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] not in ours]
    said = f"{message.title}: {' '.join(message.text.split())}"
    query = [
        *kept,
        ("status", "up" if message.success else "down"),
        ("msg", _cut(said, KUMA_MESSAGE)),
    ]
    return Request(
        method="GET",
        url=urlunsplit(parts._replace(query=urlencode(query, quote_via=quote), fragment="")),
    )


def healthchecks(message: Message, url: str, key: str) -> Request:
    """Ping: success, /fail, or /log for what says neither (information, a test)."""
    parts = urlsplit(url)
    suffix = "" if message.success else "/fail"
    if message.is_test or message.severity is Severity.INFO:
        suffix = "/log"
    head = fit(message.title or "–", 300, measure=utf8)
    said = plain.body_of(message, PING_BODY - utf8(head) - 2)
    return Request(
        method="POST",
        url=urlunsplit(parts._replace(path=parts.path.rstrip("/") + suffix, fragment="")),
        content_type="text/plain; charset=utf-8",
        body=f"{head}\n\n{said}".encode(),
    )


_MAKERS: Final[Mapping[str, Callable[[Message, str, str], Request]]] = {
    PAGERDUTY: pagerduty,
    UPTIME_KUMA: uptime_kuma,
    HEALTHCHECKS: healthchecks,
}


def _cut(value: str, limit: int) -> str:
    return fit(value, limit)


def _dump(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
