"""A peer that takes messages as a Gotify server does."""

import json
from collections import Counter
from typing import Any, Final

from tests.servers.http import Peer, Received, Reply

TOKEN: Final = "AbCdEf123456789"
CLIENT: Final = "CbCdEf123456789"
_TYPES: Final = {"title": str, "message": str, "priority": int, "extras": dict}


class Gotify(Peer):
    """The server, at `base` (a path such as "/gotify" when it is behind a proxy)."""

    def __init__(self, base: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.base = base
        self.messages: list[dict[str, Any]] = []
        self.copies: Counter[str] = Counter()
        """How often the same content came."""

    def respond(self, received: Received) -> Reply:
        if received.path != f"{self.base}/message":
            return _error(404, "Not Found", "page not found")
        if received.method != "POST":
            return _error(405, "Method Not Allowed", "method not allowed")
        token = received.headers.get("x-gotify-key", "")
        if token == CLIENT:
            return _error(403, "Forbidden", "you are not allowed to access this api")
        if token != TOKEN:
            return _error(
                401,
                "Unauthorized",
                "you need to provide a valid access token or user credentials to access this api",
            )
        problem = _problem(received)
        if problem:
            return _error(400, "Bad Request", problem)
        self.messages.append(received.json())
        self.copies[received.body.decode()] += 1
        return _json(
            200,
            {"id": len(self.messages), "appid": 5, "date": "2026-03-01T02:15:05Z"}
            | received.json(),
        )


def _problem(received: Received) -> str:
    if not received.headers.get("content-type", "").startswith("application/json"):
        return "Field 'message' is required"  # extras and JSON are only read as JSON
    try:
        message = json.loads(received.body.decode("utf-8"))
    except ValueError as error:
        return f"invalid character: {error}"
    if not message.get("message"):
        return "Field 'message' is required"
    for name, value in message.items():
        if name not in _TYPES or not isinstance(value, _TYPES[name]):
            return f"json: cannot unmarshal field {name}"
    if not 0 <= message.get("priority", 0) <= 10:
        return "priority out of range"
    if not all("::" in name for name in message.get("extras", {})):
        return "extras need a namespace"
    return ""


def _error(status: int, error: str, description: str) -> Reply:
    return _json(status, {"error": error, "errorCode": status, "errorDescription": description})


def _json(status: int, body: dict[str, Any]) -> Reply:
    return Reply(
        status=status,
        body=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
