"""Lays out a message as title, text, facts and error within the limits of a service.

What gives way first: the error (its middle; causes stand at its beginning or end), then the
text, then the last facts. Everything left out is said.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from webapp.core import text
from webapp.notify.message import Field, Message
from webapp.notify.shorten import Escape, Measure, fit, is_blank, share, utf16

LEAST: Final = 300
"""What error and text keep before facts are dropped."""
NOTHING: Final = "–"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a service allows, in the units of `measure`; each text is measured as it is sent."""

    total: int
    title: int
    text: int
    name: int
    value: int
    facts: int
    error: int
    footer: int = 300
    address: int = 2000
    """Characters of a link."""
    around: int = 0
    """What the service's own form costs besides the parts."""
    around_fact: int = 0
    """What it costs for each fact."""
    measure: Measure = utf16


@dataclass(frozen=True)
class Laid:
    """The parts, escaped and shortened. `text`, `error` and `link` may be empty."""

    title: str
    text: str
    facts: tuple[Field, ...]
    error: str
    footer: str
    link: str


def lay_out(
    message: Message, limits: Limits, *, escape: Escape, escape_title: Escape, escape_code: Escape
) -> Laid:
    """Return the parts of a message; title and code have their own escaping.

    A link that hosted services cannot take stands in the text.
    """
    measure = limits.measure

    def cut(value: str, limit: int, escaped: Escape = escape) -> str:
        shown = NOTHING if is_blank(value) else value.strip()
        return fit(shown, limit, escape=escaped, measure=measure) or NOTHING

    link = message.link if is_linkable(message.link, limits.address) else ""
    said = _said(message, link)
    title = cut(message.title, limits.title, escape_title)
    footer = cut(message.footer, limits.footer)
    body = cut(said, limits.text) if said else ""
    facts = [
        Field(cut(fact.name, limits.name), cut(fact.value, limits.value), fact.short)
        for fact in message.fields[: limits.facts]
    ]
    error = "" if is_blank(message.error) else message.error
    code = _code(error, limits.error, escape_code, measure)
    room = limits.total - limits.around - sum(map(measure, (title, footer, link)))
    room -= sum(_size(fact, limits) for fact in facts)
    least = min(measure(body), LEAST) + min(measure(code), LEAST)
    while facts and room - _reserve(facts, message, limits) < least:
        room += _size(facts.pop(), limits)
    room -= _reserve(facts, message, limits)
    for_body, for_code = share(room, [(measure(body), LEAST), (measure(code), LEAST)])
    if for_body < measure(body):
        body = cut(said, for_body)
    if for_code < measure(code):
        code = _code(error, for_code, escape_code, measure)
    return Laid(title, body, (*facts, *_missing(facts, message)), code, footer, link)


def _code(error: str, limit: int, escape: Escape, measure: Callable[[str], int]) -> str:
    return fit(error, limit, escape=escape, measure=measure, keep_end=True)


def _size(fact: Field, limits: Limits) -> int:
    return limits.measure(fact.name) + limits.measure(fact.value) + limits.around_fact


def _missing(facts: list[Field], message: Message) -> tuple[Field, ...]:
    """Return a fact that says how many more there are."""
    count = len(message.fields) - len(facts)
    if not count:
        return ()
    return (Field("More", f"{text.plural(count, 'fact')} left out, see DBackup", short=False),)


def _reserve(facts: list[Field], message: Message, limits: Limits) -> int:
    return sum(_size(fact, limits) for fact in _missing(facts, message))


def _said(message: Message, link: str) -> str:
    """Return the text with what belongs to it: that it is late, and the link in words."""
    words = message.text.strip()
    parts = ["" if is_blank(words) else words, message.late_note]
    if not link:
        parts.append(f"{message.link_label}: {message.link}")
    return "\n".join(filter(None, parts))


def is_linkable(link: str, most: int) -> bool:
    """Say whether hosted services take the address of a link: a host without a dot, such as
    localhost, makes them refuse the whole message.
    """
    try:
        host = urlsplit(link).hostname or ""
    except ValueError:
        return False
    return link.startswith(("http://", "https://")) and "." in host and len(link) <= most
