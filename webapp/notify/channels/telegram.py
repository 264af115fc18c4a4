"""Telegram: a bot that writes to a person, group or channel.

Method: https://core.telegram.org/bots/api#sendmessage
Formatting: https://core.telegram.org/bots/api#html-style
"""

import html
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from wtforms import BooleanField, SelectField, StringField
from wtforms.validators import DataRequired, ValidationError

from webapp.core import text
from webapp.core.buckets import Rate
from webapp.core.errors import ChannelError, PermanentError
from webapp.notify.channels.base import Channel, Preview, Receipt, Rendered, Trouble
from webapp.notify.channels.fields import (
    ChannelForm,
    OutboundUrlField,
    SecretField,
    proxy_field,
)
from webapp.notify.channels.http import (
    TROUBLES,
    Sorted,
    advice_for,
    as_seconds,
    deliver_http,
    retry_after,
    said_in,
)
from webapp.notify.layout import Laid, Limits, lay_out
from webapp.notify.message import Message, Severity
from webapp.notify.outbound import Answer, Outbound, Reach
from webapp.notify.shorten import fit, is_blank, utf16

TEXT: Final = 4096  # after parsing; in UTF-16 units, as clients of Telegram count
FACTS: Final = 40  # each is bold, and a message shows the formatting of 100 places at most
LIMITS: Final = Limits(
    total=TEXT - 100,
    title=250,
    text=2500,
    name=100,
    value=800,
    facts=FACTS,
    error=3000,
    footer=250,
    around=120,  # line breaks, "Error", the time
    around_fact=4,
)
OFFICIAL: Final = "https://api.telegram.org"
BUTTON: Final = 64
AFTER_REFUSAL: Final = 2000
"""Characters of a message that Telegram found too long."""

PER_CHAT: Final = Rate(seconds=1.0, burst=3)
PER_GROUP: Final = Rate(seconds=3.0, burst=20)
PER_BOT: Final = Rate(seconds=0.04, burst=25)

_CALM: Final = frozenset({Severity.INFO, Severity.SUCCESS})
_TOKEN: Final = re.compile(r"(?P<bot>[1-9]\d{4,15}):[A-Za-z0-9_-]{30,64}")
_CHAT: Final = re.compile(r"-?[1-9]\d{0,15}|@[A-Za-z][A-Za-z0-9_]{3,31}")
_TOPIC: Final = re.compile(r"[1-9]\d{0,9}")
_NAME: Final = re.compile(r"(?<![A-Za-z0-9_])@(?=\w)")
_JOINER: Final = "\u2060"
"""Invisible; keeps @name from being a mention, for which Telegram has no escape."""
_OURS: Final = re.compile(r"</?(?:b|i|pre)>")
_ACCEPTED: Final = re.compile(rb'\s*\{\s*"ok"\s*:\s*true\b')
_LONGEST_SILENCE: Final = timedelta(seconds=60)  # for a 429 of the edge, which gives no number

_SIGNS: Final[tuple[tuple[str, Sorted], ...]] = (
    # about the channel
    ("chat not found", Sorted(breaks_channel=True)),
    ("message thread not found", Sorted(breaks_channel=True)),
    ("TOPIC_CLOSED", Sorted(breaks_channel=True)),
    ("upgraded to a supergroup", Sorted(breaks_channel=True)),
    ("bot was blocked", Sorted(breaks_channel=True)),
    ("bot was kicked", Sorted(breaks_channel=True)),
    ("bot is not a member", Sorted(breaks_channel=True)),
    ("bot can't initiate conversation", Sorted(breaks_channel=True)),
    ("user is deactivated", Sorted(breaks_channel=True)),
    ("group chat was deleted", Sorted(breaks_channel=True)),
    ("group chat was deactivated", Sorted(breaks_channel=True)),
    ("not enough rights", Sorted(breaks_channel=True)),
    ("need administrator rights", Sorted(breaks_channel=True)),
    # about this message
    ("can't parse entities", Sorted()),
    ("message is too long", Sorted()),
    ("message text is empty", Sorted()),
    ("BUTTON_URL_INVALID", Sorted()),
    ("inline keyboard button", Sorted()),
)
_NOT_AS_HTML: Final = frozenset({"can't parse entities"})
_TOO_LONG: Final = frozenset({"message is too long"})
_NOT_WITH_BUTTON: Final = frozenset({"BUTTON_URL_INVALID", "inline keyboard button"})


def _check_token(value: str) -> None:
    if not _TOKEN.fullmatch(value):
        raise ValidationError(
            "Enter the token as @BotFather shows it: digits, a colon, and letters, such as "
            "123456789:AAE…"
        )


def _hint(value: str) -> str:
    found = _TOKEN.fullmatch(value)
    return f"bot {found['bot']}" if found else ""


class TokenField(SecretField):
    """A bot token; people also paste it with the "bot" that stands before it in addresses."""

    def process_formdata(self, valuelist: list[Any]) -> None:
        """Take the token alone."""
        super().process_formdata(valuelist)
        if self.data:
            self.data = re.sub(r"\Abot(?=\d)", "", self.data)


class TelegramForm(ChannelForm):
    """What a Telegram channel needs."""

    bound_to: ClassVar[tuple[str, ...]] = ("api_url", "proxy")

    advanced: ClassVar[tuple[str, ...]] = ("topic_id", "sound", "protect", "api_url", "proxy")

    bot_token = TokenField(
        "Bot token",
        required=True,
        check=_check_token,
        hint=_hint,
        missing="Enter the bot token.",
        render_kw={"placeholder": "123456789:AAE…"},
    )
    chat_id = StringField(
        "Chat ID",
        validators=[DataRequired("Enter the chat ID.")],
        description="A number (groups begin with -), or @name of a public channel or group.",
        render_kw={"placeholder": "-1001234567890", "inputmode": "text"},
    )
    topic_id = StringField("Topic ID", description="Posts into this topic of a group with topics.")
    sound = SelectField(
        "Sound",
        choices={
            "auto": "With sound when something is wrong",
            "always": "Always with sound",
            "never": "Always silent",
        },
        default="auto",
    )
    protect = BooleanField("Forbid forwarding and saving")
    api_url = OutboundUrlField(
        "Bot API server",
        default=OFFICIAL,
        description="Change this only for a Bot API server of your own.",
    )
    proxy = proxy_field()

    def validate_chat_id(self, field: StringField) -> None:
        """Check that this is a number or a public name."""
        if not _CHAT.fullmatch((field.data or "").strip()):
            raise ValidationError(
                "Enter the number of the chat, such as -1001234567890, or @name of a public "
                "channel or group. People are reached by number only."
            )

    def validate_topic_id(self, field: StringField) -> None:
        """Check that this is a number."""
        if field.data and not _TOPIC.fullmatch(field.data.strip()):
            raise ValidationError(
                "Enter the number of the topic: the last part but one of a link to a message in it."
            )

    def validate_api_url(self, field: OutboundUrlField) -> None:
        """Check that the official server is only called over https, and without a query."""
        parts = urlsplit(field.data or "")
        if parts.query or parts.fragment:
            raise ValidationError("Remove everything behind the path of the address.")
        if parts.hostname == urlsplit(OFFICIAL).hostname and parts.scheme != "https":
            raise ValidationError(f"Enter {OFFICIAL}.")


class Telegram(Channel):
    """A bot of Telegram."""

    type: ClassVar[str] = "telegram"
    label: ClassVar[str] = "Telegram"
    icon: ClassVar[str] = "telegram"
    tagline: ClassVar[str] = "Bot in a chat, group or channel"
    bundle_characters: ClassVar[int] = 1500
    setup_hint: ClassVar[str] = (
        "In Telegram: make a bot with @BotFather, start it or add it to the group, then enter its "
        "token and the chat."
    )
    form: ClassVar = TelegramForm
    rate: ClassVar[Rate | None] = PER_CHAT
    troubles: ClassVar[tuple[Trouble, ...]] = (
        Trouble(
            "401",
            "The bot token was revoked, or is wrong.",
            "Ask @BotFather for the token (/token) and enter it in this channel.",
        ),
        Trouble(
            "404",
            "Telegram does not know this token, or the address of the Bot API server is wrong.",
            "Enter the token again as @BotFather shows it, and check the Bot API server.",
        ),
        Trouble(
            "chat not found",
            "There is no such chat, or the bot has never met it.",
            "Check the chat ID. Press Start in the chat with the bot, or add the bot to the group.",
        ),
        Trouble(
            "message thread not found / TOPIC_CLOSED",
            "The topic was deleted or closed.",
            "Open the topic in Telegram, or enter another topic ID.",
        ),
        Trouble(
            "upgraded to a supergroup",
            "The group got a new ID, and Telegram did not say which.",
            "Enter the new chat ID of the group, which begins with -100.",
        ),
        Trouble(
            "bot was blocked / bot can't initiate conversation / user is deactivated",
            "The person has stopped the bot, never started it, or has left Telegram.",
            "Let the person press Start in the chat with the bot.",
        ),
        Trouble(
            "bot was kicked / bot is not a member / group chat was deleted / "
            "group chat was deactivated",
            "The bot is not in this group or channel any more.",
            "Add the bot to the group or channel again, or enter another chat ID.",
        ),
        Trouble(
            "not enough rights / need administrator rights / 403",
            "The bot may not write here.",
            "Give the bot the right to post. In a channel it must be an administrator.",
        ),
        Trouble(
            "can't parse entities / message is too long / message text is empty / "
            "BUTTON_URL_INVALID / inline keyboard button / 400",
            "Telegram did not accept the form of the message, in its simplest form neither.",
            "Report the answer as a fault of DBackup. Other messages are not affected.",
        ),
        Trouble(
            "200 without ok",
            "This is no Bot API server.",
            f"Check the Bot API server of this channel; the usual one is {OFFICIAL}.",
        ),
        Trouble(
            "429",
            "Telegram limits a bot to 1 message per second in a chat and 20 per minute in a group.",
            "Nothing: DBackup waits as long as Telegram asks. If it happens often, send fewer "
            "events to this channel.",
        ),
        Trouble("5xx", "Telegram has trouble.", "Nothing: DBackup tries again."),
        *TROUBLES,
    )

    @classmethod
    def summarize(cls, config: Mapping[str, Any]) -> str:
        """Return the chat, and the topic if there is one."""
        topic = f" · topic {config['topic_id']}" if config.get("topic_id") else ""
        return f"chat {config.get('chat_id', '')}{topic}"

    @property
    def target(self) -> str:
        """Return bot and chat: Telegram counts per chat."""
        return f"telegram:{self._bot}:{self._chat.casefold()}"

    @property
    def buckets(self) -> tuple[tuple[str, Rate], ...]:
        """Return the limits of the chat, of the group if it is one, and of the bot."""
        group = ((f"{self.target}:group", PER_GROUP),) if self._chat[:1] in {"-", "@"} else ()
        return ((self.target, PER_CHAT), *group, (f"telegram:{self._bot}", PER_BOT))

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return the token and its secret half."""
        token = str(self.config.get("bot_token", ""))
        return tuple(filter(None, (token, token.partition(":")[2])))

    @property
    def _bot(self) -> str:
        return str(self.config.get("bot_token", "")).partition(":")[0]

    @property
    def _chat(self) -> str:
        return str(self.config.get("chat_id", ""))

    @property
    def _server(self) -> str:
        return str(self.config.get("api_url") or OFFICIAL).rstrip("/")

    def render(self, message: Message) -> Rendered:
        """Return a message in Telegram's HTML."""
        laid = lay_out(message, LIMITS, escape=_unpinged, escape_title=_unpinged, escape_code=_code)
        payload: dict[str, Any] = {
            "chat_id": _number_or_name(self._chat),
            "text": _text(message, laid),
            "parse_mode": "HTML",
            "disable_notification": self._is_silent(message),
            "link_preview_options": {"is_disabled": True},
        }
        if self.config.get("topic_id"):
            payload["message_thread_id"] = int(self.config["topic_id"])
        if self.config.get("protect"):
            payload["protect_content"] = True
        if laid.link:
            button = {"text": fit(message.link_label, BUTTON), "url": laid.link}
            payload["reply_markup"] = {"inline_keyboard": [[button]]}
        return _with(
            Rendered(
                body=b"",
                content_type="application/json; charset=utf-8",
                url=f"{self._server}/bot{self.config.get('bot_token', '')}/sendMessage",
            ),
            payload,
        )

    def _is_silent(self, message: Message) -> bool:
        chosen = self.config.get("sound") or "auto"
        return chosen == "never" or (chosen == "auto" and message.severity in _CALM)

    def send(self, rendered: Rendered, outbound: Outbound, progress: dict[str, Any]) -> Receipt:
        """Send the message; follow a group that moved, and simplify what is refused for its form.

        Where the group moved to is remembered, also when the sending fails then.
        """
        for _ in range(_MOST_FORMS):
            if "moved_to" in progress:
                rendered = _with(rendered, {"chat_id": progress["moved_to"]})
            heard: list[Answer] = []
            try:
                receipt = self._post(rendered, outbound, heard)
            except ChannelError as error:
                simpler = self._otherwise(rendered, error, heard, progress)
                if simpler is None:
                    raise
                rendered = simpler
                continue
            changes = {"chat_id": str(progress["moved_to"])} if "moved_to" in progress else {}
            return replace(receipt, config_changes=changes)
        return self._post(rendered, outbound, [])

    def _post(self, rendered: Rendered, outbound: Outbound, heard: list[Answer]) -> Receipt:
        def sort(answer: Answer) -> Sorted | None:
            heard.append(answer)
            return _sort(answer)

        receipt = deliver_http(
            rendered,
            outbound,
            service=self.label,
            reach=Reach.HOSTED if self._server == OFFICIAL else Reach.SELF_HOSTED,
            secrets=self.secrets,
            troubles=self.troubles,
            way=self.way,
            sort=sort,
        )
        if not _ACCEPTED.match(receipt.excerpt.encode()):
            raise PermanentError(
                f"Telegram answered {receipt.status}, but not “ok”.",
                status=receipt.status,
                excerpt=receipt.excerpt,
                advice=advice_for(self.troubles, "200 without ok"),
                breaks_channel=True,
            )
        return receipt

    def _otherwise(
        self,
        rendered: Rendered,
        error: ChannelError,
        heard: list[Answer],
        progress: dict[str, Any],
    ) -> Rendered | None:
        """Return another form of the message that Telegram may take, if the answer names one."""
        moved_to = _parameters(heard[-1]).get("migrate_to_chat_id") if heard else None
        if isinstance(moved_to, int) and progress.get("moved_to") != moved_to:
            progress["moved_to"] = moved_to
            return rendered
        payload = json.loads(rendered.body)
        sign = (error.status or "").partition(" / ")[2]
        if sign in _NOT_AS_HTML and "parse_mode" in payload:
            return _as_plain(rendered, payload, TEXT)
        if sign in _TOO_LONG and utf16(payload["text"]) > AFTER_REFUSAL:
            return _as_plain(rendered, payload, AFTER_REFUSAL)
        if sign in _NOT_WITH_BUTTON and "reply_markup" in payload:
            return _as_plain(rendered, payload, TEXT)
        return None

    @classmethod
    def preview(cls, body: str, content_type: str) -> Preview:
        """Return the bubble as Telegram shows it."""
        payload = json.loads(body)
        rows = payload.get("reply_markup", {}).get("inline_keyboard", [])
        return Preview(
            look="telegram",
            data={
                "parts": _shown_parts(payload["text"]),
                "is_silent": payload["disable_notification"],
                "button": rows[0][0]["text"] if rows else "",
            },
        )


_MOST_FORMS: Final = 3


def _with(rendered: Rendered, changes: Mapping[str, Any]) -> Rendered:
    payload = {**(json.loads(rendered.body) if rendered.body else {}), **changes}
    body = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
    return replace(rendered, body=body)


def _as_plain(rendered: Rendered, payload: Mapping[str, Any], limit: int) -> Rendered:
    """Return the message without formatting and button; its link stands in the text."""
    words = payload["text"]
    if "parse_mode" in payload:
        words = html.unescape(_OURS.sub("", words))
    rows = payload.get("reply_markup", {}).get("inline_keyboard", [])
    link = f"\n{rows[0][0]['text']}: {rows[0][0]['url']}" if rows else ""
    plain = fit(words, limit - utf16(link), escape=_unpinged, keep_end=True) + link
    kept = {k: v for k, v in payload.items() if k not in {"parse_mode", "reply_markup"}}
    return _with(replace(rendered, body=b""), kept | {"text": plain})


def _text(message: Message, laid: Laid) -> str:
    """Return the HTML: every value is shortened before it is put between tags."""
    facts = [f"<b>{_escape(fact.name)}</b>: {_escape(fact.value)}" for fact in laid.facts]
    blocks = [
        "\n".join(filter(None, (f"<b>{_escape(laid.title)}</b>", _escape(laid.text)))),
        "\n".join(facts),
        f"<b>Error</b>\n<pre>{_escape(laid.error)}</pre>" if laid.error else "",
        f"<i>{_escape(message.time)} · {_escape(laid.footer)}</i>",
    ]
    return "\n\n".join(filter(None, blocks))


def _escape(value: str) -> str:
    return html.escape(value, quote=False)


def _unpinged(value: str) -> str:
    return _NAME.sub(f"@{_JOINER}", value)


def _code(value: str) -> str:
    return value  # nothing is a mention between <pre> and </pre>


def _number_or_name(chat: str) -> int | str:
    return chat if chat.startswith("@") or not chat else int(chat)


def _said(answer: Answer) -> dict[str, Any]:
    said = said_in(answer)
    return said if isinstance(said, dict) else {}


def _parameters(answer: Answer) -> dict[str, Any]:
    found = _said(answer).get("parameters")
    return found if isinstance(found, dict) else {}


def _sort(answer: Answer) -> Sorted | None:
    """Return what Telegram's description means; a 429 says in the body how long to wait."""
    words = text.one_line(str(_said(answer).get("description", "")))
    if answer.status == 429:
        hint = as_seconds(_parameters(answer).get("retry_after")) or retry_after(answer.headers)
        return Sorted(permanent=False, words=words, retry_after=hint or _LONGEST_SILENCE)
    if answer.status == 421 or answer.status >= 500:
        return Sorted(permanent=False, words=words)
    for sign, meant in _SIGNS:
        if sign in words:
            return replace(meant, code=sign, words=words.partition(": ")[2] or words)
    if words and answer.status in {401, 403, 404}:
        return Sorted(breaks_channel=True, words=words)
    return Sorted(words=words) if words else None


def _shown_parts(text_in_html: str) -> list[dict[str, str]]:
    """Return the runs of text, each with the tag that it stands in."""
    found, tag = [], ""
    for piece in re.split(r"(</?(?:b|i|pre)>)", text_in_html):
        if _OURS.fullmatch(piece):
            tag = "" if piece.startswith("</") else piece.strip("<>")
        elif not is_blank(piece) or "\n" in piece:
            found.append({"tag": tag, "text": html.unescape(piece.replace(_JOINER, ""))})
    return found
