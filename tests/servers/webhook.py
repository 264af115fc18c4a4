"""A peer that takes our own JSON and checks its signature as Standard Webhooks demands."""

import base64
import hashlib
import hmac
import json
from collections import Counter
from typing import Any, Final

from tests.servers.http import Peer, Received, Reply

HOST: Final = "hooks.example.org"
PATH: Final = "/in/backup"
SECRET: Final = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
_LARGEST: Final = 20_000
_TYPES: Final[dict[str, type]] = {
    "title": str,
    "message": str,
    "success": bool,
    "color": str,
    "timestamp": str,
    "eventType": str,
    "fields": list,
    "id": str,
    "deliveryId": str,
    "severity": str,
    "instance": str,
    "link": str,
    "test": bool,
}


class Webhook(Peer):
    """The receiver. With `signed`, what is not signed is refused."""

    def __init__(self, *args: Any, signed: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.signed = signed
        self.messages: list[dict[str, Any]] = []
        self.copies: Counter[str] = Counter()
        """How often the same id came."""

    def respond(self, received: Received) -> Reply:
        if received.path != PATH:
            return Reply(status=404)
        if received.method != "POST":
            return Reply(status=405)
        if self.signed and not _is_signed(received):
            return Reply(status=401, body=b"bad signature")
        problem = problem_of(received)
        if problem:
            return Reply(status=422, body=problem.encode())
        self.messages.append(received.json())
        self.copies[received.headers["webhook-id"]] += 1
        return Reply(status=204)


def problem_of(received: Received) -> str:
    """Return what is wrong with a message, or nothing."""
    if received.headers.get("content-type") != "application/json":
        return "content type"
    if len(received.body) > _LARGEST:
        return "too large"
    try:
        said = json.loads(received.body.decode("utf-8"))
    except ValueError:
        return "no JSON"
    wrong = [name for name, kind in _TYPES.items() if not isinstance(said.get(name), kind)]
    if wrong or not set(said) <= {*_TYPES, "error"}:
        return f"schema: {wrong}"
    if received.headers.get("webhook-id") != said["deliveryId"]:
        return "id"
    shaped = all(set(field) == {"name", "value", "inline"} for field in said["fields"])
    return "" if shaped else "fields"


def _is_signed(received: Received) -> bool:
    moment = received.headers.get("webhook-timestamp", "")
    content = f"{received.headers.get('webhook-id')}.{moment}.".encode() + received.body
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    right = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    given = received.headers.get("webhook-signature", "").split()
    return f"v1,{right}" in given and moment.isdigit()
