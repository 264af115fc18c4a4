"""The alphabets of text messages: GSM-7 and UCS-2, and what a text costs in segments.

GSM 03.38; one sign outside of its alphabet turns the whole text into UCS-2, which more than
doubles the price, so signs that have a look-alike in the alphabet are replaced by it.
"""

import unicodedata
from typing import Final

SINGLE: Final = 160
PART: Final = 153
SINGLE_UCS2: Final = 70
PART_UCS2: Final = 67

_BASIC: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_TWICE: Final = frozenset("^{}\\[~]|€\f")
_ALIKE: Final = {
    **dict.fromkeys("`‘’‚‛′´ʼ", "'"),
    **dict.fromkeys("“”„‟″«»", '"'),
    **dict.fromkeys("‐‑‒–—―−⁃", "-"),
    **dict.fromkeys(
        "\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a", " "
    ),
    **dict.fromkeys("\u202f\u205f\u3000\t", " "),
    "…": "...",
    "•": "*",
    "·": ".",
    "×": "x",
    "→": "->",
    "←": "<-",
    "≤": "<=",
    "≥": ">=",
    "ç": "c",
    "ł": "l",
    "Ł": "L",
    "đ": "d",
    "Đ": "D",
    "œ": "oe",
    "Œ": "OE",
    "©": "(c)",
    "®": "(r)",
    "™": "(tm)",
}
_UNSEEN: Final = frozenset({"Cf", "Mn", "Me", "Cc", "Cs", "Co", "Cn", "Sk"})
_NAME_LIMIT: Final = 24


def is_gsm(text: str) -> bool:
    """Say whether the text can be sent in GSM-7."""
    return all(sign in _BASIC or sign in _TWICE for sign in text)


def plain(text: str) -> str:
    """Return the text with look-alikes of the GSM alphabet; what has none stays as it is."""
    return "".join(sign if sign in _BASIC or sign in _TWICE else _alike(sign) for sign in text)


def _alike(sign: str) -> str:
    if sign in _ALIKE:
        return _ALIKE[sign]
    kind = unicodedata.category(sign)
    if kind in _UNSEEN:
        return ""
    bare = "".join(
        one for one in unicodedata.normalize("NFKD", sign) if not unicodedata.combining(one)
    )
    if bare and is_gsm(bare):
        return bare
    if kind == "So":  # emoji: their names can be read, and a question mark says nothing
        return f"({unicodedata.name(sign, 'sign').lower()[:_NAME_LIMIT]})"
    return sign


def units(text: str) -> int:
    """Return the length in septets, or in UTF-16 units when the text needs UCS-2."""
    if is_gsm(text):
        return sum(2 if sign in _TWICE else 1 for sign in text)
    return sum(2 if ord(sign) > 0xFFFF else 1 for sign in text)


def segments(text: str) -> int:
    """Return how many text messages it takes; a sign of two units never straddles two of them."""
    gsm = is_gsm(text)
    single, part = (SINGLE, PART) if gsm else (SINGLE_UCS2, PART_UCS2)
    if units(text) <= single:
        return 1
    count, used = 1, 0
    for sign in text:
        size = units(sign) if gsm else 1 + (ord(sign) > 0xFFFF)
        if used + size > part:
            count, used = count + 1, 0
        used += size
    return count


def capacity(count: int, *, gsm: bool) -> int:
    """Return the units that surely fit into so many segments."""
    single, part = (SINGLE, PART) if gsm else (SINGLE_UCS2, PART_UCS2)
    return single if count == 1 else part * count - (count - 1)
