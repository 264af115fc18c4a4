"""Whether a MySQL or MariaDB user may read all that belongs to a dump."""

import re
from collections.abc import Iterable
from typing import Final

NEEDED: Final = ("SELECT", "SHOW VIEW", "TRIGGER", "EVENT")
_GRANT: Final = re.compile(r"^GRANT (.+) ON (?:TABLE )?(.+?) TO ", re.IGNORECASE)
_ROLE: Final = re.compile(r"^GRANT [`'\"][^,]+ TO ", re.IGNORECASE)


def missing(grants: Iterable[str], database: str) -> tuple[str, ...]:
    """Return what is missing; nothing when a role may bring it, which only the dump can show."""
    lines = list(grants)
    held = {right for line in lines for right in _rights(line, database)}
    if "ALL PRIVILEGES" in held or "ALL" in held or any(_ROLE.match(line) for line in lines):
        return ()
    return tuple(right for right in NEEDED if right not in held)


def words(lacking: Iterable[str], user: str, database: str) -> str:
    """Return the refusal, with the statement that mends it."""
    rights = ", ".join(lacking)
    return (
        f"User {user} lacks {rights} on {database}, so a dump would be incomplete. Give it on the "
        f"server: GRANT {rights} ON `{database}`.* TO the user."
    )


def _rights(grant: str, database: str) -> set[str]:
    found = _GRANT.match(grant)
    if found is None or not _covers(found[2], database):
        return set()
    return {right.strip().upper() for right in re.sub(r"\([^)]*\)", "", found[1]).split(",")}


def _covers(target: str, database: str) -> bool:
    """Say whether a grant's target, perhaps a pattern with % and _, is the whole database."""
    name, dot, table = target.rpartition(".")
    if not dot or table != "*":
        return False
    if name == "*":
        return True
    pattern = name.strip("`'\"").replace("``", "`")
    parts = re.split(r"(\\.|%|_)", pattern)
    expression = "".join(
        ".*" if part == "%" else "." if part == "_" else re.escape(part.removeprefix("\\"))
        for part in parts
    )
    return re.fullmatch(expression, database) is not None
