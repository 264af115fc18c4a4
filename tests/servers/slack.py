"""A peer that takes messages as Slack's incoming webhooks do."""

import json
import re
from collections import Counter
from typing import Any, Final

from slack_sdk.errors import SlackObjectFormationError
from slack_sdk.models.blocks import Block

from tests.servers.http import Peer, Received, Reply

HOST: Final = "hooks.slack.com"
PATH: Final = "/services/T0AAAAAAA/B0BBBBBBB/"
_KEYS: Final = frozenset({"text", "blocks", "attachments", "unfurl_links", "unfurl_media"})
_CARD: Final = frozenset({"color", "fallback", "blocks"})
_ALLOWED_IN_ANGLES: Final = re.compile(
    r"!here|!channel|!subteam\^S[A-Z0-9]+|@[UW][A-Z0-9]+"
    r"|!date\^\d+\^[^|<>]+\|[^<>]+|https?://[^\s<>|]+(\|[^<>]+)?"
)
_PING: Final = re.compile(r"<([!@](?!date)[^<>|]+)")
_REFUSALS: Final = {
    "invalid_token": 403,
    "action_prohibited": 403,
    "no_service": 404,
    "no_team": 404,
    "channel_not_found": 404,
    "channel_is_archived": 410,
    "rollup_error": 500,
}


class Slack(Peer):
    """The service with one webhook, whose URL ends in `token`."""

    def __init__(self, *args: Any, token: str = "S" * 24, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.token = token
        self.messages: list[dict[str, Any]] = []
        self.copies: Counter[bytes] = Counter()
        """How often the same content came."""
        self.takes_cards = True
        """Some workspaces were seen to refuse blocks in attachments."""
        self.takes_blocks = True

    def respond(self, received: Received) -> Reply:
        word = self._refusal(received) or self._problem(received.body)
        if word:
            return refused(word)
        self.messages.append(received.json())
        self.copies[received.body] += 1
        return Reply(body=b"ok", headers={"Content-Type": "text/html"})

    def _refusal(self, received: Received) -> str:
        if received.method != "POST" or not received.path.startswith("/services/"):
            return "no_service"
        if not received.path.startswith(PATH):
            return "no_team"
        return "" if received.path == PATH + self.token else "invalid_token"

    def _problem(self, body: bytes) -> str:
        try:
            payload = json.loads(body.decode())
        except ValueError:
            return "invalid_payload"
        if not self.takes_cards and payload.get("attachments"):
            return "invalid_attachments"
        if not self.takes_blocks and (payload.get("attachments") or payload.get("blocks")):
            return "invalid_blocks"
        return problem_of(payload)


def refused(word: str) -> Reply:
    """Return Slack's answer with this word."""
    return Reply(status=_REFUSALS.get(word, 400), body=word.encode())


def problem_of(payload: Any) -> str:
    """Return the word that Slack refuses a message with, or nothing."""
    if not isinstance(payload, dict) or not set(payload) <= _KEYS:
        return "invalid_payload"
    if not isinstance(payload.get("text"), str) or not payload["text"].strip():
        return "no_text"
    if len(payload["text"]) > 40_000 or not _is_escaped(payload["text"]):
        return "invalid_payload"
    for card in payload.get("attachments", []):
        if not set(card) <= _CARD or not re.fullmatch(r"#[0-9a-f]{6}", card.get("color", "")):
            return "invalid_attachments"
        problem = _problem_of_blocks(card["blocks"])
        if problem:
            return problem
    return _problem_of_blocks(payload.get("blocks", []))


def pings(payload: dict[str, Any]) -> list[str]:
    """Return everybody whom the message notifies."""
    texts = [payload["text"], *(text for text, is_mrkdwn in _texts(payload) if is_mrkdwn)]
    return [ping for text in texts for ping in _PING.findall(text)]


def _problem_of_blocks(blocks: list[dict[str, Any]]) -> str:
    if len(blocks) > 50 or len({block["block_id"] for block in blocks}) < len(blocks):
        return "invalid_blocks"
    for block in blocks:
        parsed = Block.parse(block)
        if parsed is None:
            return "invalid_blocks"
        try:
            parsed.validate_json()
        except SlackObjectFormationError:
            return "invalid_blocks"
        if any(len(field["text"]) > 2000 for field in block.get("fields", [])):
            return "invalid_blocks"
    texts = list(_texts(blocks))
    if not all(text.strip() for text, _ in texts):
        return "invalid_blocks"
    if not all(_is_escaped(text) for text, is_mrkdwn in texts if is_mrkdwn):
        return "invalid_blocks"
    return "msg_blocks_too_long" if sum(len(text) for text, _ in texts) > 13_000 else ""


def _texts(node: Any) -> list[tuple[str, bool]]:
    """Return every text object's text and whether it is mrkdwn."""
    if isinstance(node, list):
        return [found for one in node for found in _texts(one)]
    if not isinstance(node, dict):
        return []
    if node.get("type") in {"mrkdwn", "plain_text"}:
        return [(node["text"], node["type"] == "mrkdwn")]
    return [found for one in node.values() for found in _texts(one)]


def _is_escaped(text: str) -> bool:
    """Say whether every sign with a meaning is one of Slack's own constructs."""
    rest = text
    for found in re.findall(r"<([^<>]*)>", text):
        if not _ALLOWED_IN_ANGLES.fullmatch(found):
            return False
        rest = rest.replace(f"<{found}>", "")
    return not re.search(r"[<>]|&(?!amp;|lt;|gt;)", rest)
