"""A peer that takes messages as Mattermost's incoming webhooks do; Apprise is tried with it."""

import json
from typing import Any, Final

from tests.servers.http import Peer, Received, Reply

TOKEN: Final = "3ccdd113474722377935511fc85d3dd4"


class Mattermost(Peer):
    """The server with one webhook."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.messages: list[dict[str, Any]] = []

    def respond(self, received: Received) -> Reply:
        if received.method != "POST" or not received.path.startswith("/hooks/"):
            return _error(404, "Sorry, we could not find the page.")
        if received.path.partition("?")[0] != f"/hooks/{TOKEN}":
            return _error(400, "Invalid webhook.")
        message = received.json()
        if not message.get("text"):
            return _error(400, "Unable to parse incoming data.")
        self.messages.append(message)
        return Reply(body=b"ok", headers={"Content-Type": "text/plain"})


def _error(status: int, words: str) -> Reply:
    body = {"id": "web.incoming_webhook.invalid.app_error", "message": words, "status_code": status}
    return Reply(
        status=status, body=json.dumps(body).encode(), headers={"Content-Type": "application/json"}
    )
