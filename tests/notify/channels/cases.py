"""One entry per channel type: what an admin enters, the peer, and how the peer says no.

A type that opens its own connections (Apprise) is no case: faults of the network cannot be played
to it here, and its own tests show what it does with answers.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from typing import Any, Final
from urllib.parse import urlsplit

from werkzeug.datastructures import MultiDict

from tests.servers import discord, gotify, ntfy, slack, teams, telegram, twilio, webhook
from tests.servers.http import Peer, Received, Reply
from webapp.notify.channels import BY_TYPE
from webapp.notify.channels.base import Channel, Rendered
from webapp.notify.message import Message

OWN_CONNECTIONS: Final = frozenset({"apprise"})
MAIL_HOST: Final = "mail.example.org"
MAIL_PASSWORD: Final = "correct horse battery"
SECONDS: Final = 17


@dataclass(frozen=True, kw_only=True)
class Case:
    """A type that calls over HTTP."""

    host: str
    entered: Mapping[str, str]
    peer: type[Peer]
    taken: Callable[[Any], int]
    """Returns how many messages arrived where people see them."""
    refusal: Reply
    """An answer that trying again cannot change."""
    limit: Reply
    """An answer that asks for time."""
    delay: timedelta | None
    """The time that `limit` asks for; None: the service does not say."""
    accepted: bytes
    """The beginning of an answer that means success."""
    options: Mapping[str, Any] = field(default_factory=dict)
    pings: Callable[[Any], list[str]] | None = None
    """Returns whom a message notifies, for services where texts can do that."""


def _late(status: int = 429, body: bytes = b"slow down") -> Reply:
    return Reply(status=status, body=body, headers={"Retry-After": str(SECONDS)})


IN_TIME: Final = timedelta(seconds=SECONDS)
CASES: Final[Mapping[str, Case]] = {
    "discord": Case(
        host=discord.HOST,
        entered={"webhook_url": f"https://discord.com/api/webhooks/{discord.ID}/{'t' * 68}"},
        peer=discord.Discord,
        taken=lambda peer: len(peer.messages),
        refusal=discord.refused(404, 10015, "Unknown Webhook"),
        limit=discord.too_many(0.529),
        delay=timedelta(seconds=0.529),
        accepted=b'{"id": "1"}',
        pings=discord.pings,
    ),
    "slack": Case(
        host=slack.HOST,
        entered={"webhook_url": f"https://{slack.HOST}{slack.PATH}{'S' * 24}"},
        peer=slack.Slack,
        taken=lambda peer: len(peer.messages),
        refusal=slack.refused("no_service"),
        limit=_late(),
        delay=IN_TIME,
        accepted=b"ok",
        pings=slack.pings,
    ),
    "teams": Case(
        host=teams.HOST,
        entered={
            "workflow_url": f"https://{teams.HOST}{teams.PATH}?{teams.QUERY}{'s' * 43}",
            "body_mode": "message",
        },
        peer=teams.Teams,
        taken=lambda peer: len(peer.cards),
        refusal=teams.refused(404, "WorkflowNotFound", "The workflow could not be found."),
        limit=_late(),
        delay=IN_TIME,
        accepted=b"",
        pings=lambda payload: re.findall("<at>", " ".join(teams.texts(payload))),
    ),
    "gotify": Case(
        host="gotify.example.org",
        entered={"server_url": "https://gotify.example.org/push", "token": gotify.TOKEN},
        peer=gotify.Gotify,
        options={"base": "/push"},
        taken=lambda peer: len(peer.messages),
        refusal=Reply(status=401, body=b'{"error":"Unauthorized","errorCode":401}'),
        limit=_late(503, b"<html>busy</html>"),
        delay=IN_TIME,
        accepted=b'{"id": 1}',
    ),
    "ntfy": Case(
        host="ntfy.sh",
        entered={
            "server_url": "https://ntfy.sh",
            "topic": "dbackup-q7Xk2P9vLm3RtY8aQwEr",
            "click": "y",
        },
        peer=ntfy.Ntfy,
        taken=lambda peer: len(peer.messages),
        refusal=ntfy.error(40301),
        limit=_late(503, b"<html>busy</html>"),
        delay=IN_TIME,
        accepted=b'{"id": "m1"}',
    ),
    "webhook": Case(
        host=webhook.HOST,
        entered={
            "url": f"https://{webhook.HOST}{webhook.PATH}",
            "method": "POST",
            "content_type": "application/json",
            "signing_secret": webhook.SECRET,
        },
        peer=webhook.Webhook,
        taken=lambda peer: len(peer.messages),
        refusal=Reply(status=410, body=b"gone"),
        limit=_late(),
        delay=IN_TIME,
        accepted=b"{}",
    ),
    "telegram": Case(
        host=telegram.HOST,
        entered={
            "bot_token": f"{telegram.BOT}:{'t' * 35}",
            "chat_id": str(telegram.CHAT),
            "sound": "auto",
            "api_url": "https://api.telegram.org",
        },
        peer=telegram.Telegram,
        taken=lambda peer: len(peer.messages),
        refusal=telegram.refused(403, "Forbidden: bot was blocked by the user"),
        limit=telegram.too_many(SECONDS),
        delay=IN_TIME,
        accepted=b'{"ok": true}',
        pings=telegram.pings,
    ),
    "sms": Case(
        host="api.twilio.com",
        entered={
            "account_sid": twilio.ACCOUNT,
            "auth_token": twilio.TOKEN,
            "sender": twilio.OK,
            "recipients": "+15551234567",
            "max_segments": "10",
        },
        peer=twilio.Twilio,
        taken=lambda peer: len(peer.billed),
        refusal=twilio.error(401, 20003, "Authenticate"),
        limit=twilio.error(429, 20429, "Too Many Requests"),
        delay=None,
        accepted=b'{"sid": "SM1"}',
    ),
}
MAIL: Final = {
    "host": MAIL_HOST,
    "port": "587",
    "security": "starttls",
    "username": "dbackup",
    "password": MAIL_PASSWORD,
    "sender": "dbackup@example.org",
    "recipients": "ops@example.org",
}


def channel_of(kind: str, **changes: str) -> Channel:
    """Return a channel as the form makes it of what an admin entered."""
    entered = (MAIL if kind == "email" else CASES[kind].entered) | changes
    form = BY_TYPE[kind].form(MultiDict(entered))
    assert form.validate(), form.errors
    return BY_TYPE[kind](BY_TYPE[kind].form.resolved(form.merged({})))


class Judge:
    """Says whether a service would take a message and show it; no network is used."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.channel = channel_of(kind)
        if kind != "email":
            self.case = CASES[kind]
            unsigned = {"signed": False} if kind == "webhook" else {}
            self.peer = self.case.peer(**dict(self.case.options), **unsigned)
            self.peer.close()

    def problem(self, message: Message) -> str:
        """Return why the service would not show the message as it is, or whom it would ping."""
        rendered = self.channel.render(message)
        if self.kind == "email":
            return mail_problem(rendered)
        return self._refused(rendered) or self._pinged()

    def _refused(self, rendered: Rendered) -> str:
        values = [rendered.url, rendered.content_type, *rendered.headers.values()]
        if not all(value.isascii() and value.isprintable() for value in values):
            return "a header cannot be sent"
        parts = urlsplit(rendered.url)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        headers = {"content-type": rendered.content_type} | {
            name.lower(): value for name, value in rendered.headers.items()
        }
        reply = self.peer.respond(Received(rendered.method, path, headers, rendered.body))
        if not 200 <= reply.status < 300:
            return f"{reply.status} {reply.body[:300]!r}"
        if self.case.taken(self.peer) != 1:
            return str(getattr(self.peer, "failed_runs", ["lost"])[-1])
        return ""

    def _pinged(self) -> str:
        last = getattr(self.peer, "cards", None) or getattr(self.peer, "messages", [])
        found = self.case.pings(last[-1]) if self.case.pings and last else []
        for kept in vars(self.peer).values():  # thousands of messages are judged
            if isinstance(kept, (list, dict)):
                kept.clear()
        return f"pings {found}" if found else ""


_HEADERS: Final = frozenset(
    {
        "from", "to", "reply-to", "subject", "date", "message-id", "references", "in-reply-to",
        "auto-submitted", "x-auto-response-suppress", "importance", "x-priority", "mime-version",
        "content-type",
    }
)  # fmt: skip


def mail_problem(rendered: Rendered) -> str:
    """Return what a mail server or reader would find wrong with the bytes."""
    mail = BytesParser(policy=policy.default).parsebytes(rendered.body)
    assert isinstance(mail, EmailMessage)
    names = [name.lower() for name in mail.keys()]  # noqa: SIM118 - a mail's keys repeat
    if not set(names) <= _HEADERS or len(set(names)) < len(names):
        return f"headers {names}"
    if mail["To"] != "ops@example.org" or "dbackup@example.org" not in mail["From"]:
        return f"addresses {mail['To']} {mail['From']}"
    if any(part.defects for part in mail.walk()):
        return f"defects {mail.defects}"
    if max(map(len, rendered.body.split(b"\n"))) > 998:
        return "a line is longer than SMTP allows"
    if b"\r" in rendered.body.replace(b"\r\n", b""):
        return "a bare carriage return"
    plain, html = mail.get_body(("plain",)), mail.get_body(("html",))
    if plain is None or html is None or not plain.get_content().strip():
        return "a part is missing"
    page = html.get_content()
    if re.search(r"<(script|img|iframe|b>&)", page):
        return "foreign tags"
    return ""
