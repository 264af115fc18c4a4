"""A peer that takes messages as the Bot API of Telegram does, formatting included."""

import json
import re
from collections import Counter
from html.parser import HTMLParser
from typing import Any, Final
from urllib.parse import urlsplit

from tests.servers.http import Peer, Received, Reply

HOST: Final = "api.telegram.org"
BOT: Final = "123456789"
CHAT: Final = -1001234567890
_TAGS: Final = frozenset({"b", "strong", "i", "em", "u", "s", "code", "pre", "blockquote"})
_NAMED: Final = frozenset({"lt", "gt", "amp", "quot"})
_MENTION: Final = re.compile(r"(?<!\w)@[A-Za-z0-9_]{2,32}")
_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "chat_id": (int, str),
    "text": (str,),
    "parse_mode": (str,),
    "message_thread_id": (int,),
    "disable_notification": (bool,),
    "protect_content": (bool,),
    "link_preview_options": (dict,),
    "reply_markup": (dict,),
}


class Telegram(Peer):
    """The service with one bot that knows one chat."""

    def __init__(self, *args: Any, token: str = "t" * 35, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.token = token
        self.chat: int | str = CHAT
        self.moved_from: int | str | None = None
        """The id of the group before it became the supergroup `chat`."""
        self.messages: list[dict[str, Any]] = []
        self.copies: Counter[bytes] = Counter()

    def respond(self, received: Received) -> Reply:
        found = re.fullmatch(r"/bot(\d+):([^/]+)/(\w+)", received.path)
        if not found or found[3] != "sendMessage" or received.method != "POST":
            return refused(404, "Not Found")
        if (found[1], found[2]) != (BOT, self.token):
            return refused(401, "Unauthorized")
        try:
            payload = json.loads(received.body.decode())
        except ValueError:
            return refused(400, "Bad Request: can't parse JSON object")
        if self.moved_from is not None and payload.get("chat_id") == self.moved_from:
            return moved(self.chat)
        if payload.get("chat_id") != self.chat:
            return refused(400, "Bad Request: chat not found")
        problem = problem_of(payload)
        if problem:
            return refused(400, f"Bad Request: {problem}")
        self.messages.append(payload)
        self.copies[received.body] += 1
        result = {"message_id": len(self.messages), "chat": {"id": payload["chat_id"]}}
        return _json(200, {"ok": True, "result": result})


def refused(status: int, description: str, **parameters: Any) -> Reply:
    """Return an answer of Telegram."""
    body: dict[str, Any] = {"ok": False, "error_code": status, "description": description}
    if parameters:
        body["parameters"] = parameters
    return _json(status, body)


def moved(chat: int | str) -> Reply:
    """Return the answer for a group that became a supergroup."""
    words = "Bad Request: group chat was upgraded to a supergroup chat"
    return refused(400, words, migrate_to_chat_id=chat)


def too_many(seconds: int) -> Reply:
    """Return the answer for a bot that writes too fast; there is no Retry-After header."""
    return refused(429, f"Too Many Requests: retry after {seconds}", retry_after=seconds)


def problem_of(payload: dict[str, Any]) -> str:
    """Return what Telegram says against a message, or nothing."""
    for name, value in payload.items():
        if name not in _TYPES or not isinstance(value, _TYPES[name]):
            return f"wrong parameter {name}"
    if payload.get("parse_mode") not in {None, "HTML"}:
        return "unsupported parse_mode"
    reader = Reader(payload["text"], is_html="parse_mode" in payload)
    if reader.problem:
        return f"can't parse entities: {reader.problem}"
    if not reader.visible.strip():
        return "message text is empty"
    if len(reader.visible.encode("utf-16-le")) // 2 > 4096:
        return "message is too long"
    for row in payload.get("reply_markup", {}).get("inline_keyboard", []):
        for button in row:
            if "." not in (urlsplit(button["url"]).hostname or "") or not button["text"].strip():
                return f"inline keyboard button URL '{button['url']}' is invalid: Wrong HTTP URL"
    return ""


def pings(payload: dict[str, Any]) -> list[str]:
    """Return every name that Telegram would turn into a mention."""
    return Reader(payload["text"], is_html="parse_mode" in payload).mentions


class Reader(HTMLParser):
    """What is left of a text when its tags are read; `problem` when they are wrong."""

    def __init__(self, text: str, *, is_html: bool) -> None:
        super().__init__(convert_charrefs=False)
        self.problem = ""
        self.visible = "" if is_html else text
        self.entities = 0
        self.mentions: list[str] = []
        self._open: list[str] = []
        if is_html:
            if re.search(r"<(?!/?[a-z]+>)", text):
                self.problem = "unexpected start tag"
            self.feed(text)
            self.close()
            if self._open:
                self.problem = f"can't find end tag corresponding to start tag {self._open[-1]}"
            if self.entities > 100:
                self.problem = "too many entities"
        else:
            self.mentions = _MENTION.findall(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _TAGS or attrs:
            self.problem = f'unsupported start tag "{tag}"'
        self.entities += 1
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.problem = f'unexpected end tag "{tag}"'

    def handle_data(self, data: str) -> None:
        if "pre" not in self._open and "code" not in self._open:
            before = self.visible[-1:]
            self.mentions += _MENTION.findall(before + data if before != "@" else data)
        self.visible += data

    def handle_entityref(self, name: str) -> None:
        if name not in _NAMED:
            self.problem = f"unknown entity {name}"
        self.handle_data({"lt": "<", "gt": ">", "amp": "&", "quot": '"'}.get(name, "?"))

    def handle_charref(self, name: str) -> None:
        self.handle_data("?")

    def handle_comment(self, data: str) -> None:
        self.problem = "unsupported comment"

    def handle_decl(self, decl: str) -> None:
        self.problem = "unsupported declaration"

    def unknown_decl(self, data: str) -> None:
        self.problem = "unsupported declaration"

    def handle_pi(self, data: str) -> None:
        self.problem = "unsupported instruction"


def _json(status: int, body: dict[str, Any]) -> Reply:
    return Reply(
        status=status,
        body=json.dumps(body, ensure_ascii=False).encode(),
        headers={"Content-Type": "application/json"},
    )
