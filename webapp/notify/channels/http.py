"""Sends over HTTP and sorts answers: delivered, try again, or never."""

import html
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

from webapp.core import clock, foreign_json, text
from webapp.core.errors import ChannelError, PermanentError, TransientError
from webapp.core.scrub import conceal
from webapp.notify import outbound as way_out
from webapp.notify.channels.base import EXCERPT_LIMIT, Receipt, Rendered, Trouble
from webapp.notify.outbound import DIRECT, Answer, Outbound, Reach, Way

_PASSING: Final = frozenset({408, 425, 429})
_CHANNEL_IS_WRONG: Final = frozenset({401, 403, 404, 405, 410})
"""Answers about address and credentials: the next message would get the same."""
_WORDS_LIMIT: Final = 200
_LONGEST_WAIT: Final = 864_000.0  # seconds
_LOOKED_AT: Final = 16 * 1024
"""Bytes of a reply that an excerpt is made of: what looks through it takes longer for each more."""
_TAG: Final = re.compile(r"(?is)<(script|style|head)\b.*?</\1>|<[^>]{0,2000}>")

TROUBLES: Final = (
    Trouble(
        "Redirect (3xx)",
        "The address answers with another address. Redirects are not followed, because they would "
        "hand the message and its credentials to a host that nobody entered.",
        "Enter the final address in this channel.",
    ),
    Trouble(
        "Unknown host",
        "The host name of the address does not exist, or cannot be looked up from this server.",
        way_out.UNKNOWN_HOST_ADVICE,
    ),
    Trouble(
        "No connection",
        "Nothing answers at this host and port.",
        way_out.NO_CONNECTION_ADVICE,
    ),
    Trouble(
        "Certificate not accepted",
        "The certificate of the service is expired, self-signed or for another name.",
        way_out.CERTIFICATE_ADVICE,
    ),
    Trouble(
        "No answer",
        "The service took the message or a part of it and did not answer in time. It may have "
        "arrived, so the repetition may arrive twice.",
        way_out.NO_ANSWER_ADVICE,
    ),
    Trouble(
        "May not be called",
        "The address belongs to a network that is blocked: link-local addresses and metadata "
        "services always, private networks by the setting DBACKUP_ALLOW_PRIVATE_NETWORKS.",
        way_out.BLOCKED_ADVICE,
    ),
)
"""What can happen to every type that sends over HTTP."""


@dataclass(frozen=True, kw_only=True)
class Sorted:
    """What a service's own code means."""

    permanent: bool = True
    breaks_channel: bool = False
    code: str = ""
    """The service's code, which is shown behind the status."""
    words: str = ""
    """The service's sentence."""
    retry_after: timedelta | None = None


Sorter = Callable[[Answer], Sorted | None]
"""Returns what an answer means to a service with codes of its own; None: what HTTP says."""


def deliver_http(
    rendered: Rendered,
    outbound: Outbound,
    *,
    service: str,
    reach: Reach,
    secrets: Iterable[str],
    troubles: Iterable[Trouble],
    sort: Sorter | None = None,
    expected: frozenset[int] | None = None,
    headers: Mapping[str, str] | None = None,
    way: Way = DIRECT,
) -> Receipt:
    """Send what was rendered and return the service's word that it took it.

    `expected` are the codes that count as success (every 2xx by default), `headers` those that
    belong to this attempt and not to the message.

    Raises:
        PermanentError: the answer says that trying again cannot help.
        TransientError: it may help, or no answer came.
    """
    answer = outbound.request(
        rendered.method,
        rendered.url,
        reach=reach,
        headers={"Content-Type": rendered.content_type}
        | dict(rendered.headers)
        | dict(headers or {})
        if rendered.body
        else dict(rendered.headers) | dict(headers or {}),
        body=rendered.body,
        way=way,
    )
    excerpt = excerpt_of(answer, secrets)
    if is_success(answer.status, expected):
        return Receipt(
            status=str(answer.status), words=f"{service} answered {answer.status}.", excerpt=excerpt
        )
    raise error_for(
        answer, service=service, excerpt=excerpt, secrets=secrets, troubles=troubles, sort=sort
    )


def is_success(status: int, expected: frozenset[int] | None = None) -> bool:
    """Say whether this status means delivered; a redirect never does."""
    return status in expected if expected else 200 <= status < 300


def error_for(
    answer: Answer,
    *,
    service: str,
    excerpt: str,
    secrets: Iterable[str],
    troubles: Iterable[Trouble],
    sort: Sorter | None,
) -> ChannelError:
    """Return the error that an answer stands for: the service's codes first, then the status."""
    status = answer.status
    if 300 <= status < 400:
        return _redirected(answer, service, excerpt)
    meant = sort(answer) if sort else None
    sign = f"{status} / {meant.code}" if meant and meant.code else str(status)
    words = conceal(_one_line(meant.words if meant else ""), secrets)
    message = f"{service} answered {sign}{_phrase(status, words)}."
    advice = advice_for(troubles, meant.code if meant else "", str(status), f"{status // 100}xx")
    if meant.permanent if meant else is_permanent(status):
        return PermanentError(
            message,
            status=sign,
            excerpt=excerpt,
            advice=advice,
            breaks_channel=meant.breaks_channel if meant else status in _CHANNEL_IS_WRONG,
        )
    hint = meant.retry_after if meant else None
    return TransientError(
        message,
        status=sign,
        excerpt=excerpt,
        advice=advice,
        retry_after=hint if hint is not None else retry_after(answer.headers),
    )


def is_permanent(status: int) -> bool:
    """Say whether an unsuccessful status means that trying again cannot help."""
    return status < 500 and status not in _PASSING


def advice_for(troubles: Iterable[Trouble], *signs: str) -> str:
    """Return the advice of the first sign that the table knows; most specific sign first."""
    rows = list(troubles)
    for sign in filter(None, signs):
        for row in rows:
            if sign in re.split(r" / |, ", row.sign):
                return row.advice
    return ""


def retry_after(headers: Mapping[str, str]) -> timedelta | None:
    """Return the server's hint: whole seconds, a fraction, or a date relative to its own clock.

    What is neither, what lies in the past, and what lies more than ten days ahead is no hint.
    """
    raw = headers.get("Retry-After", "").strip()
    seconds = as_seconds(raw)
    if seconds is not None:
        return seconds
    until = _date(raw)
    if until is None:
        return None
    wait = until - (_date(headers.get("Date", "")) or clock.now())
    return wait if timedelta(0) < wait <= timedelta(seconds=_LONGEST_WAIT) else None


def as_seconds(value: object) -> timedelta | None:
    """Return a number of seconds, as a number or as text; anything else is none.

    More than ten days are none either: such a number is a date in seconds or a mistake, and the
    message goes out sooner by our own steps.
    """
    try:
        seconds = float(str(value))
    except ValueError:
        return None
    return timedelta(seconds=seconds) if 0 <= seconds <= _LONGEST_WAIT else None


def excerpt_of(answer: Answer, secrets: Iterable[str]) -> str:
    """Return the beginning of the reply as text: no tags, no control characters, no secrets."""
    body = answer.body[:_LOOKED_AT].decode("utf-8", "replace")
    if "html" in answer.headers.get("Content-Type", "").lower():
        body = html.unescape(" ".join(_TAG.sub(" ", body).split()))
    return conceal(text.clean(body), secrets)[:EXCERPT_LIMIT]


def said_in(answer: Answer) -> Any:
    """Return what a service said in JSON; None when it is none."""
    try:
        return foreign_json.loads(answer.body)
    except ValueError:
        return None


def _redirected(answer: Answer, service: str, excerpt: str) -> PermanentError:
    try:
        host = urlsplit(answer.headers.get("Location", "")).hostname or "another page of this host"
    except ValueError:
        host = "an address that is none"
    return PermanentError(
        f"{service} redirects to {text.one_line(host)[:100]} instead of taking the message.",
        status=str(answer.status),
        excerpt=excerpt,
        advice=TROUBLES[0].advice,
        breaks_channel=True,
    )


def _phrase(status: int, words: str) -> str:
    if words:
        return f": {words}"
    try:
        return f" ({HTTPStatus(status).phrase})"
    except ValueError:
        return ""


def _one_line(words: str) -> str:
    return text.one_line(words)[:_WORDS_LIMIT].rstrip(" .")


def _date(raw: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(raw)
    except (ValueError, TypeError, OverflowError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
