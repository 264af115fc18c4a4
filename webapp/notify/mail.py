"""Makes mails: text and HTML side by side, headers that nobody can forge."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from email.parser import BytesParser
from email.utils import format_datetime
from hashlib import sha256
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from webapp.core import text
from webapp.core.errors import PermanentError
from webapp.core.settings import PROJECT_ROOT
from webapp.notify.message import Message, Severity
from webapp.notify.shorten import fit

INLINE_ERROR: Final = 20_000  # bytes; a longer error goes along as a file
SHORTENED_ERROR: Final = 4_000  # characters
ATTACHED_ERROR: Final = 5_000_000  # characters; many servers take 10 MB
SUBJECT: Final = 200
NAME: Final = 100
ATTACHMENT: Final = "error.txt"

COLOURS: Final = {
    Severity.INFO: "#3498db",
    Severity.SUCCESS: "#1f9d57",
    Severity.WARNING: "#c98a04",
    Severity.FAILURE: "#d5382c",
    Severity.CRITICAL: "#992d22",
}
WORDS: Final = {
    Severity.INFO: "Information",
    Severity.SUCCESS: "Success",
    Severity.WARNING: "Warning",
    Severity.FAILURE: "Failure",
    Severity.CRITICAL: "Critical",
}
_PRIORITY: Final = {Severity.FAILURE: "2", Severity.CRITICAL: "1"}
# Seven bits: a server without 8BITMIME takes it, and no line is longer than SMTP allows.
_POLICY: Final = policy.SMTP.clone(cte_type="7bit")
_DIRECTION: Final = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_TEMPLATES: Final = Environment(
    loader=FileSystemLoader(PROJECT_ROOT / "templates" / "mail"),
    autoescape=select_autoescape(("html",)),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """What the channel says about its mails."""

    sender: str
    sender_name: str
    reply_to: str
    subject_prefix: str


def build(message: Message, envelope: Envelope, recipients: Iterable[str]) -> bytes:
    """Return the finished mail.

    Raises:
        PermanentError: the finished bytes hold other headers than those that were set.
    """
    mail = EmailMessage(policy=_POLICY)
    headers = _headers(message, envelope, recipients)
    for name, value in headers:
        mail[name] = value
    long = len(message.error.encode()) > INLINE_ERROR
    shown = fit(message.error, SHORTENED_ERROR, keep_end=True) if long else message.error
    said = {
        "message": message,
        "error": shown,
        "attached": ATTACHMENT if long else "",
        "colour": COLOURS[message.severity],
        "word": WORDS[message.severity],
    }
    mail.set_content(_TEMPLATES.get_template("message.txt").render(said))
    mail.add_alternative(_TEMPLATES.get_template("message.html").render(said), subtype="html")
    if long:
        mail.add_attachment(message.error[:ATTACHED_ERROR], filename=ATTACHMENT)
    finished = mail.as_bytes()
    _check(finished, [name for name, _ in headers])
    return finished


def plain(value: str, limit: int) -> str:
    """Return foreign text for a header: one line, no encoded words, no change of direction."""
    single = text.one_line(_DIRECTION.sub("", value)).replace("=?", "= ?")
    return fit(single, limit)


def ascii_address(address: str) -> str:
    """Return the address with an international domain in its ASCII form."""
    local, _, domain = address.rpartition("@")
    return f"{local}@{domain.encode('idna').decode('ascii')}"


def message_id(message: Message, sender: str) -> str:
    """Return the identity of the mail: the same for every attempt of one delivery."""
    return f"<{message.delivery_id}@{_domain(sender)}>"


def _headers(
    message: Message, envelope: Envelope, recipients: Iterable[str]
) -> list[tuple[str, object]]:
    subject = f"{plain(envelope.subject_prefix, NAME)} {plain(message.title, SUBJECT)}"
    headers: list[tuple[str, object]] = [
        ("From", _address(envelope.sender, envelope.sender_name)),
        ("To", tuple(_address(address) for address in recipients)),
        ("Subject", subject.strip() or "DBackup"),
        ("Date", format_datetime(message.occurred_at)),
        ("Message-ID", message_id(message, envelope.sender)),
        ("Auto-Submitted", "auto-generated"),
        ("X-Auto-Response-Suppress", "All"),
    ]
    if envelope.reply_to:
        headers.append(("Reply-To", _address(envelope.reply_to)))
    if message.thread:
        root = _thread_id(message.thread, envelope.sender)
        headers += [("In-Reply-To", root), ("References", root)]
    if message.severity in _PRIORITY:
        headers += [("Importance", "high"), ("X-Priority", _PRIORITY[message.severity])]
    return headers


def _address(address: str, name: str = "") -> Address:
    return Address(display_name=plain(name, NAME), addr_spec=ascii_address(address))


def _thread_id(thread: str, sender: str) -> str:
    return (
        f"<thread.{sha256(thread.encode('utf-8', 'replace')).hexdigest()[:32]}@{_domain(sender)}>"
    )


def _domain(address: str) -> str:
    return ascii_address(address).rpartition("@")[2]


def _check(finished: bytes, names: list[str]) -> None:
    """Read the bytes as a receiver does; refuse what we did not write."""
    parsed = BytesParser(policy=policy.default).parsebytes(finished, headersonly=True)
    own = Counter(name.lower() for name in [*names, "MIME-Version", "Content-Type"])
    found = Counter(name.lower() for name in parsed)
    found.pop("content-transfer-encoding", None)
    if own != found:
        raise PermanentError(
            "The mail would have had headers that DBackup did not set, so it was not sent.",
            advice="Look at the names in this event for signs of an attack.",
        )
