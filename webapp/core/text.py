"""Sizes, durations and cleaned texts in words."""

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_UNITS: Final = ("B", "kB", "MB", "GB", "TB", "PB")


def clean(text: str) -> str:
    """Return the text without control characters (line feed and tab stay) and lone surrogates."""
    return _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def listed(words: Sequence[str]) -> str:
    """Return "a", "a and b" or "a, b and c"."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def one_line(text: str) -> str:
    """Return the cleaned text with every run of white space as one blank."""
    return " ".join(clean(text).split())


def size(count: int) -> str:
    """Return a number of bytes in decimal units with at most one digit: 96 MB, 644.1 MB."""
    value = float(count)
    unit = 0
    while value >= 999.95 and unit < len(_UNITS) - 1:
        value /= 1000
        unit += 1
    digits = f"{value:.0f}" if unit == 0 else f"{value:.1f}".removesuffix(".0")
    return f"{digits} {_UNITS[unit]}"


def duration(value: timedelta) -> str:
    """Return a duration as people say it: 182 ms, 1.4 s, 48 s, 3 min 20 s, 1 h 04 min, 2 d 3 h."""
    seconds = max(value.total_seconds(), 0.0)
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes:02} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def plural(count: int, noun: str, nouns: str | None = None) -> str:
    """Return "1 channel", "3 channels"; zero is "no channels"."""
    word = noun if count == 1 else nouns or f"{noun}s"
    return f"{count or 'no'} {word}"
