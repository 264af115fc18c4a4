"""ntfy: a topic of ntfy.sh or of an own server.

Publishing as JSON: https://docs.ntfy.sh/publish/#publish-as-json
Codes: https://github.com/binwiederhier/ntfy/blob/main/server/errors.go
"""

import base64
import json
import re
import secrets as chance
import string
from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from wtforms import BooleanField, StringField
from wtforms.validators import DataRequired, ValidationError

from webapp.core import clock, network, text
from webapp.core.buckets import Rate
from webapp.core.form_fields import REFERENCE_HELP
from webapp.core.secrets import is_reference
from webapp.notify import plain, variables
from webapp.notify.channels.base import Channel, Preview, Receipt, Rendered, Trouble
from webapp.notify.channels.fields import (
    ChannelForm,
    OutboundUrlField,
    PriorityField,
    SecretField,
    check_ca_file,
    client_certificate_field,
    proxy_field,
)
from webapp.notify.channels.http import TROUBLES, Sorted, deliver_http, said_in
from webapp.notify.message import Message, Severity
from webapp.notify.outbound import Answer, Outbound, Reach
from webapp.notify.shorten import fit, utf8

PUBLIC: Final = "https://ntfy.sh"
MESSAGE: Final = 3_800  # bytes of UTF-8; above 4,096 the server makes a file of it
TITLE: Final = 240
BODY: Final = 8_192  # bytes of the whole JSON, which `_weight` keeps
ADDRESS: Final = 600
LABEL: Final = 40
TAGS: Final = 5
GUESSABLE: Final = 12  # characters; a shorter topic protects nothing
PRIORITIES: Final = {
    Severity.INFO: 2,
    Severity.SUCCESS: 2,
    Severity.WARNING: 3,
    Severity.FAILURE: 4,
    Severity.CRITICAL: 5,
}
EMOJI: Final = {
    Severity.INFO: "information_source",
    Severity.SUCCESS: "white_check_mark",
    Severity.WARNING: "warning",
    Severity.FAILURE: "rotating_light",
    Severity.CRITICAL: "rotating_light",
}
SIGNS: Final = {
    "information_source": "ℹ️",
    "white_check_mark": "✅",
    "warning": "⚠️",
    "rotating_light": "🚨",
}
_TOPIC: Final = re.compile(r"[-_A-Za-z0-9]{1,64}")
_RESERVED: Final = frozenset(
    {"docs", "static", "file", "app", "metrics", "account", "settings", "signup", "login", "v1"}
)
_TOKEN: Final = re.compile(r"tk_[a-z0-9]{29}")
_TAG: Final = re.compile(r"[\w+-]{1,30}")
_ALPHABET: Final = string.ascii_letters + string.digits
_BURST: Final = timedelta(seconds=5)
_CODES: Final[Mapping[int, Sorted]] = {
    # about the channel
    40009: Sorted(breaks_channel=True),
    40010: Sorted(breaks_channel=True),
    40101: Sorted(breaks_channel=True),
    40301: Sorted(breaks_channel=True),
    40401: Sorted(breaks_channel=True),
    42909: Sorted(breaks_channel=True),
    # about this message
    40007: Sorted(),
    40011: Sorted(),
    40014: Sorted(),
    40017: Sorted(),
    40018: Sorted(),
    40024: Sorted(),
    41301: Sorted(),
    41303: Sorted(),
    # passing
    42901: Sorted(permanent=False, retry_after=_BURST),
    50701: Sorted(permanent=False),
}
_DAILY: Final = 42908


def suggested_topic() -> str:
    """Return a name that nobody guesses: on a public server the topic is the password."""
    return "dbackup-" + "".join(chance.choice(_ALPHABET) for _ in range(20))


def _check_topic(value: str) -> None:
    if not _TOPIC.fullmatch(value):
        raise ValidationError("Use 1 to 64 letters, digits, hyphens and underscores.")
    if value.lower() in _RESERVED:
        raise ValidationError(f"ntfy keeps the name “{value}” for itself. Use another topic.")


def _check_token(value: str) -> None:
    if not _TOKEN.fullmatch(value):
        raise ValidationError("Enter the access token as ntfy shows it: tk_ and 29 characters.")


class NtfyForm(ChannelForm):
    """What an ntfy channel needs. An address with its topic may be pasted into either field."""

    bound_to: ClassVar[tuple[str, ...]] = ("server_url", "proxy", "ca_file")

    advanced: ClassVar[tuple[str, ...]] = (
        "username", "password", "priority", "failure_priority", "tags", "click", "ca_file",
        "client_certificate", "proxy",
    )  # fmt: skip

    server_url = OutboundUrlField(
        "Server",
        default=PUBLIC,
        validators=[DataRequired("Enter the address of the server, such as https://ntfy.sh.")],
    )
    topic = SecretField(
        "Topic",
        required=True,
        check=_check_topic,
        render_kw={"placeholder": "dbackup-…"},
    )
    access_token = SecretField(
        "Access token",
        check=_check_token,
        description="Only when the topic is protected. " + REFERENCE_HELP,
        render_kw={"placeholder": "tk_…"},
    )
    username = StringField(
        "User name", description="Instead of an access token, for servers with passwords."
    )
    password = SecretField("Password")
    priority = PriorityField(
        "Priority",
        lowest=1,
        highest=5,
        description="1 (silent) to 5 (urgent) for messages that are no failures. Empty: 2, and 3 "
        "for warnings.",
    )
    failure_priority = PriorityField(
        "Priority of failures",
        lowest=1,
        highest=5,
        description="Empty: 4, and 5 for what is critical.",
    )
    tags = StringField(
        "Tags",
        description=f"At most {TAGS}, separated by commas, beside the sign for the severity. "
        "Names of emoji become emoji.",
    )
    click = BooleanField(
        "Open the details on tap",
        default=True,
        description="Adds the link to DBackup and a button for it.",
    )
    ca_file = StringField(
        "Certificate authority",
        description="Path of a PEM file on this server, trusted beside the usual authorities.",
    )
    client_certificate = client_certificate_field()
    proxy = proxy_field()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._split()
        if not self.topic.is_stored:
            self.topic.description = (
                "On a public server everybody who knows the topic can read along, so choose one "
                f"that nobody guesses, such as {suggested_topic()}. {REFERENCE_HELP}"
            )

    def _split(self) -> None:
        """Take an address that was pasted with its topic apart."""
        pasted = str(self.topic.data or "")
        if "://" in pasted and not is_reference(pasted):
            self.server_url.data, _, self.topic.data = pasted.rstrip("/").rpartition("/")
            return
        base, _, last = str(self.server_url.data or "").rstrip("/").rpartition("/")
        nothing_else = not pasted and not self.topic.is_stored
        if nothing_else and base.count("/") == 2 and _TOPIC.fullmatch(last):
            self.server_url.data, self.topic.data = base, last

    def validate_server_url(self, field: OutboundUrlField) -> None:
        """Check that this is the address of the server."""
        parts = urlsplit(field.data or "")
        if parts.query or parts.fragment:
            raise ValidationError("Leave everything from ? or # on out of the address.")

    def validate_username(self, field: StringField) -> None:
        """Check that there is one way to sign in, and that it is complete."""
        if not (field.data or "").strip():
            return
        if ":" in str(field.data):
            raise ValidationError("A user name has no colon.")
        if _is_there(self.access_token):
            raise ValidationError("Use the access token or a user name, not both.")
        if not _is_there(self.password):
            raise ValidationError("Enter the password as well, or remove the user name.")

    def validate_tags(self, field: StringField) -> None:
        """Check what ntfy takes as tags."""
        found = _tags(field.data)
        if len(found) > TAGS:
            raise ValidationError(f"Enter at most {TAGS} tags.")
        if not all(_TAG.fullmatch(tag) for tag in found):
            raise ValidationError("Use letters, digits, + - and _ in tags, 30 characters at most.")

    def validate_ca_file(self, field: StringField) -> None:
        """Check that there is such a file."""
        check_ca_file(field)


def _is_there(field: Any) -> bool:
    return bool(field.data or (field.is_stored and not field.is_cleared))


def _tags(typed: object) -> list[str]:
    return list(dict.fromkeys(filter(None, re.split(r"[,\s]+", str(typed or "")))))


class Ntfy(Channel):
    """A topic of an ntfy server."""

    type: ClassVar[str] = "ntfy"
    label: ClassVar[str] = "ntfy"
    icon: ClassVar[str] = "chat-left-dots"
    tagline: ClassVar[str] = "Push by topic, hosted or own"
    bundle_characters: ClassVar[int] = 1500
    setup_hint: ClassVar[str] = (
        "Choose a topic, subscribe to it in the ntfy app, and enter the same topic here."
    )
    form: ClassVar = NtfyForm
    rate: ClassVar[Rate | None] = Rate(seconds=5.0, burst=20)
    troubles: ClassVar[tuple[Trouble, ...]] = (
        Trouble(
            "401 / 40101",
            "The server does not accept the token or the password.",
            "Make a new access token in ntfy (Account → Access tokens) and enter it here.",
        ),
        Trouble(
            "403 / 40301",
            "This login, or nobody without one, may write to the topic.",
            "Give the user the right to write to the topic, or enter a token that has it.",
        ),
        Trouble(
            "404 / 40401 / 405",
            "There is no ntfy at this address.",
            "Check the server's address. It has no topic at its end; the topic has its own field.",
        ),
        Trouble(
            "40009 / 40010",
            "The server does not take this name of a topic.",
            "Use letters, digits, hyphens and underscores, or another topic.",
        ),
        Trouble(
            "400 / 40007 / 40011 / 40014 / 40017 / 40018 / 40024",
            "ntfy did not accept the form of the message; its answer names the part.",
            "Check tags and priority of this channel. If they are right, report the answer as a "
            "fault of DBackup.",
        ),
        Trouble(
            "413 / 41301 / 41303",
            "The server takes only smaller messages than usual.",
            "Raise message-size-limit of the server to 4K at least, or use another server.",
        ),
        Trouble(
            "42901",
            "Too many messages in a short time from this server's address.",
            "Nothing: DBackup tries again. If it happens often, send fewer events to this channel.",
        ),
        Trouble(
            "42908",
            "The messages of this day are used up. ntfy.sh counts them per address, for all who "
            "share it.",
            "DBackup tries again after 00:00 UTC. Send fewer events here, use a paid account or an "
            "own server, and set a fallback channel.",
        ),
        Trouble(
            "42909",
            "The server refuses this address for a while, after too many wrong logins.",
            "Enter a token that is right, wait some minutes, then send a test.",
        ),
        Trouble(
            "429",
            "The server limits how often it is called.",
            "Nothing: DBackup tries again. If it happens often, send fewer events to this channel.",
        ),
        Trouble(
            "5xx / 507 / 50701",
            "The server has trouble, or cannot hand the message to the phone's push service.",
            "Nothing: DBackup tries again. For an own server, look at its log.",
        ),
        *TROUBLES,
    )

    @classmethod
    def summarize(cls, config: Mapping[str, Any]) -> str:
        """Return the server and the beginning of the topic."""
        parts = urlsplit(str(config.get("server_url", "")))
        topic = str(config.get("topic", ""))
        shown = topic if is_reference(topic) else f"{topic[: min(4, len(topic) // 3)]}…"
        return f"{parts.netloc}{parts.path.rstrip('/')}/{shown}"

    @property
    def target(self) -> str:
        """Return the host: servers count per caller, whatever the topic."""
        return f"ntfy:{urlsplit(self._base).netloc}"

    @property
    def buckets(self) -> tuple[tuple[str, Rate], ...]:
        """Return no limit for a server of the own network: it belongs to the admin."""
        return () if network.looks_local(urlsplit(self._base).hostname or "") else super().buckets

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return token, password, the header that is made of them, and a topic that is one, too."""
        topic = self._text("topic")
        hidden = topic if len(topic) >= GUESSABLE else ""  # words would be masked everywhere
        found = (hidden, self._text("access_token"), self._text("password"), self._basic())
        return tuple(filter(None, found))

    @property
    def _base(self) -> str:
        return self._text("server_url").rstrip("/")

    def _text(self, name: str) -> str:
        return str(self.config.get(name) or "")

    def _basic(self) -> str:
        if not self._text("username"):
            return ""
        pair = f"{self._text('username')}:{self._text('password')}"
        return base64.b64encode(pair.encode()).decode()

    def _login(self) -> dict[str, str]:
        if self._text("access_token"):
            return {"Authorization": f"Bearer {self._text('access_token')}"}
        return {"Authorization": f"Basic {self._basic()}"} if self._basic() else {}

    def render(self, message: Message) -> Rendered:
        """Return JSON for the server's root: headers would break names that are not ASCII."""
        topic = self._text("topic")
        known = tuple(secret for secret in self.secrets if secret != topic)
        message = plain.masked(message, known)
        link = message.link if self.config.get("click", True) else ""
        link = link if len(link) <= ADDRESS else ""
        payload = {
            "topic": topic,
            "title": fit(message.title or "–", TITLE, measure=_weight),
            "message": plain.body_of(message, MESSAGE, measure=_weight),
            "priority": self._priority(message.severity),
            "tags": [EMOJI[message.severity], *_tags(self.config.get("tags"))],
            "sequence_id": message.event_id,
        }
        if link:
            label = fit(message.link_label, LABEL, measure=utf8)
            payload |= {
                "click": link,
                "actions": [{"action": "view", "label": label or "Open", "url": link}],
            }
        return Rendered(
            body=json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode(),
            content_type="application/json",
            url=f"{self._base}/",
            headers=self._login(),
        )

    def _priority(self, severity: Severity) -> int:
        alarmed = severity in {Severity.FAILURE, Severity.CRITICAL}
        chosen = self.config.get("failure_priority" if alarmed else "priority")
        return PRIORITIES[severity] if chosen is None else int(chosen)

    def send(self, rendered: Rendered, outbound: Outbound, progress: dict[str, Any]) -> Receipt:
        """Post the message."""
        return deliver_http(
            rendered,
            outbound,
            service=self.label,
            reach=Reach.SELF_HOSTED,
            secrets=self.secrets,
            troubles=self.troubles,
            sort=_sort,
            way=self.way,
        )

    @classmethod
    def preview(cls, body: str, content_type: str) -> Preview:
        """Return the notification as the app shows it."""
        payload = json.loads(body)
        emoji, *tags = payload["tags"]
        return Preview(
            look="push",
            data={
                "app": "ntfy",
                "title": f"{SIGNS[emoji]} {payload['title']}",
                "message": payload["message"],
                "link": payload.get("click", ""),
                "link_label": next((one["label"] for one in payload.get("actions", ())), ""),
                "priority": f"Priority {payload['priority']} of 5",
                "loud": payload["priority"] >= 4,
                "tags": tags,
            },
        )


def _weight(value: str) -> int:
    """Return bytes of UTF-8, or two thirds of those inside JSON if that is more.

    So neither the limit of the message nor that of the whole JSON is passed, whatever has to be
    escaped.
    """
    return max(utf8(value), -(-utf8(variables.for_json(value)) * 2 // 3))


def next_day(now: datetime) -> timedelta:
    """Return the time until the daily counts of ntfy begin anew: a minute after 00:00 UTC."""
    tomorrow = now.astimezone(UTC).date() + timedelta(days=1)
    return datetime.combine(tomorrow, time(0, 1), UTC) - now


def _sort(answer: Answer) -> Sorted | None:
    """Return what ntfy's own code means; it sends no Retry-After."""
    said = said_in(answer)
    if not isinstance(said, dict) or not isinstance(said.get("code"), int):
        return None
    code, words = said["code"], text.one_line(str(said.get("error", "")))
    if code == _DAILY:
        hint = next_day(clock.now())
        return Sorted(permanent=False, code=str(code), words=words, retry_after=hint)
    known = _CODES.get(code)
    if known is None:
        return None
    return Sorted(
        permanent=known.permanent,
        breaks_channel=known.breaks_channel,
        code=str(code),
        words=words,
        retry_after=known.retry_after,
    )
