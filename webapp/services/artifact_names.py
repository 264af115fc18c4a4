"""Names of artifacts, by the pattern of their job."""

import re
from datetime import datetime
from typing import Final

from webapp.core.errors import InvalidError

PARTS: Final = ("job", "source", "date", "time")
LONGEST: Final = 100
_PART: Final = re.compile(r"\{([^{}]*)\}")
_PLAIN: Final = re.compile(r"[A-Za-z0-9._-]*")


def check(pattern: str) -> None:
    """Refuse a pattern that makes no good file names.

    Raises:
        InvalidError: with what is wrong.
    """
    for name in _PART.findall(pattern):
        if name not in PARTS:
            known = ", ".join(f"{{{part}}}" for part in PARTS)
            raise InvalidError(f"{{{name}}} is not known. Use {known}.", "name_pattern")
    rest = _PART.sub("", pattern)
    if not _PLAIN.fullmatch(rest) or pattern.startswith("."):
        raise InvalidError(
            "Use letters, digits, “-”, “_”, “.” and the words in braces; do not begin with a dot.",
            "name_pattern",
        )
    if "{date}" not in pattern:
        raise InvalidError("Use {date} somewhere, so that names can be told apart.", "name_pattern")
    if len(pattern) > LONGEST:
        raise InvalidError(f"Use at most {LONGEST} characters.", "name_pattern")


def render(pattern: str, *, job: str, source: str, moment: datetime, run_id: int) -> str:
    """Return the name without its suffixes. The run's number at its end makes it unique."""
    values = {
        "job": _slug(job),
        "source": _slug(source),
        "date": f"{moment:%Y-%m-%d}",
        "time": f"{moment:%H-%M-%S}",
    }
    name = _PART.sub(lambda found: values.get(found[1], ""), pattern)
    return f"{name.lstrip('.')}-{run_id}"


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")[:40].strip("-") or "backup"
