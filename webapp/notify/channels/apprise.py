"""Apprise: the services that have no type of their own, through the library of that name.

The library is an optional extra, imported when it is used. It calls by `requests`, to which our way
out is lent meanwhile: judged and pinned addresses, limits of time and size, no redirects.
Addresses: https://github.com/caronc/apprise/wiki
"""

import importlib.util
import json
import logging
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from types import ModuleType
from typing import Any, ClassVar, Final
from urllib.parse import unquote

from wtforms.validators import ValidationError

from webapp.core import text
from webapp.core.buckets import Rate
from webapp.core.errors import ChannelError, PermanentError, TransientError
from webapp.core.scrub import conceal
from webapp.core.secrets import is_reference
from webapp.notify import plain
from webapp.notify.channels.base import EXCERPT_LIMIT, Channel, Preview, Receipt, Rendered, Trouble
from webapp.notify.channels.fields import (
    ChannelForm,
    SecretField,
    proxy_field,
)
from webapp.notify.channels.http import TROUBLES, advice_for, is_permanent
from webapp.notify.message import Message, Severity
from webapp.notify.outbound import CONNECT_SECONDS, READ_SECONDS, Outbound, Reach
from webapp.notify.shorten import fit

LIBRARY: Final = "apprise"
INSTALL: Final = (
    "The library Apprise is not installed on this server. Run make apprise in DBackup's folder, "
    "then start DBackup again."
)
BODY: Final = 2_000  # when the service's own limit is not known
TITLE: Final = 250
LONGEST: Final = 8_000
IN_ALL: Final = 25.0  # seconds
TYPES: Final = {
    Severity.INFO: "info",
    Severity.SUCCESS: "success",
    Severity.WARNING: "warning",
    Severity.FAILURE: "failure",
    Severity.CRITICAL: "failure",
}
# Services over HTTPS that need nothing but the library itself. What runs programs, reads files,
# talks to the desktop, or needs further libraries is left out on purpose.
_LISTED: Final = """
46elks atalk azure bark barks betterstack bluesky brevo bsky bulksms bulkvs burstsms chanify
clickatell clicksend cliq cm d7sms dapnet dingtalk elks feishu firehydrant flock flowtriq
freemobile gchat goalert goalerts gorush gorushs groupme guilded gupshup hassio hassios httpsms
humhub humhubs ifttt ilert incidentio infobip jira join kakao kakaotalk kaleyra kavenegar klr kodi
kodis kook kudosity kumulos lametric lametrics lark line mailersend mailgun mastodon mastodons
matrix matrixs misskey misskeys mmost mmosts mobilemessage mobilemsg msg91 msgbird ncloud nclouds
nctalk nctalks nexmo notica noticas notifiarr notifico notifyre o365 octopush onesignal opsgenie
pagertree parsep parseps pbul pjet pjets plivo postmark pover prowl psafer psafers push pushdeer
pushdeers pushed pushme pushplus pushy qq reddit resend revolt ringc rocket rockets ryver schan
sendgrid sendpulse serwersms ses seven sfr signal signalgrid signals signl4 simplepush sinch smsc
smseagle smseagles smsmanager smsmgr smtp2go sns sparkpost spike splunk spugpush spush squadcast
strmlabs synology synologys telesign telnyx threema toot toots tweet twist twitter victorops viber
voipms vonage webex wechat wecom wecombot whapi whatsapp wpush wxpusher wxteams x xbmc xbmcs
xmatters zalo zcliq zohocliq zoom zulip
"""
ALLOWED: Final = frozenset(_LISTED.split())
OWN_TYPES: Final = {
    "discord": "Discord",
    "gotify": "Gotify",
    "gotifys": "Gotify",
    "json": "Generic Webhook",
    "jsons": "Generic Webhook",
    "mailto": "Email (SMTP)",
    "mailtos": "Email (SMTP)",
    "ntfy": "ntfy",
    "ntfys": "ntfy",
    "pagerduty": "Generic Webhook",
    "slack": "Slack",
    "tgram": "Telegram",
    "twilio": "SMS (Twilio)",
    "workflow": "Microsoft Teams",
    "workflows": "Microsoft Teams",
}
_STATUS: Final = re.compile(r"error\s*=\s*(\d{3})")
_ENCODED_ADDRESS: Final = re.compile(r"[a-z0-9_]+://\S+", re.ASCII | re.IGNORECASE)


def is_installed() -> bool:
    """Say whether the optional library is there, without importing it."""
    return importlib.util.find_spec(LIBRARY) is not None


@lru_cache(maxsize=1)
def _library() -> ModuleType:
    """Return the library; its log would hold addresses, so it goes no further than to us.

    Raises:
        PermanentError: it is not installed.
    """
    try:
        module = importlib.import_module(LIBRARY)
    except ImportError as error:
        raise PermanentError(INSTALL, advice=INSTALL, breaks_channel=True) from error
    logger = logging.getLogger(LIBRARY)
    logger.propagate = False
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    return module


def _scheme(address: str) -> str:
    return address.partition("://")[0].lower()


def _service(address: str) -> Any:
    """Return the library's object for an address, held to our limits; None if it is no address."""
    library = _library()
    asset = library.AppriseAsset(
        plugin_paths=[],
        storage_mode=library.PersistentStoreMode.MEMORY,
        service_timeout=IN_ALL,
    )
    if _scheme(address) not in ALLOWED:  # what it would do with others is not wanted even once
        return None
    made = library.Apprise.instantiate(address, asset=asset, suppress_exceptions=True)
    if made is None:
        return None
    made.redirects = False
    made.verify_certificate = True
    made.socket_connect_timeout = CONNECT_SECONDS
    made.socket_read_timeout = READ_SECONDS
    return made


def _check_address(value: str) -> None:
    scheme = _scheme(value)
    if not _ENCODED_ADDRESS.fullmatch(value):
        raise ValidationError("Enter one address as Apprise writes it, such as pover://user@token.")
    if scheme in OWN_TYPES:
        raise ValidationError(
            f"DBackup has a channel type of its own for this: {OWN_TYPES[scheme]}. Use that one."
        )
    if scheme not in ALLOWED:
        raise ValidationError(
            f"Addresses that begin with {scheme[:30]}:// are not allowed. "
            "docs/channels/apprise.md lists those that are."
        )
    if not is_installed():
        raise ValidationError(INSTALL)
    if _service(value) is None:
        raise ValidationError(
            "Apprise does not understand the rest of this address. Compare it with the page of "
            "the service in Apprise's documentation."
        )


def _hint(value: str) -> str:
    return f"{_scheme(value)}://…"


class AppriseForm(ChannelForm):
    """What an Apprise channel needs."""

    bound_to: ClassVar[tuple[str, ...]] = ("proxy",)
    advanced: ClassVar[tuple[str, ...]] = ("proxy",)

    url = SecretField(
        "Apprise URL",
        required=True,
        check=_check_address,
        hint=_hint,
        missing="Enter the address as Apprise writes it.",
        description="One address such as pover://user@token or mmosts://host/token. Stored "
        "encrypted; a reference such as env:NAME or file:/path works, too.",
        render_kw={"placeholder": "pover://…"},
    )
    proxy = proxy_field()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not is_installed():
            self.url.description = f"{INSTALL} {self.url.description}"


class Apprise(Channel):
    """One address of the library Apprise."""

    type: ClassVar[str] = "apprise"
    label: ClassVar[str] = "Apprise"
    icon: ClassVar[str] = "broadcast"
    tagline: ClassVar[str] = "Pushover, Matrix, and 100 more"
    bundle_characters: ClassVar[int] = 1500
    setup_hint: ClassVar[str] = (
        "Apprise's documentation has a page for each service that says how its address is written."
    )
    form: ClassVar = AppriseForm
    rate: ClassVar[Rate | None] = Rate(seconds=1.0, burst=5)
    troubles: ClassVar[tuple[Trouble, ...]] = (
        Trouble(
            "Not installed",
            "The library Apprise is an extra and is not installed on this server.",
            "Run make apprise in DBackup's folder, then start DBackup again.",
        ),
        Trouble(
            "Address",
            "Apprise does not understand the address, or it is of a kind that is not allowed.",
            "Compare the address with the page of the service in Apprise's documentation.",
        ),
        Trouble(
            "401 / 403",
            "The service does not accept the credentials in the address.",
            "Make a new token at the service and enter the address again.",
        ),
        Trouble(
            "404 / 410",
            "The service does not know the target in the address.",
            "Check room, user or device at the service and enter the address again.",
        ),
        Trouble(
            "429",
            "The service limits how often it is called.",
            "Nothing: DBackup tries again. If it happens often, send fewer events to this channel.",
        ),
        Trouble(
            "4xx",
            "The service refuses the message.",
            "Look at what Apprise says and correct the address.",
        ),
        Trouble("5xx", "The service has trouble.", "Nothing: DBackup tries again."),
        Trouble(
            "Not delivered",
            "Apprise could not deliver the message and names no code.",
            "Look at what Apprise says. DBackup tries again.",
        ),
        *(row for row in TROUBLES if row.sign != "Redirect (3xx)"),
    )

    @classmethod
    def summarize(cls, config: Mapping[str, Any]) -> str:
        """Return the scheme; all the rest may be secret."""
        url = str(config.get("url", ""))
        return url if is_reference(url) else _hint(url)

    @property
    def _address(self) -> str:
        return str(self.config.get("url") or "")

    @property
    def target(self) -> str:
        """Return the address."""
        return f"apprise:{self._address}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return the address and every part of it that is long enough to be a credential."""
        rest = self._address.partition("://")[2]
        parts = [unquote(part) for part in re.split(r"[/?&=@:]", rest)]
        return tuple(filter(None, (self._address, *(part for part in parts if len(part) >= 8))))

    def render(self, message: Message) -> Rendered:
        """Return title and text within what the service takes; the library makes its request."""
        message = plain.masked(message, self.secrets)
        title_limit, body_limit = self._limits()
        title = message.title or "–"
        payload = {
            "title": fit(title, title_limit) if title_limit else "",
            "body": plain.body_of(message, body_limit, measure=len),
            "type": TYPES[message.severity],
        }
        if not title_limit:
            head = fit(title, max(body_limit // 3, 1))
            rest = plain.body_of(message, body_limit - len(head) - 1, measure=len)
            payload["body"] = f"{head}\n{rest}"
        return Rendered(
            body=json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode(),
            content_type="application/json",
            method=_scheme(self._address),
        )

    def _limits(self) -> tuple[int, int]:
        """Return how long title and text may be; 0: the service has no title of its own."""
        made = _service(self._address) if is_installed() else None
        if made is None:
            return TITLE, BODY
        return min(int(made.title_maxlen), TITLE), min(int(made.body_maxlen), LONGEST)

    def send(self, rendered: Rendered, outbound: Outbound, progress: dict[str, Any]) -> Receipt:
        """Let the library deliver; what it logs meanwhile is all that it tells of a failure."""
        with outbound.lend(Reach.SELF_HOSTED, self.way) as loan, _heard() as lines:
            name = self._notify(json.loads(rendered.body))
        if name:
            return Receipt(status="ok", words=f"{name} took the message, as Apprise says.")
        raise self._failed("\n".join(lines), loan.problem)

    def _notify(self, payload: Mapping[str, str]) -> str:
        """Return the name of the service when it took the message, else nothing.

        The library's object ends with this function: some sign out of their service then.
        """
        made = _service(self._address)
        if made is None:
            raise PermanentError(
                "Apprise does not understand the address of this channel.",
                advice=advice_for(self.troubles, "Address"),
                breaks_channel=True,
            )
        delivered = made.notify(
            body=payload["body"],
            title=payload["title"],
            notify_type=payload["type"],
            body_format="text",
        )
        return text.one_line(str(made.service_name or "The service")) if delivered else ""

    def _failed(self, said: str, problem: ChannelError | None) -> ChannelError:
        excerpt = conceal(text.clean(said), self.secrets)[:EXCERPT_LIMIT]
        found = _STATUS.search(said)
        if found is None and problem is not None:
            problem.excerpt = excerpt
            return problem
        if found is None:
            return TransientError(
                "Apprise could not deliver the message.",
                excerpt=excerpt,
                advice=advice_for(self.troubles, "Not delivered"),
                maybe_sent=True,
            )
        status = int(found[1])
        words = f"Apprise could not deliver the message: the service answered {status}."
        advice = advice_for(self.troubles, found[1], f"{status // 100}xx")
        if is_permanent(status):
            return PermanentError(
                words,
                status=found[1],
                excerpt=excerpt,
                advice=advice,
                breaks_channel=status in {401, 403, 404, 410},
            )
        hint = timedelta(minutes=1) if status == 429 else None
        return TransientError(
            words, status=found[1], excerpt=excerpt, advice=advice, retry_after=hint
        )

    @classmethod
    def preview(cls, body: str, content_type: str) -> Preview:
        """Return title and text; how a service draws them is its own affair."""
        payload = json.loads(body)
        return Preview(
            look="push",
            data={
                "app": "Apprise",
                "title": payload["title"],
                "message": payload["body"],
                "link": "",
                "priority": payload["type"].capitalize(),
                "loud": payload["type"] == "failure",
                "tags": [],
            },
        )


@contextmanager
def _heard() -> Iterator[list[str]]:
    """Collect what the library logs in this thread; other threads may be sending, too."""
    lines: list[str] = []
    handler = _Ear(lines)
    logger = logging.getLogger(LIBRARY)
    logger.addHandler(handler)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)


class _Ear(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._lines = lines
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self._lines.append(record.getMessage())
