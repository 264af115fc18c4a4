"""Microsoft Teams: a workflow that starts when a webhook request is received.

Card: https://adaptivecards.io/explorer/ (version 1.4)
Size: https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using
"""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final
from urllib.parse import parse_qs, urlsplit

from wtforms import SelectField
from wtforms.validators import ValidationError

from webapp.core import text
from webapp.core.buckets import Rate
from webapp.notify.channels.base import Channel, Preview, Receipt, Rendered, Trouble
from webapp.notify.channels.fields import (
    ChannelForm,
    SecretField,
    check_url,
    proxy_field,
)
from webapp.notify.channels.http import TROUBLES, Sorted, deliver_http, said_in
from webapp.notify.layout import Laid, Limits, lay_out
from webapp.notify.message import Message, Severity
from webapp.notify.outbound import Answer, Outbound, Reach
from webapp.notify.shorten import fit, json_bytes

TOTAL: Final = 20_000  # bytes; 28 kB are documented, refusals were seen from 21 kB on
LIMITS: Final = Limits(
    total=TOTAL,
    title=500,
    text=4_000,
    name=150,
    value=1_000,
    facts=40,
    error=8_000,
    footer=400,
    address=1_500,
    around=2_500,  # the JSON of the card without its texts, and the title once more
    around_fact=30,
    measure=json_bytes,
)
STYLES: Final = {
    Severity.INFO: ("emphasis", "Default"),
    Severity.SUCCESS: ("good", "Good"),
    Severity.WARNING: ("warning", "Warning"),
    Severity.FAILURE: ("attention", "Attention"),
    Severity.CRITICAL: ("attention", "Attention"),
}
_SEVERITIES: Final = {
    "emphasis": Severity.INFO,
    "good": Severity.SUCCESS,
    "warning": Severity.WARNING,
    "attention": Severity.FAILURE,
}
_ENVELOPE: Final = "message"
_BARE_CARD: Final = "card"
_CARD_TYPE: Final = "application/vnd.microsoft.card.adaptive"
_KNOWN_HOSTS: Final = (
    ".api.powerplatform.com",
    ".api.powerplatform.us",
    ".api.powerplatform.cn",
    ".powerplatform.partner.microsoftonline.cn",
    ".logic.azure.com",
    ".logic.azure.us",
    ".logic.azure.cn",
    ".powerautomate.com",
    ".powerautomate.us",
    ".flow.microsoft.com",
    ".flow.microsoft.us",
)
_CONNECTOR: Final = re.compile(r"(.+\.)?webhook\.office\.com|outlook\.office(365)?\.com")
_WORKFLOW: Final = re.compile(r"/workflows/(?P<id>[^/]+)")

_JOINER: Final = "\u034f"
"""Invisible; keeps a sign from being read as formatting, for which Teams has no escape."""
_FORMATTING: Final = re.compile(
    r"(?<![^\W_])[*_\[\]]|[*_\[\]](?![^\W_])|^[ \t]*(?=[-+>#]|\d{1,9}[.)][ \t])|(?<=\{)\{",
    re.MULTILINE,
)
_TAG: Final = re.compile(r"<(?=/?[A-Za-z!])")
_BREAKS: Final = re.compile(r"\n+")

_CODES: Final[Mapping[str, Sorted]] = {
    # about the channel
    "MissingApiVersionParameter": Sorted(breaks_channel=True),
    "AuthorizationFailed": Sorted(breaks_channel=True),
    "DirectApiAuthorizationRequired": Sorted(breaks_channel=True),
    "DirectApiInvalidAuthorizationScheme": Sorted(breaks_channel=True),
    "TriggerInputSchemaMismatch": Sorted(breaks_channel=True),
    "WorkflowNotFound": Sorted(breaks_channel=True),
    "WorkflowTriggerIsNotEnabled": Sorted(breaks_channel=True),
    # about this message
    "InvalidRequestContent": Sorted(),
    "RequestEntityTooLarge": Sorted(),
}


def _check_workflow(value: str) -> None:
    check_url(value)
    parts = urlsplit(value)
    if _CONNECTOR.fullmatch(parts.hostname or ""):
        raise ValidationError(
            "This is an Office 365 connector, which Microsoft has retired. In Teams, add the "
            "workflow “Post to a channel when a webhook request is received” and enter its URL."
        )
    if parts.scheme != "https":
        raise ValidationError("Enter an address that begins with https://.")
    query = parse_qs(parts.query)
    if "/workflows/" not in parts.path or not parts.path.endswith("/paths/invoke"):
        raise ValidationError(
            "Enter the URL of the workflow as Teams shows it; it contains /workflows/ and "
            "/paths/invoke."
        )
    if not query.get("sig") or not query.get("api-version"):
        raise ValidationError(
            "The end of the URL is missing. Copy the whole URL, with api-version and sig."
        )


def _hint(value: str) -> str:
    parts = urlsplit(value)
    found = _WORKFLOW.search(parts.path)
    return f"{parts.hostname or ''} …/{found['id'][:4]}…" if found else parts.hostname or ""


def _warn(value: str) -> str:
    host = urlsplit(value).hostname or ""
    if not host.endswith(_KNOWN_HOSTS):
        return f"{host} is no host of Microsoft that DBackup knows. Check that it is yours."
    if host.endswith(".logic.azure.com"):
        return (
            "Microsoft gives up addresses at logic.azure.com. Open the workflow in Power Automate "
            "and copy its new URL."
        )
    return ""


class TeamsForm(ChannelForm):
    """What a Teams channel needs."""

    advanced: ClassVar[tuple[str, ...]] = ("body_mode", "proxy")

    workflow_url = SecretField(
        "Workflow URL",
        required=True,
        check=_check_workflow,
        hint=_hint,
        warn=_warn,
        missing="Enter the URL of the workflow.",
        render_kw={"placeholder": "https://….environment.api.powerplatform.com/…"},
    )
    body_mode = SelectField(
        "What the workflow expects",
        choices={
            _ENVELOPE: "A message with a card (template of Teams)",
            _BARE_CARD: "The card alone (own workflow)",
        },
        default=_ENVELOPE,
        description="Change this only for a workflow that you built yourself and that hands the "
        "whole body to “Post card”.",
    )
    proxy = proxy_field()


class Teams(Channel):
    """A workflow of Power Automate that posts a card."""

    type: ClassVar[str] = "teams"
    label: ClassVar[str] = "Microsoft Teams"
    icon: ClassVar[str] = "microsoft-teams"
    tagline: ClassVar[str] = "Workflow of a channel or chat"
    bundle_characters: ClassVar[int] = 1800
    setup_hint: ClassVar[str] = (
        "In Teams: the channel's ⋯ → Workflows → “Post to a channel when a webhook request is "
        "received”."
    )
    form: ClassVar = TeamsForm
    rate: ClassVar[Rate | None] = Rate(seconds=2.0, burst=3)
    troubles: ClassVar[tuple[Trouble, ...]] = (
        Trouble(
            "Accepted, but nothing in the channel",
            "Power Automate took the message (202), and a later step of the workflow failed.",
            "Open the workflow's run history in Power Automate. “Property 'type' must be "
            "'AdaptiveCard'” means: choose the other entry under What the workflow expects.",
        ),
        Trouble(
            "MissingApiVersionParameter",
            "A part of the workflow URL is missing.",
            "Copy the whole URL of the workflow and enter it again.",
        ),
        Trouble(
            "DirectApiAuthorizationRequired / DirectApiInvalidAuthorizationScheme",
            "The workflow only takes requests of people of the organization.",
            "In Power Automate, open the trigger of the workflow and let Anyone trigger it.",
        ),
        Trouble(
            "401 / 403 / AuthorizationFailed",
            "The signature in the URL is wrong or was renewed, or a policy blocks the workflow.",
            "Copy the URL of the workflow again. In its trigger, Anyone must be allowed to "
            "trigger it.",
        ),
        Trouble(
            "404 / WorkflowNotFound",
            "The workflow was deleted, or the account of its owner was removed.",
            "Make the workflow anew, add a co-owner, and enter its URL in this channel.",
        ),
        Trouble(
            "WorkflowTriggerIsNotEnabled",
            "The workflow is switched off. Microsoft does that after 90 days without a message.",
            "Switch the workflow on in Power Automate, then test this channel now and then.",
        ),
        Trouble(
            "TriggerInputSchemaMismatch",
            "The trigger of the workflow expects another body.",
            "Choose the other entry under What the workflow expects, or use the template of Teams.",
        ),
        Trouble(
            "400 / InvalidRequestContent",
            "Power Automate does not understand the message.",
            "Check the trigger of the workflow. If it is the template of Teams, report the answer "
            "as a fault of DBackup.",
        ),
        Trouble(
            "413 / RequestEntityTooLarge",
            "The message was too large for the workflow.",
            "Look at the full error in DBackup. Nothing has to be changed in this channel.",
        ),
        Trouble(
            "408 / 429",
            "Power Automate limits how often a workflow may run.",
            "Nothing: DBackup waits as long as it asks. If it happens often, send fewer events to "
            "this channel.",
        ),
        Trouble(
            "5xx",
            "Power Automate has trouble.",
            "Nothing: DBackup tries again. See status.cloud.microsoft.",
        ),
        *TROUBLES,
    )

    @classmethod
    def summarize(cls, config: Mapping[str, Any]) -> str:
        """Return the host and the beginning of the workflow's id, or the reference to the URL."""
        return TeamsForm(stored=config).workflow_url.hint or "workflow"

    @property
    def target(self) -> str:
        """Return host and path: Power Automate counts per workflow."""
        parts = urlsplit(self._url)
        return f"teams:{parts.hostname}{parts.path}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return the URL and the signature in it, which is the credential."""
        parts = urlsplit(self._url)
        raw = re.search(r"(?:^|&)sig=([^&]+)", parts.query)
        signs = parse_qs(parts.query).get("sig", [])
        return tuple(filter(None, (self._url, raw[1] if raw else "", *signs)))

    @property
    def _url(self) -> str:
        return str(self.config.get("workflow_url", ""))

    def render(self, message: Message) -> Rendered:
        """Return an Adaptive Card, in a message unless the workflow wants the card alone."""
        laid = lay_out(message, LIMITS, escape=_escape, escape_title=_escape, escape_code=_escape)
        card = _card(message, laid)
        payload = card if self.config.get("body_mode") == _BARE_CARD else _enveloped(card)
        return Rendered(
            body=json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode(),
            content_type="application/json; charset=utf-8",
            url=self._url,
        )

    def send(self, rendered: Rendered, outbound: Outbound, progress: dict[str, Any]) -> Receipt:
        """Start the workflow. That it posts the card is more than its answer says."""
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
        if receipt.status != "202":
            return receipt
        return replace(receipt, words="Accepted by Power Automate; look into the channel.")

    @classmethod
    def preview(cls, body: str, content_type: str) -> Preview:
        """Return the card as Teams shows it."""
        payload = json.loads(body)
        card = payload["attachments"][0]["content"] if "attachments" in payload else payload
        parts = {part["id"]: part for part in card["body"]}
        facts = parts["facts"]["facts"] if "facts" in parts else []
        return Preview(
            look="teams",
            data={
                "severity": _SEVERITIES[parts["head"]["style"]].value,
                "title": _shown(parts["head"]["items"][0]["text"]),
                "text": _shown_part(parts, "text"),
                "fields": [
                    {"name": _shown(fact["title"]), "value": _shown(fact["value"])}
                    for fact in facts
                ],
                "error": _shown_part(parts, "error"),
                "footer": _shown_part(parts, "footer"),
                "button": card["actions"][0]["title"] if card.get("actions") else "",
            },
        )


def _enveloped(card: Mapping[str, Any]) -> dict[str, Any]:
    attachment = {"contentType": _CARD_TYPE, "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


def _card(message: Message, laid: Laid) -> dict[str, Any]:
    style, colour = STYLES[message.severity]
    title = {
        "type": "TextBlock",
        "text": laid.title,
        "weight": "Bolder",
        "size": "Medium",
        "color": colour,
        "wrap": True,
    }
    head = {"type": "Container", "id": "head", "style": style, "bleed": True, "items": [title]}
    body: list[dict[str, Any]] = [head]
    if laid.text:
        body.append(_text("text", laid.text))
    if laid.facts:
        facts = [{"title": fact.name, "value": fact.value} for fact in laid.facts]
        body.append({"type": "FactSet", "id": "facts", "facts": facts})
    if laid.error:
        body.append(_text("error", laid.error) | {"fontType": "Monospace"})
    footer = f"{_escape(message.time)} · {laid.footer}"
    body.append(_text("footer", footer) | {"size": "Small", "isSubtle": True})
    card: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "fallbackText": laid.title,
        "body": body,
    }
    if laid.link:
        title_of_link = fit(message.link_label, 100)
        card["actions"] = [{"type": "Action.OpenUrl", "title": title_of_link, "url": laid.link}]
    return card


def _text(name: str, words: str) -> dict[str, Any]:
    return {"type": "TextBlock", "id": name, "text": words, "wrap": True}


def _escape(value: str) -> str:
    """Return text that Teams shows as it is; a new line is two line feeds there."""
    unformatted = _FORMATTING.sub(_broken, value)
    untagged = _TAG.sub(f"<{_JOINER}", unformatted)
    return _BREAKS.sub("\n\n", untagged)


def _broken(found: re.Match[str]) -> str:
    sign = found[0]
    return f"{_JOINER}{sign}" if sign.strip() else f"{sign}{_JOINER}"


def _sort(answer: Answer) -> Sorted | None:
    """Return what the code of Power Automate means; others are what HTTP says."""
    try:
        said = said_in(answer)["error"]
        code, words = str(said["code"]), text.one_line(str(said.get("message", "")))
    except (KeyError, TypeError, AttributeError):
        return None
    known = _CODES.get(code)
    return replace(known, code=code, words=words) if known else None


def _shown(value: str) -> str:
    return value.replace(_JOINER, "").replace("\n\n", "\n")


def _shown_part(parts: Mapping[str, Mapping[str, Any]], name: str) -> str:
    return _shown(parts[name]["text"]) if name in parts else ""
