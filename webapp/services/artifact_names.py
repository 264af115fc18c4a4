"""Names of artifacts, by the pattern of their job."""

import re
from collections.abc import Sequence
from datetime import datetime
from itertools import count
from typing import Final

from webapp.core.errors import InvalidError

PARTS: Final = ("job", "source", "database", "date", "time")
LONGEST: Final = 100
_SLUG: Final = 40
_ROOM: Final = 200
"""Characters of a name at most. File systems take 255 bytes; the number of the run, the suffixes,
and those of a half-written manifest need the rest."""
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
    if _longest(pattern) > _ROOM:
        raise InvalidError(
            f"Names could get longer than the {_ROOM} characters that file systems have room for. "
            "Use each of the words in braces once.",
            "name_pattern",
        )


def _longest(pattern: str) -> int:
    """Return how long a name can get, whatever the job, its source and its databases are called."""
    parts = _PART.findall(_for_several(pattern))
    return len(_PART.sub("", _for_several(pattern))) + sum(
        {"date": len("2026-10-17"), "time": len("03-00-00")}.get(part, _SLUG) for part in parts
    )


def _for_several(pattern: str) -> str:
    return pattern if "{database}" in pattern else pattern + "_{database}"


def render(
    pattern: str,
    *,
    job: str,
    source: str,
    moment: datetime,
    run_id: int,
    databases: Sequence[str],
    attempt: int = 1,
) -> list[str]:
    """Return a name without its suffixes for each database of the run.

    The run's number at its end makes it unique, with the number of a further attempt: what the one
    before left at a place that went away must not be in its way. When there are several databases,
    a pattern that does not name them is followed by their names. A file ("") is named after its
    source.
    """
    if len(databases) > 1:
        pattern = _for_several(pattern)
    slugs = _distinct([_slug(database or source) for database in databases])
    number = f"{run_id}.{attempt}" if attempt > 1 else str(run_id)
    return [_render(pattern, job, source, slug, moment, number) for slug in slugs]


def _render(
    pattern: str, job: str, source: str, database: str, moment: datetime, number: str
) -> str:
    values = {
        "job": _slug(job),
        "source": _slug(source),
        "database": database,
        "date": f"{moment:%Y-%m-%d}",
        "time": f"{moment:%H-%M-%S}",
    }
    name = _PART.sub(lambda found: values.get(found[1], ""), pattern)
    return f"{name.lstrip('.')}-{number}"


def _distinct(slugs: Sequence[str]) -> list[str]:
    """Number those that look like an earlier one: "größe" and "gr-e", names cut off."""
    found: list[str] = []
    for slug in slugs:
        tries = (f"{slug}-{number}" if number > 1 else slug for number in count(1))
        found.append(next(name for name in tries if name not in found))
    return found


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")[:_SLUG].strip("-") or "backup"
