"""Slack: an incoming webhook of one channel.

Limits: https://docs.slack.dev/reference/block-kit/blocks
Escaping: https://docs.slack.dev/messaging/formatting-message-text
"""

import html
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from wtforms.validators import ValidationError

from webapp.core.buckets import Rate
from webapp.core.errors import PermanentError, TransientError
from webapp.notify.channels.base import Channel, Preview, Receipt, Rendered, Trouble
from webapp.notify.channels.fields import (
    ChannelForm,
    SecretField,
    WordsField,
    proxy_field,
)
from webapp.notify.channels.http import TROUBLES, Sorted, advice_for, deliver_http
from webapp.notify.layout import Laid, Limits, lay_out
from webapp.notify.message import Field, Message, Severity
from webapp.notify.outbound import Answer, Outbound, Reach

HEADER: Final = 150
SECTION: Final = 3000
FIELD: Final = 2000
FIELDS_PER_SECTION: Final = 10
BUTTON: Final = 75
TOTAL: Final = 12_000  # of all blocks; not documented, about 13,200 were seen to be refused
LIMITS: Final = Limits(
    total=TOTAL,
    title=HEADER,
    text=SECTION - 100,
    name=150,
    value=1000,
    facts=30,
    error=SECTION - 100,
    around=1200,  # the JSON of the blocks, which Slack may count
    around_fact=60,
)

COLOURS: Final = {
    Severity.INFO: "#3498db",
    Severity.SUCCESS: "#2ecc71",
    Severity.WARNING: "#f1c40f",
    Severity.FAILURE: "#e74c3c",
    Severity.CRITICAL: "#992d22",
}
_SEVERITIES: Final = {colour: severity for severity, colour in COLOURS.items()}
_ALARMS: Final = frozenset({Severity.FAILURE, Severity.CRITICAL})
_HOSTS: Final = frozenset({"hooks.slack.com", "hooks.slack-gov.com"})
_WEBHOOK: Final = re.compile(
    r"/services/(?P<team>T[A-Z0-9]{6,})/(?P<hook>B[A-Z0-9]{6,})/(?P<token>[A-Za-z0-9]{16,})"
)
_MENTION: Final = re.compile(r"here|channel|[UWS][A-Z0-9]{6,20}")
_MENTIONS: Final = 20
_JOINER: Final = "\u034f"
"""Invisible; keeps a sign from being read as formatting, for which Slack has no escape."""
_FORMATTING: Final = re.compile(
    r"(?P<mark>(?<![^\W_])[*_~]|[*_~](?![^\W_])|`|^[ \t]*>)"
    r"|:(?=[a-z0-9_+'-]{0,40}[a-z][a-z0-9_+'-]{0,40}:)",
    re.MULTILINE,
)

_CODES: Final[Mapping[str, Sorted]] = {
    # about the channel
    "invalid_token": Sorted(breaks_channel=True),
    "action_prohibited": Sorted(breaks_channel=True),
    "channel_not_found": Sorted(breaks_channel=True),
    "channel_is_archived": Sorted(breaks_channel=True),
    "no_active_hooks": Sorted(breaks_channel=True),
    "no_service": Sorted(breaks_channel=True),
    "no_service_id": Sorted(breaks_channel=True),
    "no_team": Sorted(breaks_channel=True),
    "team_disabled": Sorted(breaks_channel=True),
    "posting_to_general_channel_denied": Sorted(breaks_channel=True),
    # about this message
    "invalid_payload": Sorted(),
    "invalid_blocks": Sorted(),
    "invalid_attachments": Sorted(),
    "msg_blocks_too_long": Sorted(),
    "no_text": Sorted(),
    "too_many_attachments": Sorted(),
    "user_not_found": Sorted(),
    # passing
    "rollup_error": Sorted(permanent=False),
}
_NOT_AS_CARD: Final = ("invalid_attachments",)
_NOT_AS_BLOCKS: Final = ("invalid_attachments", "invalid_blocks", "msg_blocks_too_long")


def _check_webhook(value: str) -> None:
    parts = urlsplit(value)
    if parts.hostname in _HOSTS and parts.path.startswith(("/workflows/", "/triggers/")):
        raise ValidationError(
            "This starts a workflow, which cannot show our messages. In Slack, add the app "
            "Incoming Webhooks and copy the URL that begins with https://hooks.slack.com/services/."
        )
    if (
        parts.scheme != "https"
        or parts.netloc not in _HOSTS
        or parts.query
        or not _WEBHOOK.fullmatch(parts.path)
    ):
        raise ValidationError(
            "Enter the webhook URL as Slack shows it: https://hooks.slack.com/services/T…/B…/…"
        )


def _hint(value: str) -> str:
    found = _WEBHOOK.fullmatch(urlsplit(value).path)
    return f"webhook …/{found['hook'][:4]}…" if found else ""


class MentionsField(WordsField):
    """Whom to mention: here, channel, and ids of people and groups; `data` is a list."""

    def normalized(self, word: str) -> str:
        """Return the word without the signs that people know from Slack's editor."""
        bare = word.strip("<>!@^").removeprefix("subteam^")
        return bare.lower() if bare.lower() in {"here", "channel"} else bare.upper()

    def pre_validate(self, form: Any) -> None:
        """Check every word."""
        found: Any = self.data or ()
        if len(found) > _MENTIONS:
            raise ValidationError(f"Enter at most {_MENTIONS} mentions.")
        if not all(_MENTION.fullmatch(word) for word in found):
            raise ValidationError(
                "Use here, channel, or IDs that begin with U, W (people) or S (groups). In Slack, "
                "open the person's profile, then ⋮ and Copy member ID."
            )


class SlackForm(ChannelForm):
    """What a Slack channel needs."""

    advanced: ClassVar[tuple[str, ...]] = ("proxy",)

    webhook_url = SecretField(
        "Webhook URL",
        required=True,
        check=_check_webhook,
        hint=_hint,
        missing="Enter the webhook URL.",
        render_kw={"placeholder": "https://hooks.slack.com/services/…"},
    )
    mentions = MentionsField(
        "Mention on failure",
        description="here, channel, or IDs of people and groups. Empty: nobody.",
        render_kw={"rows": 1},
    )
    proxy = proxy_field()


class Slack(Channel):
    """An incoming webhook of Slack."""

    type: ClassVar[str] = "slack"
    label: ClassVar[str] = "Slack"
    icon: ClassVar[str] = "slack"
    tagline: ClassVar[str] = "Incoming webhook"
    bundle_characters: ClassVar[int] = 1500
    setup_hint: ClassVar[str] = (
        "In Slack: api.slack.com/apps → your app → Incoming Webhooks → Add New Webhook."
    )
    form: ClassVar = SlackForm
    rate: ClassVar[Rate | None] = Rate(seconds=1.2, burst=3)
    troubles: ClassVar[tuple[Trouble, ...]] = (
        Trouble(
            "no_service / no_service_id / no_active_hooks / 404",
            "The webhook was removed or switched off in Slack.",
            "Add a new webhook to the app in Slack and enter its URL in this channel.",
        ),
        Trouble(
            "invalid_token / 401",
            "The last part of the webhook URL is wrong, or was renewed.",
            "Copy the webhook URL in Slack again and enter it in this channel.",
        ),
        Trouble(
            "channel_not_found",
            "The channel of the webhook does not exist any more.",
            "Add a webhook for another channel in Slack and enter its URL here.",
        ),
        Trouble(
            "channel_is_archived / 410",
            "The channel of the webhook was archived.",
            "Unarchive the channel in Slack, or add a webhook for another one.",
        ),
        Trouble(
            "action_prohibited / posting_to_general_channel_denied / 403",
            "An administrator of the workspace restricts who may post.",
            "Ask an administrator of the workspace to allow the app, or use another channel.",
        ),
        Trouble(
            "no_team / team_disabled",
            "The workspace does not exist any more.",
            "Add a webhook in another workspace and enter its URL in this channel.",
        ),
        Trouble(
            "user_not_found",
            "Slack does not know one of the people to mention.",
            "Correct the IDs under Mention on failure.",
        ),
        Trouble(
            "invalid_payload / invalid_blocks / invalid_attachments / msg_blocks_too_long / "
            "no_text / too_many_attachments / 400",
            "Slack did not accept the form of the message, in its simplest form neither.",
            "Report the answer as a fault of DBackup. Other messages are not affected.",
        ),
        Trouble(
            "200 without ok",
            "Something answered in Slack's place, or Slack did not take the message.",
            "Look whether a proxy stands between this server and Slack. DBackup tries again.",
        ),
        Trouble(
            "429",
            "Slack limits a webhook to about one message per second.",
            "Nothing: DBackup waits as long as Slack asks. If it happens often, send fewer events "
            "to this channel.",
        ),
        Trouble(
            "5xx / rollup_error",
            "Slack has trouble.",
            "Nothing: DBackup tries again. See slack-status.com.",
        ),
        *TROUBLES,
    )

    @classmethod
    def summarize(cls, config: Mapping[str, Any]) -> str:
        """Return the beginning of the webhook's id, or the reference to the URL."""
        return SlackForm(stored=config).webhook_url.hint or "webhook"

    @property
    def target(self) -> str:
        """Return the webhook's path: Slack counts per webhook."""
        return f"slack:{urlsplit(self._url).path}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return the URL and its token, which is the only credential."""
        found = _WEBHOOK.fullmatch(urlsplit(self._url).path)
        return tuple(filter(None, (self._url, found["token"] if found else "")))

    @property
    def _url(self) -> str:
        return str(self.config.get("webhook_url", ""))

    def render(self, message: Message) -> Rendered:
        """Return one attachment of blocks, whose colour says how bad it is."""
        laid = lay_out(message, LIMITS, escape=_escape, escape_title=_bare, escape_code=_in_fence)
        title = html.escape(laid.title, quote=False)
        card = {
            "color": COLOURS[message.severity],
            "fallback": title,
            "blocks": _blocks(message, laid),
        }
        text = " ".join([*self._mentioned(message), title])
        return _rendered(self._url, {"text": text, **_QUIET, "attachments": [card]})

    def _mentioned(self, message: Message) -> list[str]:
        if message.severity not in _ALARMS:
            return []
        return [_mention(word) for word in self.config.get("mentions") or ()]

    def send(self, rendered: Rendered, outbound: Outbound, progress: dict[str, Any]) -> Receipt:
        """Post the message; what Slack refuses for its form goes once more in a simpler one."""
        try:
            return self._post(rendered, outbound)
        except PermanentError as error:
            code = _code_of(error)
            if code in _NOT_AS_CARD:
                try:
                    return self._post(_as_blocks(rendered), outbound)
                except PermanentError as again:
                    code = _code_of(again)
            if code in _NOT_AS_BLOCKS:
                return self._post(_as_text(rendered), outbound)
            raise

    def _post(self, rendered: Rendered, outbound: Outbound) -> Receipt:
        receipt = deliver_http(
            rendered,
            outbound,
            service=self.label,
            reach=Reach.HOSTED,
            secrets=self.secrets,
            troubles=self.troubles,
            way=self.way,
            sort=_sort,
        )
        if receipt.excerpt.strip() != "ok":
            raise TransientError(
                f"Slack answered {receipt.status}, but not “ok”.",
                status=receipt.status,
                excerpt=receipt.excerpt,
                advice=advice_for(self.troubles, "200 without ok"),
                maybe_sent=True,
            )
        return receipt

    @classmethod
    def preview(cls, body: str, content_type: str) -> Preview:
        """Return the card as Slack shows it."""
        payload = json.loads(body)
        card = payload["attachments"][0]
        blocks = {block["block_id"]: block for block in card["blocks"]}
        button = blocks["open"]["elements"][0]["text"]["text"] if "open" in blocks else ""
        return Preview(
            look="slack",
            data={
                "mentions": [_mention_shown(word) for word in _PINGS.findall(payload["text"])],
                "fallback": _shown(_PINGS.sub("", payload["text"]).strip()),
                "severity": _SEVERITIES[card["color"]].value,
                "title": blocks["title"]["text"]["text"],
                "text": _shown(blocks["text"]["text"]["text"]) if "text" in blocks else "",
                "fields": _shown_fields(card["blocks"]),
                "error": _shown_error(blocks),
                "footer": _shown(_DATE.sub(r"\1", blocks["footer"]["elements"][0]["text"])),
                "button": button,
            },
        )


_QUIET: Final = {"unfurl_links": False, "unfurl_media": False}
_PINGS: Final = re.compile(r"<[!@][^<>]+>")
_DATE: Final = re.compile(r"<!date\^\d+\^[^|<>]*\|([^<>]*)>")
_FENCE: Final = "```"


def _rendered(url: str, payload: Mapping[str, Any]) -> Rendered:
    body = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
    return Rendered(body=body, content_type="application/json; charset=utf-8", url=url)


def _as_blocks(rendered: Rendered) -> Rendered:
    """Return the message without the coloured card; mentions move to where they are seen."""
    payload = json.loads(rendered.body)
    blocks = payload.pop("attachments")[0]["blocks"]
    pings = " ".join(_PINGS.findall(payload["text"]))
    if pings:
        blocks.insert(0, {"type": "section", "block_id": "pings", "text": _mrkdwn(pings)})
    return replace(rendered, body=_rendered("", payload | {"blocks": blocks}).body)


def _as_text(rendered: Rendered) -> Rendered:
    """Return the message as nothing but text."""
    payload = json.loads(rendered.body)
    blocks = {block["block_id"]: block for block in payload.pop("attachments")[0]["blocks"]}
    lines = [blocks[name]["text"]["text"] for name in ("text", "error") if name in blocks]
    button = blocks["open"]["elements"][0] if "open" in blocks else None
    if button:
        lines.append(f"<{html.escape(button['url'], quote=False)}>")
    payload["text"] = "\n".join([payload["text"], *lines])
    return replace(rendered, body=_rendered("", payload).body)


def _blocks(message: Message, laid: Laid) -> list[dict[str, Any]]:
    """Return title, text, facts, error, footer and link as blocks."""
    title = {"type": "plain_text", "text": laid.title, "emoji": False}
    blocks: list[dict[str, Any]] = [{"type": "header", "block_id": "title", "text": title}]
    if laid.text:
        blocks.append(_section("text", laid.text))
    blocks += _facts(laid.facts)
    if laid.error:
        blocks.append(_section("error", f"*Error*\n{_FENCE}\n{laid.error}\n{_FENCE}"))
    moment = int(message.occurred_at.timestamp())
    time = f"<!date^{moment}^{{date_short_pretty}} {{time_secs}}|{_plain_time(message.time)}>"
    footer = _mrkdwn(f"{time} · {laid.footer}")
    blocks.append({"type": "context", "block_id": "footer", "elements": [footer]})
    if laid.link:
        button = {
            "type": "button",
            "action_id": "open",
            "text": {"type": "plain_text", "text": message.link_label[:BUTTON], "emoji": False},
            "url": laid.link,
        }
        blocks.append({"type": "actions", "block_id": "open", "elements": [button]})
    return blocks


def _facts(facts: tuple[Field, ...]) -> list[dict[str, Any]]:
    """Return sections of short facts side by side; a long fact has its own line."""
    sections: list[dict[str, Any]] = []
    for fact in facts:
        words = _mrkdwn(f"*{fact.name}*\n{fact.value}")
        last = sections[-1] if sections else {}
        if fact.short and 0 < len(last.get("fields", ())) < FIELDS_PER_SECTION:
            last["fields"].append(words)
            continue
        place = {"fields": [words]} if fact.short else {"text": words}
        sections.append({"type": "section", "block_id": f"facts-{len(sections)}", **place})
    return sections


def _section(name: str, words: str) -> dict[str, Any]:
    return {"type": "section", "block_id": name, "text": _mrkdwn(words)}


def _mrkdwn(words: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": words, "verbatim": True}


def _mention(word: str) -> str:
    if word in {"here", "channel"}:
        return f"<!{word}>"
    return f"<!subteam^{word}>" if word.startswith("S") else f"<@{word}>"


def _bare(value: str) -> str:
    return value


def _escape(value: str) -> str:
    """Return text that Slack shows as it is: it cannot mention, link or be formatted."""
    return html.escape(_FORMATTING.sub(_broken, value), quote=False)


def _broken(found: re.Match[str]) -> str:
    return f"{_JOINER}{found[0]}" if found["mark"] else f":{_JOINER}"


def _in_fence(value: str) -> str:
    apart = value.replace("`", f"`{_JOINER}") if _FENCE in value else value
    return html.escape(apart, quote=False)


def _plain_time(value: str) -> str:
    return re.sub(r"[<>|&]", "", value)


def _code_of(error: PermanentError) -> str:
    return (error.status or "").partition(" / ")[2]


def _sort(answer: Answer) -> Sorted | None:
    """Return what the word in Slack's answer means."""
    word = answer.body[:100].decode("utf-8", "replace").strip()
    known = _CODES.get(word)
    return replace(known, code=word) if known else None


def _shown(value: str) -> str:
    return html.unescape(value.replace(_JOINER, ""))


def _mention_shown(ping: str) -> str:
    return "@" + ping.strip("<>!@").removeprefix("subteam^")


def _shown_fields(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    sections = [block for block in blocks if block["block_id"].startswith("facts-")]
    found = []
    for section in sections:
        short = "fields" in section
        for words in section["fields"] if short else [section["text"]]:
            name, _, value = words["text"].partition("*\n")
            found.append({"name": _shown(name[1:]), "value": _shown(value), "short": short})
    return found


def _shown_error(blocks: Mapping[str, Mapping[str, Any]]) -> str:
    if "error" not in blocks:
        return ""
    words = str(blocks["error"]["text"]["text"])
    return _shown(words.partition(f"{_FENCE}\n")[2].removesuffix(f"\n{_FENCE}"))
