"""A peer that takes messages as an ntfy server does: JSON at its root, limits in bytes."""

import base64
import json
import re
from collections import Counter
from typing import Any, Final
from urllib.parse import urlsplit

from tests.servers.http import Peer, Received, Reply

TOKEN: Final = "tk_" + "a1b2c3d4e5f6g7h8i9j0k1l2m3n4o"
MESSAGE: Final = 4096
BODY: Final = 8192
_TOPIC: Final = re.compile(r"[-_A-Za-z0-9]{1,64}")
_RESERVED: Final = frozenset(
    ["docs", "static", "file", "app", "metrics", "account", "settings", "signup", "login", "v1"]
)
_ERRORS: Final = {
    40007: "invalid request: priority invalid",
    40009: "invalid request: topic invalid",
    40010: "invalid request: topic name is not allowed",
    40014: "invalid request: attachments not allowed",
    40017: "invalid request: request body must be valid JSON",
    40018: "invalid request: actions invalid",
    40101: "unauthorized",
    40301: "forbidden",
    40401: "page not found",
    41303: "invalid request: request too large",
    42901: "limit reached: too many requests",
    42908: "limit reached: daily message quota reached",
    42909: "limit reached: too many auth failures",
    50701: "cannot publish to UnifiedPush topic without previously active subscriber",
}


class Ntfy(Peer):
    """The server. With `protected`, writing needs TOKEN or the user and password."""

    def __init__(
        self, *, base: str = "", protected: bool = False, burst: int = 1000, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.base = base
        self.protected = protected
        self.burst = burst
        """Messages that are taken before 42901."""
        self.daily: int | None = None
        """Messages that are left of this day."""
        self.messages: list[dict[str, Any]] = []
        self.shown: dict[tuple[str, str], dict[str, Any]] = {}
        """What phones show: messages of one topic and sequence replace each other."""
        self.copies: Counter[str] = Counter()

    def respond(self, received: Received) -> Reply:
        if (
            received.method not in {"POST", "PUT"}
            or urlsplit(received.path).path != f"{self.base}/"
        ):
            return error(40401)
        code = self._login(received) or self._limits() or _problem(received)
        if code:
            return error(code)
        message = received.json()
        self.messages.append(message)
        self.shown[message["topic"], message.get("sequence_id", str(len(self.messages)))] = message
        self.copies[message.get("sequence_id", "")] += 1
        echo = {"id": f"m{len(self.messages):011}", "time": 1772331305, "event": "message"}
        return Reply(
            body=json.dumps(echo | message, ensure_ascii=False).encode(),
            headers={"Content-Type": "application/json"},
        )

    def _login(self, received: Received) -> int:
        given = received.headers.get("authorization", "")
        if not given:
            return 40301 if self.protected else 0
        pair = base64.b64encode(b"dbackup:correct-password").decode()
        return 0 if given in {f"Bearer {TOKEN}", f"Basic {pair}"} else 40101

    def _limits(self) -> int:
        if self.daily is not None:
            if self.daily == 0:
                return 42908
            self.daily -= 1
        return 42901 if len(self.messages) >= self.burst else 0


def _problem(received: Received) -> int:
    if len(received.body) > BODY:
        return 41303
    try:
        message = json.loads(received.body.decode("utf-8"))
    except ValueError:
        return 40017
    topic = message.get("topic", "")
    if not _TOPIC.fullmatch(topic):
        return 40009
    if topic in _RESERVED:
        return 40010
    if not 1 <= message.get("priority", 3) <= 5:
        return 40007
    if len(message.get("message", "").encode()) > MESSAGE:
        return 40014
    if any("," in tag for tag in message.get("tags", [])):
        return 40017
    return _problem_of_actions(message.get("actions", []))


def _problem_of_actions(actions: list[dict[str, Any]]) -> int:
    if len(actions) > 3:
        return 40018
    good = all(
        one.get("action") in {"view", "http", "broadcast"}
        and one.get("label")
        and urlsplit(one.get("url", "")).scheme in {"http", "https"}
        for one in actions
    )
    return 0 if good else 40018


def error(code: int) -> Reply:
    """Return the server's answer for one of its codes; none has a Retry-After."""
    status = code // 100
    body = {"code": code, "http": status, "error": _ERRORS[code], "link": "https://ntfy.sh/docs"}
    return Reply(
        status=status,
        body=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
