"""Gotify: an application on somebody's own server.

API: https://gotify.net/api-docs, extras: https://gotify.net/docs/msgextras
"""

import json
import re
from collections.abc import Mapping
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from wtforms import StringField
from wtforms.validators import DataRequired, ValidationError

from webapp.core import network, text
from webapp.core.buckets import Rate
from webapp.notify import plain
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

TITLE: Final = 250  # bytes; Gotify has no limit, phones show two lines
MESSAGE: Final = 8_000  # bytes; likewise, phones show little
ADDRESS: Final = 2_000
PRIORITIES: Final = {
    Severity.INFO: 2,
    Severity.SUCCESS: 3,
    Severity.WARNING: 5,
    Severity.FAILURE: 8,
    Severity.CRITICAL: 10,
}
_TOKEN: Final = re.compile(r"[!-~]{8,180}")


def _check_token(value: str) -> None:
    if not _TOKEN.fullmatch(value):
        raise ValidationError("Enter the token as Gotify shows it, without blanks.")
    if value.startswith("C") and len(value) == 15:
        raise ValidationError(
            "This looks like the token of a client. Enter the token of an application (Apps)."
        )


class GotifyForm(ChannelForm):
    """What a Gotify channel needs."""

    bound_to: ClassVar[tuple[str, ...]] = ("server_url", "proxy", "ca_file")

    advanced: ClassVar[tuple[str, ...]] = (
        "priority",
        "failure_priority",
        "ca_file",
        "client_certificate",
        "proxy",
    )

    server_url = OutboundUrlField(
        "Server",
        validators=[DataRequired("Enter the address of your Gotify server.")],
        description="With the path when Gotify is not at the root of the host.",
        render_kw={"placeholder": "https://gotify.example.org"},
    )
    token = SecretField(
        "Application token",
        required=True,
        check=_check_token,
        render_kw={"placeholder": "A…"},
    )
    priority = PriorityField(
        "Priority",
        lowest=0,
        highest=10,
        description="0 to 10 for messages that are no failures. Empty: 2 for information, 3 for "
        "success, 5 for warnings. From 4 on, phones make a sound.",
    )
    failure_priority = PriorityField(
        "Priority of failures",
        lowest=0,
        highest=10,
        description="Empty: 8, and 10 for what is critical.",
    )
    ca_file = StringField(
        "Certificate authority",
        description="Path of a PEM file on this server, trusted beside the usual authorities.",
    )
    client_certificate = client_certificate_field()
    proxy = proxy_field()

    def validate_server_url(self, field: OutboundUrlField) -> None:
        """Check that this is the address of the server and not of a call."""
        parts = urlsplit(field.data or "")
        if parts.query or parts.fragment:
            raise ValidationError("Leave everything from ? or # on out of the address.")
        if parts.path.rstrip("/").endswith("/message"):
            raise ValidationError("Leave /message out: DBackup adds it.")

    def validate_ca_file(self, field: StringField) -> None:
        """Check that there is such a file."""
        check_ca_file(field)


class Gotify(Channel):
    """An application of a Gotify server."""

    type: ClassVar[str] = "gotify"
    label: ClassVar[str] = "Gotify"
    icon: ClassVar[str] = "bell"
    tagline: ClassVar[str] = "Push from your own server"
    setup_hint: ClassVar[str] = "In Gotify: Apps → Create application, then show its token."
    form: ClassVar = GotifyForm
    rate: ClassVar[Rate | None] = Rate(seconds=0.2, burst=10)
    troubles: ClassVar[tuple[Trouble, ...]] = (
        Trouble(
            "401",
            "Gotify does not know this token: it is mistyped, or the application was deleted.",
            "Copy the token under Apps in Gotify and enter it in this channel.",
        ),
        Trouble(
            "403",
            "The token is one of a client, which may read and not post.",
            "Make an application under Apps in Gotify and enter its token.",
        ),
        Trouble(
            "404 / 405",
            "There is no Gotify at this address.",
            "Check the server's address. Behind a proxy the path belongs to it, as in "
            "https://home.example.org/gotify.",
        ),
        Trouble(
            "400",
            "Gotify did not accept the form of the message; its answer names the part.",
            "Look at the answer. If an old Gotify answered, update it; otherwise report this as a "
            "fault of DBackup.",
        ),
        Trouble(
            "413",
            "The proxy before Gotify takes only small messages.",
            "Raise the proxy's limit to 16 kB at least.",
        ),
        Trouble(
            "429",
            "The proxy before Gotify limits how often it is called.",
            "Nothing: DBackup tries again, no sooner than the proxy allows.",
        ),
        Trouble(
            "5xx / 502 / 503 / 504",
            "Gotify is down, or the proxy before it cannot reach it.",
            "Look whether Gotify runs. DBackup tries again.",
        ),
        *TROUBLES,
    )

    @classmethod
    def summarize(cls, config: Mapping[str, Any]) -> str:
        """Return host and path of the server."""
        parts = urlsplit(str(config.get("server_url", "")))
        return f"{parts.netloc}{parts.path.rstrip('/')}"

    @property
    def buckets(self) -> tuple[tuple[str, Rate], ...]:
        """Return no limit for a server of the own network: it belongs to the admin."""
        return () if network.looks_local(urlsplit(self._base).hostname or "") else super().buckets

    @property
    def target(self) -> str:
        """Return the host."""
        return f"gotify:{urlsplit(self._base).netloc}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return the token."""
        return tuple(filter(None, (str(self.config.get("token") or ""),)))

    @property
    def _base(self) -> str:
        return str(self.config.get("server_url") or "").rstrip("/")

    def render(self, message: Message) -> Rendered:
        """Return text that is shown as it is: Markdown would load pictures from anywhere."""
        message = plain.masked(message, self.secrets)
        extras: dict[str, Any] = {"client::display": {"contentType": "text/plain"}}
        if len(message.link) <= ADDRESS:
            extras["client::notification"] = {"click": {"url": message.link}}
        payload = {
            "title": fit(message.title or "–", TITLE, measure=utf8),
            "message": plain.body_of(message, MESSAGE),
            "priority": self._priority(message.severity),
            "extras": extras,
        }
        return Rendered(
            body=json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode(),
            content_type="application/json",
            url=f"{self._base}/message",
            headers={"X-Gotify-Key": str(self.config.get("token") or "")},
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
        """Return the card as Gotify shows it."""
        payload = json.loads(body)
        extras = payload["extras"]
        return Preview(
            look="push",
            data={
                "app": "Gotify",
                "title": payload["title"],
                "message": payload["message"],
                "link": extras.get("client::notification", {}).get("click", {}).get("url", ""),
                "priority": f"Priority {payload['priority']} of 10",
                "loud": payload["priority"] >= 8,
                "tags": [],
            },
        )


def _sort(answer: Answer) -> Sorted | None:
    """Return Gotify's own words; its codes are those of HTTP."""
    said = said_in(answer)
    if not isinstance(said, dict) or not 400 <= answer.status < 500 or answer.status in {408, 429}:
        return None
    words = str(said.get("errorDescription") or said.get("error") or "")
    return Sorted(words=text.one_line(words), breaks_channel=answer.status in {401, 403, 404, 405})
