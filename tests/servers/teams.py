"""A peer that starts workflows as Power Automate does, and says how Teams would take the card."""

import json
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from jsonschema import Draft202012Validator

from tests.servers.http import Peer, Received, Reply

HOST: Final = "default0123.4f.environment.api.powerplatform.com"
PATH: Final = (
    "/powerautomate/automations/direct/workflows/0a1b2c3d4e5f/triggers/manual/paths/invoke"
)
QUERY: Final = "api-version=1&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig="
SCHEMA: Final = Path(__file__).with_name("adaptive_card.schema.json")
_LARGEST: Final = 20 * 1024


class Teams(Peer):
    """The service with one workflow of the template, or one that takes the bare card."""

    def __init__(
        self, *args: Any, signature: str = "s" * 43, bare: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.signature = signature
        self.bare = bare
        self.cards: list[dict[str, Any]] = []
        """What appeared in the channel; a bad card is accepted and appears nowhere."""
        self.failed_runs: list[str] = []
        self.copies: Counter[bytes] = Counter()

    def respond(self, received: Received) -> Reply:
        parts = urlsplit(received.path)
        if "api-version" not in parse_qs(parts.query):
            return refused(400, "MissingApiVersionParameter", "The api-version is required.")
        if parts.path != PATH or received.method != "POST":
            return refused(404, "WorkflowNotFound", "The workflow could not be found.")
        if parts.query != QUERY + self.signature:
            return refused(401, "AuthorizationFailed", "The signature is not valid.")
        try:
            payload = json.loads(received.body.decode())
        except ValueError:
            return refused(400, "InvalidRequestContent", "The request content is not valid JSON.")
        self.copies[received.body] += 1
        problem = problem_of(received.body, bare=self.bare)
        if problem:
            self.failed_runs.append(problem)
        else:
            self.cards.append(payload if self.bare else payload["attachments"][0]["content"])
        return Reply(status=202)


def refused(status: int, code: str, message: str) -> Reply:
    """Return an answer of Power Automate."""
    body = {"error": {"code": code, "message": message}}
    return Reply(
        status=status,
        body=json.dumps(body).encode(),
        headers={"Content-Type": "application/json; charset=utf-8"},
    )


def problem_of(body: bytes, *, bare: bool = False) -> str:
    """Return why the run of the workflow would fail after the message was accepted."""
    if len(body) > _LARGEST:
        return "Request Entity too large"
    payload = json.loads(body)
    if not bare:
        if set(payload) != {"type", "attachments"} or payload["type"] != "message":
            return "Property 'attachments' cannot be selected"
        (attachment,) = payload["attachments"]
        if attachment["contentType"] != "application/vnd.microsoft.card.adaptive":
            return "Unknown content type"
        payload = attachment["content"]
    if payload.get("type") != "AdaptiveCard":
        return "InvalidBotAdaptiveCard: Property 'type' must be 'AdaptiveCard'"
    errors = sorted(_validator().iter_errors(payload), key=str)
    return f"InvalidBotAdaptiveCard: {errors[0].message[:200]}" if errors else ""


def texts(card: Any) -> list[str]:
    """Return every text of a card that Teams reads as Markdown."""
    if isinstance(card, list):
        return [found for one in card for found in texts(one)]
    if not isinstance(card, dict):
        return []
    own = [card["text"]] if card.get("type") == "TextBlock" else []
    facts = [fact[key] for fact in card.get("facts", []) for key in ("title", "value")]
    return own + facts + [found for one in card.values() for found in texts(one)]


@lru_cache(maxsize=1)
def _validator() -> Draft202012Validator:
    schema = json.loads(SCHEMA.read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)
