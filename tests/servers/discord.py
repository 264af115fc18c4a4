"""A peer that takes messages as Discord's webhooks do."""

import json
import re
from collections import Counter
from email import message_from_bytes
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from tests.servers.http import Peer, Received, Reply

HOST: Final = "discord.com"
ID: Final = "117400000000000001"
_KEYS: Final = frozenset(
    {"content", "username", "avatar_url", "embeds", "allowed_mentions", "flags", "thread_name"}
)
_EMBED: Final = frozenset({"title", "description", "url", "color", "timestamp", "fields", "footer"})
_PING: Final = re.compile(r"@everyone|@here|<@[!&]?(\d+)>")


class Discord(Peer):
    """The service with one webhook, whose URL ends in `token`."""

    def __init__(self, *args: Any, token: str = "t" * 68, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.token = token
        self.messages: list[dict[str, Any]] = []
        self.files: list[bytes] = []
        self.copies: Counter[bytes] = Counter()
        """How often the same content came."""

    def respond(self, received: Received) -> Reply:
        parts = urlsplit(received.path)
        found = re.fullmatch(r"/api/v10/webhooks/(\d+)/([\w-]+)", parts.path)
        if not found or received.method != "POST" or found[1] != ID:
            return refused(404, 10015, "Unknown Webhook")
        if found[2] != self.token:
            return refused(401, 50027, "Invalid Webhook Token")
        if not received.headers.get("user-agent", "").startswith("DiscordBot ("):
            return Reply(status=403, body=b"<html>error code: 1010</html>")
        if parse_qs(parts.query).get("wait") != ["true"]:
            return Reply(status=204)
        payload, files = parts_of(received.body, received.headers.get("content-type", ""))
        problem = problem_of(payload)
        if problem:
            errors = {problem: {"_errors": [{"code": "BASE_TYPE_BAD_LENGTH", "message": problem}]}}
            return refused(400, 50035, "Invalid Form Body", errors=errors)
        self.messages.append(payload)
        self.files += files
        self.copies[received.body] += 1
        return _json(200, {"id": str(len(self.messages)), "channel_id": "2", "type": 0})


def refused(status: int, code: int, message: str, **more: Any) -> Reply:
    """Return an answer of Discord."""
    return _json(status, {"code": code, "message": message, **more})


def too_many(seconds: float) -> Reply:
    """Return the answer for a webhook that posts too fast."""
    body = {"message": "You are being rate limited.", "retry_after": seconds, "global": False}
    return _json(429, body)


def parts_of(body: bytes, content_type: str) -> tuple[Any, list[bytes]]:
    """Return the message and the attached files."""
    if not content_type.startswith("multipart/"):
        return json.loads(body.decode()), []
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    first, *others = message_from_bytes(head + body).get_payload()
    payload = json.loads(first.get_payload(decode=True).decode())  # type: ignore[union-attr]
    return payload, [other.get_payload(decode=True) for other in others]  # type: ignore[union-attr,misc]


def problem_of(payload: Any) -> str:
    """Return the part of a message that Discord refuses, or nothing."""
    if not isinstance(payload, dict) or not set(payload) <= _KEYS:
        return "payload"
    if _units(payload.get("content", "")) > 2000 or not payload.get("embeds"):
        return "content"
    if len(payload["embeds"]) > 10:
        return "embeds"
    problems = (_problem_of_embed(embed) for embed in payload["embeds"])
    found = next(filter(None, problems), "")
    total = sum(_size(embed) for embed in payload["embeds"])
    return found or ("embeds" if total > 6000 else "")


def pings(payload: dict[str, Any]) -> list[str]:
    """Return everybody whom the message notifies: embeds never do, and only what is allowed."""
    allowed = payload.get("allowed_mentions", {"parse": ["users"]})
    named = [*allowed.get("roles", []), *allowed.get("users", [])]
    said = [found[1] or found[0] for found in _PING.finditer(payload.get("content", ""))]
    return [one for one in said if one in named or allowed.get("parse")]


def _problem_of_embed(embed: dict[str, Any]) -> str:
    if not set(embed) <= _EMBED or not 0 <= embed.get("color", 0) <= 0xFFFFFF:
        return "embed"
    limits = [(embed.get("title", ""), 256), (embed.get("description", "-"), 4096)]
    limits.append((embed.get("footer", {}).get("text", "-"), 2048))
    for field in embed.get("fields", []):
        limits += [(field["name"], 256), (field["value"], 1024)]
    if len(embed.get("fields", [])) > 25:
        return "fields"
    good = all(1 <= _units(text.strip()) <= limit for text, limit in limits)
    return "" if good else "length"


def _size(embed: dict[str, Any]) -> int:
    texts = [embed.get("title", ""), embed.get("description", ""), embed["footer"]["text"]]
    texts += [field[key] for field in embed.get("fields", []) for key in ("name", "value")]
    return sum(map(_units, texts))


def _units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def _json(status: int, body: dict[str, Any]) -> Reply:
    return Reply(
        status=status,
        body=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
