"""Private keys as text; a field of one line loses their line breaks."""

import re
from typing import Final

LINE: Final = 70  # characters, as OpenSSH writes
_KEY: Final = re.compile(r"-----BEGIN ([A-Z ]+ KEY)-----(.*?)-----END \1-----", re.DOTALL)


def is_private_key(text: str) -> bool:
    """Say whether the text looks like a private key in PEM form."""
    return "PRIVATE KEY-----" in text


def with_lines(text: str) -> str:
    """Return the key with its line breaks; anything else is returned as it is."""
    found = _KEY.search(text)
    if found is None or "\n" in found[2].strip() or ":" in found[2]:
        return f"{text.strip()}\n"
    body = "".join(found[2].split())
    lines = [body[start : start + LINE] for start in range(0, len(body), LINE)]
    return "\n".join((f"-----BEGIN {found[1]}-----", *lines, f"-----END {found[1]}-----", ""))
