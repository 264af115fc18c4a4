"""Cuts texts to the limits of services: in their units, after escaping, between characters."""

import json
import unicodedata
from collections.abc import Callable, Sequence
from typing import Final

Escape = Callable[[str], str]
Measure = Callable[[str], int]

_JOINER: Final = "\u200d"
_MODIFIERS: Final = range(0x1F3FB, 0x1F400)  # skin tones
_LONGEST_CLUSTER: Final = 32  # characters that may belong to one sign; more is an attack


def utf16(text: str) -> int:
    """Return the length in UTF-16 units, which is how JavaScript counts."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "replace")) // 2


def utf8(text: str) -> int:
    """Return the length in bytes of UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def json_bytes(text: str) -> int:
    """Return the length in bytes of UTF-8 inside JSON quotes."""
    return len(json.dumps(text, ensure_ascii=False).encode("utf-8", "replace")) - 2


def is_blank(text: str) -> bool:
    """Say whether nothing of the text can be seen: services refuse such texts as empty."""
    return not any(unicodedata.category(sign)[0] not in "CZM" for sign in text)


def share(room: int, parts: Sequence[tuple[int, int]]) -> list[int]:
    """Return how much of the room each part gets, of its size and the least it can do with.

    The last part gives way first; together they need more than the room only if their least does.
    """
    given = [size for size, _ in parts]
    for number in reversed(range(len(parts))):
        excess = max(sum(given) - room, 0)
        given[number] = max(given[number] - excess, min(given[number], parts[number][1]))
    return given


def _as_is(text: str) -> str:
    return text


def fit(
    text: str,
    limit: int,
    *,
    escape: Escape = _as_is,
    measure: Measure = utf16,
    keep_end: bool = False,
) -> str:
    """Return the escaped text, cut so that it measures at most `limit`.

    A cut is said ("… (cut, 5033 characters)"). With `keep_end` the middle is left out instead of
    the end: the last lines of an error often name its cause. Escaping may only lengthen.
    """
    short = text if len(text) <= limit else None
    if short is not None:
        whole = escape(short)
        if measure(whole) <= limit:
            return whole
    note = f"… (cut, {len(text)} characters)"
    if measure(note) > limit // 2:
        note = "…"

    def shortened(kept: int) -> str:
        if not keep_end:
            return escape(_head(text, kept)) + note
        tail = kept * 2 // 5
        end = text[_border(text, len(text) - tail) :] if tail else ""
        return f"{escape(_head(text, kept - tail))}\n{note}\n{escape(end)}"

    low, high = 0, min(limit, len(text))
    while low < high:
        middle = (low + high + 1) // 2
        if measure(shortened(middle)) <= limit:
            low = middle
        else:
            high = middle - 1
    found = shortened(low)
    return found if measure(found) <= limit else ""


def _head(text: str, count: int) -> str:
    return text[: _border(text, count)]


def _border(text: str, position: int) -> int:
    """Return the nearest place at or before the position that is no middle of a visible sign."""
    start = position
    while 0 < position < len(text) and start - position < _LONGEST_CLUSTER:
        if not _continues(text[position - 1], text[position]):
            return position
        position -= 1
    return position if start - position < _LONGEST_CLUSTER else start


def _continues(before: str, character: str) -> bool:
    return (
        _JOINER in {before, character}
        or unicodedata.combining(character) != 0
        or unicodedata.category(character) in {"Mn", "Me"}
        or ord(character) in _MODIFIERS
    )
