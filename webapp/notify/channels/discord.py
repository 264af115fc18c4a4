"""Discord: a webhook of one text channel, forum or thread.

Limits: https://discord.com/developers/docs/resources/message#embed-object-embed-limits
Codes: https://discord.com/developers/docs/topics/opcodes-and-status-codes#json
"""

import json
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar, Final
from urllib.parse import parse_qs, urlencode, urlsplit

from wtforms import BooleanField, StringField
from wtforms.validators import ValidationError

from webapp import __version__
from webapp.core import text
from webapp.core.buckets import Rate
from webapp.notify import multipart
from webapp.notify.channels.base import Channel, Preview, Receipt, Rendered, Trouble
from webapp.notify.channels.fields import (
    ChannelForm,
    OutboundUrlField,
    SecretField,
    WordsField,
    proxy_field,
)
from webapp.notify.channels.http import (
    TROUBLES,
    Sorted,
    as_seconds,
    deliver_http,
    retry_after,
    said_in,
)
from webapp.notify.layout import is_linkable
from webapp.notify.message import Field, Message, Severity
from webapp.notify.outbound import Answer, Outbound, Reach
from webapp.notify.shorten import fit, utf16

TITLE: Final = 256
DESCRIPTION: Final = 4096
FIELDS: Final = 25
FIELD_NAME: Final = 256
FIELD_VALUE: Final = 1024
FOOTER: Final = 2048
TOTAL: Final = 6000 - 200  # of one message; 200 for what Discord may count differently
ADDRESS: Final = 2048
ATTACHMENT: Final = 4_000_000  # bytes; servers without boosts take 10 MB
SENDER: Final = 80

COLOURS: Final = {
    Severity.INFO: 3447003,
    Severity.SUCCESS: 3066993,
    Severity.WARNING: 15844367,
    Severity.FAILURE: 15158332,
    Severity.CRITICAL: 10038562,
}
_SEVERITIES: Final = {colour: severity for severity, colour in COLOURS.items()}
_ALARMS: Final = frozenset({Severity.FAILURE, Severity.CRITICAL})
_WEBHOOK: Final = re.compile(
    r"/api(?:/v\d+)?/webhooks/(?P<id>\d{15,22})/(?P<token>[\w-]{20,200})/?"
)
_HOSTS: Final = frozenset({"discord.com", "discordapp.com"})
_SPECIAL: Final = re.compile(r"[\\*_~|>#\-\[\]()`<]")
_ESCAPED: Final = re.compile(r"\\([\\*_~|>#\-\[\]()`<])")
_FENCE: Final = "```"
_SNOWFLAKE: Final = re.compile(r"\d{15,22}")
_MENTIONS: Final = 20

_CODES: Final[Mapping[int, Sorted]] = {
    # about the channel
    10015: Sorted(breaks_channel=True),
    50027: Sorted(breaks_channel=True),
    50001: Sorted(breaks_channel=True),
    50013: Sorted(breaks_channel=True),
    220001: Sorted(breaks_channel=True),
    220002: Sorted(breaks_channel=True),
    220003: Sorted(breaks_channel=True),
    160005: Sorted(breaks_channel=True),
    50083: Sorted(breaks_channel=True),
    # about this message
    50035: Sorted(),
    50006: Sorted(),
    50109: Sorted(),
    40005: Sorted(),
    200000: Sorted(),
    240000: Sorted(),
    # passing
    40004: Sorted(permanent=False),
    40006: Sorted(permanent=False),
    40062: Sorted(permanent=False),
    130000: Sorted(permanent=False),
}
_LONGEST_SILENCE: Final = timedelta(seconds=60)  # for a 429 of the edge, which gives no number


def _check_webhook(value: str) -> None:
    parts = urlsplit(value)
    if parts.path.rstrip("/").endswith(("/slack", "/github")):
        raise ValidationError("Remove /slack or /github from the end of the webhook URL.")
    if (
        parts.scheme != "https"
        or _host(parts.hostname) not in _HOSTS
        or not _WEBHOOK.fullmatch(parts.path)
    ):
        raise ValidationError(
            "Enter the webhook URL as Discord shows it: https://discord.com/api/webhooks/…"
        )


def _host(name: str | None) -> str:
    return (name or "").removeprefix("ptb.").removeprefix("canary.")


def _hint(value: str) -> str:
    found = _WEBHOOK.fullmatch(urlsplit(value).path)
    return f"discord.com/api/webhooks/{found['id'][:4]}…" if found else ""


class IdsField(WordsField):
    """Ids of Discord; `data` is a list."""

    def pre_validate(self, form: Any) -> None:
        """Check every id."""
        found: Any = self.data or ()
        if len(found) > _MENTIONS:
            raise ValidationError(f"Enter at most {_MENTIONS} IDs.")
        if not all(_SNOWFLAKE.fullmatch(identifier) for identifier in found):
            raise ValidationError(
                "Use IDs of 17 to 20 digits. In Discord, switch on Developer Mode, right-click the "
                "role or person and choose Copy ID."
            )


class DiscordForm(ChannelForm):
    """What a Discord channel needs."""

    advanced: ClassVar[tuple[str, ...]] = (
        "avatar_url", "mention_users", "thread_id", "thread_name", "silent", "proxy",
    )  # fmt: skip

    webhook_url = SecretField(
        "Webhook URL",
        required=True,
        check=_check_webhook,
        hint=_hint,
        render_kw={"placeholder": "https://discord.com/api/webhooks/…"},
    )
    sender_name = StringField(
        "Sender name",
        default="DBackup",
        description="Shown above the message. Empty: the name of the webhook.",
    )
    mention_roles = IdsField(
        "Roles to mention on failure",
        description="IDs of roles. In Discord, right-click the role and choose Copy Role ID.",
        render_kw={"rows": 1, "inputmode": "numeric"},
    )
    mention_users = IdsField(
        "People to mention on failure",
        description="IDs of people. In Discord, right-click the person and choose Copy User ID.",
        render_kw={"rows": 1, "inputmode": "numeric"},
    )
    avatar_url = OutboundUrlField(
        "Picture", description="Address of an image (https). Empty: the picture of the webhook."
    )
    thread_id = StringField(
        "Thread ID", description="Posts into this thread of the webhook's channel."
    )
    thread_name = StringField(
        "Name of new posts",
        description="Only for forum channels: each message becomes a post with this name.",
    )
    silent = BooleanField("Send without notification sound")
    proxy = proxy_field()

    def validate_sender_name(self, field: StringField) -> None:
        """Check what Discord demands of names."""
        name = (field.data or "").strip()
        if utf16(name) > SENDER:
            raise ValidationError(f"Use at most {SENDER} characters.")
        if any(word in name.lower() for word in ("clyde", "discord")):
            raise ValidationError("Discord refuses names with “discord” or “clyde”. Use another.")

    def validate_avatar_url(self, field: OutboundUrlField) -> None:
        """Check that Discord can show the picture."""
        if field.data and (not field.data.startswith("https://") or len(field.data) > ADDRESS):
            raise ValidationError("Enter an address that begins with https://.")

    def validate_thread_id(self, field: StringField) -> None:
        """Check the id and that it is not mixed with new posts."""
        if field.data and not _SNOWFLAKE.fullmatch(field.data.strip()):
            raise ValidationError("Use the thread's ID, 17 to 20 digits.")
        if field.data and self.thread_name.data:
            raise ValidationError("Enter a thread ID or a name for new posts, not both.")

    def validate_thread_name(self, field: StringField) -> None:
        """Check the length that Discord allows."""
        if utf16((field.data or "").strip()) > 100:
            raise ValidationError("Use at most 100 characters.")


class Discord(Channel):
    """A webhook of Discord."""

    type: ClassVar[str] = "discord"
    label: ClassVar[str] = "Discord"
    icon: ClassVar[str] = "discord"
    tagline: ClassVar[str] = "Webhook to one channel"
    setup_hint: ClassVar[str] = (
        "In Discord: Channel settings → Integrations → Webhooks → Copy webhook URL."
    )
    form: ClassVar = DiscordForm
    rate: ClassVar[Rate | None] = Rate(seconds=2.0, burst=5)
    troubles: ClassVar[tuple[Trouble, ...]] = (
        Trouble(
            "404 / 10015",
            "The webhook was deleted in Discord.",
            "Make a new webhook in Discord and enter its URL in this channel.",
        ),
        Trouble(
            "401 / 50027",
            "The token in the webhook URL is wrong.",
            "Copy the webhook URL in Discord again and enter it in this channel.",
        ),
        Trouble(
            "403 / 50001 / 50013",
            "The webhook may not post to this channel or thread.",
            "Check the channel's permissions in Discord, or make a new webhook.",
        ),
        Trouble(
            "220001 / 220002",
            "The webhook belongs to a forum, which takes posts with a name or in a thread only.",
            "Enter a name for new posts or a thread ID in this channel.",
        ),
        Trouble(
            "220003",
            "The webhook belongs to a text channel, which has no posts with names.",
            "Remove the name for new posts from this channel.",
        ),
        Trouble(
            "160005 / 50083",
            "The thread is locked or archived.",
            "Open the thread in Discord, or enter another thread ID.",
        ),
        Trouble(
            "200000 / 240000",
            "The server's AutoMod or Discord's link check refused this message.",
            "Allow the webhook in the server's AutoMod rules, then resend the message.",
        ),
        Trouble(
            "400 / 50035 / 50006 / 50109",
            "Discord did not accept the form of the message; its answer names the part.",
            "Check sender name, picture and thread of this channel. If they are right, report the "
            "answer as a fault of DBackup.",
        ),
        Trouble(
            "413 / 40005",
            "The message with its attachment was too large.",
            "Look at the full error in DBackup. Nothing has to be changed in this channel.",
        ),
        Trouble(
            "429",
            "Discord limits how many messages a webhook may post.",
            "Nothing: DBackup waits as long as Discord asks. If it happens often, send fewer "
            "events to this channel.",
        ),
        Trouble(
            "5xx / 130000",
            "Discord has trouble.",
            "Nothing: DBackup tries again. See discordstatus.com.",
        ),
        *TROUBLES,
    )

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config)
        found = _WEBHOOK.fullmatch(urlsplit(str(config.get("webhook_url", ""))).path)
        self._id, self._token = (found["id"], found["token"]) if found else ("", "")

    @classmethod
    def summarize(cls, config: Mapping[str, Any]) -> str:
        """Return the beginning of the webhook's id, or the reference to the URL."""
        shown = DiscordForm(stored=config).webhook_url.hint
        return shown or "webhook"

    @property
    def target(self) -> str:
        """Return the webhook's id: Discord counts per webhook."""
        return f"discord:{self._id}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return the URL and its token, which is the only credential."""
        url = str(self.config.get("webhook_url", ""))
        return tuple(filter(None, (url, self._token)))

    def render(self, message: Message) -> Rendered:
        """Return one embed, and the whole error as a file when it does not fit in."""
        frame = _frame(message)
        room = _error_room(frame)
        payload = {**self._envelope(message), "embeds": [_embed(message, frame, room)]}
        body = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
        content_type = "application/json"
        if message.error and utf16(_code(message.error)) > room:
            error = message.error.encode()[:ATTACHMENT].decode("utf-8", "ignore")
            body, content_type = multipart.build(
                body, "error.txt", error.encode(), seed=message.delivery_id
            )
        return Rendered(
            body=body,
            content_type=content_type,
            url=self._url(),
            headers={"User-Agent": _agent(message.link)},
        )

    def send(self, rendered: Rendered, outbound: Outbound, progress: dict[str, Any]) -> Receipt:
        """Post the message and wait until Discord has stored it."""
        return deliver_http(
            rendered,
            outbound,
            service=self.label,
            reach=Reach.HOSTED,
            secrets=self.secrets,
            troubles=self.troubles,
            way=self.way,
            sort=_sort,
        )

    @classmethod
    def preview(cls, body: str, content_type: str) -> Preview:
        """Return the embed and the attachment as Discord shows them."""
        attachment = None
        if content_type.startswith("multipart/"):
            body, attachment = multipart.parts(body, content_type)
        payload = json.loads(body)
        embed = payload["embeds"][0]
        return Preview(
            look="discord",
            data={
                "sender": payload.get("username") or "DBackup",
                "mentions": _MENTION.findall(payload.get("content", "")),
                "title": _shown(embed["title"]),
                "link": embed.get("url", ""),
                "description": _shown(embed.get("description", "")),
                "severity": _SEVERITIES[embed["color"]].value,
                "fields": [_shown_field(field) for field in embed["fields"]],
                "footer": embed["footer"]["text"],
                "time": embed["timestamp"],
                "attachment": attachment,
            },
        )

    def _url(self) -> str:
        """Return the address with the version, without which Discord uses an abandoned one."""
        parts = urlsplit(str(self.config.get("webhook_url", "")))
        thread = self.config.get("thread_id") or parse_qs(parts.query).get("thread_id", [""])[0]
        query = urlencode({"wait": "true"} | ({"thread_id": thread} if thread else {}))
        return f"https://discord.com/api/v10/webhooks/{self._id}/{self._token}?{query}"

    def _envelope(self, message: Message) -> dict[str, Any]:
        """Return what surrounds the embed: sender, mentions, place."""
        alarmed = message.severity in _ALARMS
        roles = list(self.config.get("mention_roles") or ()) if alarmed else []
        users = list(self.config.get("mention_users") or ()) if alarmed else []
        mentions = {"roles": roles, "users": users} if roles or users else {}
        ping = " ".join([*(f"<@&{role}>" for role in roles), *(f"<@{user}>" for user in users)])
        return {
            "allowed_mentions": {"parse": [], **mentions},
            **_filled("content", ping),
            **_filled("username", self.config.get("sender_name")),
            **_filled("avatar_url", self.config.get("avatar_url")),
            **_filled("thread_name", self.config.get("thread_name")),
            **_filled("flags", 4096 if self.config.get("silent") else 0),
        }


_MENTION: Final = re.compile(r"<@&?\d+>")


def _filled(key: str, value: Any) -> dict[str, Any]:
    return {key: value} if value else {}


def _escape(value: str) -> str:
    return _SPECIAL.sub(r"\\\g<0>", value)


def _in_fence(value: str) -> str:
    return value.replace("`", "`\u200b") if _FENCE in value else value


def _code(value: str) -> str:
    return f"{_FENCE}\n{_in_fence(value)}\n{_FENCE}"


def _fitted_code(value: str, room: int) -> str:
    inner = fit(value, room - utf16(_code("")) - 1, escape=_in_fence, keep_end=True)
    return f"{_FENCE}\n{inner}\n{_FENCE}"


def _error_room(frame: Mapping[str, Any]) -> int:
    """Return how much of the error fits: its field, less what the rest needs too much."""
    rest = _size(frame) + len("Error")
    return max(300, min(FIELD_VALUE, TOTAL - rest))


def _embed(message: Message, frame: Mapping[str, Any], room: int) -> dict[str, Any]:
    """Return the embed within the total: the error gives way first, then text, then fields."""
    fields, description = list(frame["fields"]), frame["description"]
    error = [_error(message.error, room)] if message.error else []
    excess = _size({**frame, "fields": fields + error}) - TOTAL
    if excess > 0:
        kept = max(300, utf16(description) - excess)
        description = fit(_description(message), kept, escape=_escape)
        frame = {**frame, "description": description}
    while fields and _size({**frame, "fields": fields + error}) > TOTAL:
        fields.pop()
    whole = {**frame, "fields": fields + error}
    return whole if description else {k: v for k, v in whole.items() if k != "description"}


def _error(error: str, room: int) -> dict[str, Any]:
    return {"name": "Error", "value": _fitted_code(error, room), "inline": False}


def _frame(message: Message) -> dict[str, Any]:
    """Return the embed without its error, each part within its own limit."""
    kept = message.fields[: FIELDS - bool(message.error)]
    return {
        "title": fit(message.title or "–", TITLE, escape=_escape),
        **_filled("url", message.link if is_linkable(message.link, ADDRESS) else ""),
        "description": fit(_description(message), DESCRIPTION, escape=_escape),
        "color": COLOURS[message.severity],
        "timestamp": message.occurred_at.isoformat(),
        "fields": [_field(field) for field in kept],
        "footer": {"text": fit(message.footer, FOOTER // 8)},
    }


def _description(message: Message) -> str:
    link = "" if is_linkable(message.link, ADDRESS) else f"{message.link_label}: {message.link}"
    return "\n".join(filter(None, (message.text.strip(), message.late_note, link)))


def _field(field: Field) -> dict[str, Any]:
    return {
        "name": fit(field.name.strip() or "–", FIELD_NAME, escape=_escape),
        "value": fit(field.value.strip() or "–", FIELD_VALUE, escape=_escape),
        "inline": field.short,
    }


def _size(embed: Mapping[str, Any]) -> int:
    """Return what counts towards the total."""
    fields = sum(utf16(field["name"]) + utf16(field["value"]) for field in embed["fields"])
    return (
        utf16(embed["title"])
        + utf16(embed["description"])
        + utf16(embed["footer"]["text"])
        + fields
    )


def _agent(link: str) -> str:
    """Return the form that Discord asks for; its edge may stop other agents."""
    parts = urlsplit(link)
    return f"DiscordBot ({parts.scheme}://{parts.netloc}, {__version__})"


def _sort(answer: Answer) -> Sorted | None:
    """Return what Discord's own code means; a 429 counts in fractions of seconds."""
    said = said_in(answer)
    said = said if isinstance(said, dict) else {}
    code = said["code"] if isinstance(said.get("code"), int) else 0
    words = text.one_line(str(said.get("message", "")))
    shown = str(code) if code else ""
    if answer.status == 429:
        hint = as_seconds(said.get("retry_after")) or retry_after(answer.headers)
        return Sorted(
            permanent=False, code=shown, words=words, retry_after=hint or _LONGEST_SILENCE
        )
    if code in _CODES:
        known = _CODES[code]
        return Sorted(
            permanent=known.permanent, breaks_channel=known.breaks_channel, code=shown, words=words
        )
    return None


def _shown(value: str) -> str:
    return _ESCAPED.sub(r"\1", value)


def _shown_field(field: Mapping[str, Any]) -> dict[str, Any]:
    value = field["value"]
    code = value.startswith(_FENCE)
    return {
        "name": _shown(field["name"]),
        "value": value.strip("`\n").replace("\u200b", "") if code else _shown(value),
        "inline": field["inline"],
        "code": code,
    }
