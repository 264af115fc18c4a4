"""Peers that take calls as PagerDuty, Uptime Kuma and Healthchecks do."""

import json
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from tests.servers.http import Peer, Received, Reply

KEY: Final = "0123456789abcdef0123456789abcdef"
PUSH_TOKEN: Final = "Ab12Cd34Ef56Gh78Ij90Kl12Mn34Op56"
CHECK: Final = "6a1b2c3d-0000-4000-8000-00000000c0de"
_ACTIONS: Final = frozenset({"trigger", "acknowledge", "resolve"})
_SEVERITIES: Final = frozenset({"critical", "error", "warning", "info"})
_EVENT: Final = frozenset(
    {"routing_key", "event_action", "dedup_key", "client", "client_url", "links", "images"}
) | {"payload"}
_PAYLOAD: Final = frozenset(
    {"summary", "source", "severity", "timestamp", "component", "group", "class"}
) | {"custom_details"}


class PagerDuty(Peer):
    """The events API. `open` holds the alerts that nobody resolved, by their key."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.open: dict[str, dict[str, Any]] = {}
        self.alerts = 0

    def respond(self, received: Received) -> Reply:
        if (received.method, received.path) != ("POST", "/v2/enqueue"):
            return Reply(status=404)
        event = received.json()
        errors = _errors(event)
        if errors or len(received.body) > 512_000:
            return _invalid(*errors)
        if event["routing_key"] != KEY:
            return _invalid("Invalid routing key")
        key = event["dedup_key"]
        if event["event_action"] == "trigger":
            self.alerts += key not in self.open
            self.open[key] = event
        else:
            self.open.pop(key, None)
        return _json(202, {"status": "success", "message": "Event processed", "dedup_key": key})


def _errors(event: dict[str, Any]) -> list[str]:
    errors = [f"'{name}' is unknown" for name in set(event) - _EVENT]
    if event.get("event_action") not in _ACTIONS:
        errors.append("'event_action' is invalid")
    if not 1 <= len(event.get("dedup_key", "")) <= 255:
        errors.append("Length of 'dedup_key' is incorrect (should be between 1 and 255 characters)")
    if event.get("event_action") == "trigger":
        errors += _errors_of_payload(event.get("payload", {}))
    return errors


def _errors_of_payload(payload: dict[str, Any]) -> list[str]:
    errors = [f"'payload.{name}' is unknown" for name in set(payload) - _PAYLOAD]
    if not 1 <= len(payload.get("summary", "")) <= 1024:
        errors.append("'payload.summary' is missing or too long")
    if payload.get("severity") not in _SEVERITIES:
        errors.append(
            "'payload.severity' is invalid (must be one of info, warning, error, critical)"
        )
    if not payload.get("source"):
        errors.append("'payload.source' is missing or blank")
    return errors


def _invalid(*errors: str) -> Reply:
    body = {"status": "invalid event", "message": "Event object is invalid", "errors": errors}
    return _json(400, body)


class UptimeKuma(Peer):
    """One push monitor."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.beats: list[tuple[str, str]] = []
        """Status and message, as the monitor shows them."""
        self.paused = False

    def respond(self, received: Received) -> Reply:
        parts = urlsplit(received.path)
        if parts.path != f"/api/push/{PUSH_TOKEN}" or self.paused:
            return _json(404, {"ok": False, "msg": "Monitor not found or not active."})
        query = parse_qs(parts.query, keep_blank_values=True, strict_parsing=True)
        status = "up" if query.get("status", ["up"]) == ["up"] else "down"
        self.beats.append((status, query.get("msg", ["OK"])[0]))
        return _json(200, {"ok": True})


class Healthchecks(Peer):
    """One check that takes POST only: it answers 200 to other methods and ignores them."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pings: list[tuple[str, bytes]] = []
        """"success", "fail" or "log", and the body that is stored."""

    def respond(self, received: Received) -> Reply:
        parts = urlsplit(received.path)
        base = f"/ping/{CHECK}"
        if parts.path == "/ping/key/twice":
            return Reply(status=409, body=b"ambiguous slug")
        if not parts.path.startswith(base):
            return Reply(status=404, body=b"not found")
        kind = parts.path.removeprefix(base).removeprefix("/") or "success"
        if kind not in {"success", "fail", "log", "start"}:
            return Reply(status=400, body=b"invalid url format")
        if received.method == "POST":
            self.pings.append((kind, received.body[:10_000]))
        return Reply(body=b"OK", headers={"Ping-Body-Limit": "10000"})


def _json(status: int, body: Any) -> Reply:
    return Reply(
        status=status, body=json.dumps(body).encode(), headers={"Content-Type": "application/json"}
    )
