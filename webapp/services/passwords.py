"""Rules for passwords, and how they are stored."""

import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

SHORTEST: Final = 12  # characters
LONGEST: Final = 1024  # characters; a longer one is refused, never cut
SHORTEST_UNIT_REPEATS: Final = 3

# https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html: 19 MiB is the
# smallest memory that it names; one pass more makes up for the single lane
_hasher = PasswordHasher(time_cost=3, memory_cost=19 * 1024, parallelism=1)

_ALGORITHM: Final = "$argon2"


class Rule(NamedTuple):
    """One line of the list under the password field."""

    text: str
    met: bool


def rules(password: str, repeated: str | None = None) -> tuple[Rule, ...]:
    """Return what a new password must meet, and whether this one does."""
    found = (
        Rule(f"Has at least {SHORTEST} characters", SHORTEST <= len(password) <= LONGEST),
        Rule("Is not a commonly used password", bool(password) and not is_common(password)),
    )
    if repeated is None:
        return found
    return (*found, Rule("Is typed the same way twice", bool(password) and password == repeated))


def problem(password: str, own: Iterable[str] = ()) -> str | None:
    """Return in words why this cannot be a password, or None; `own` are the person's names."""
    if len(password) < SHORTEST:
        return f"Use at least {SHORTEST} characters. A short sentence is easy to remember."
    if len(password) > LONGEST:
        return f"Use at most {LONGEST} characters."
    if is_common(password):
        return "This password is among those that are tried first. Choose another one."
    if is_own(password, own):
        return "This is the person's own name or email, which are tried first. Choose another one."
    return None


def is_own(password: str, own: Iterable[str]) -> bool:
    """Say whether it is one of these names or emails, whatever the signs and digits around."""
    names = {_letters(part) for name in own for part in (name, name.partition("@")[0])}
    return _letters(password) in names - {""}


def _letters(text: str) -> str:
    return re.sub(r"[\W_]+", "", text.casefold()).strip("0123456789")


def is_common(password: str) -> bool:
    """Say whether it is listed, is listed words twice or between digits, or only repeats."""
    folded = password.casefold()
    # from the first letter to the last, in time that grows no faster than the text
    word = re.search(r"[^\W\d_](?:.*[^\W\d_])?", folded, re.DOTALL)
    core = word[0] if word else ""
    half = folded[: len(folded) // 2]
    return (
        folded in _common()
        or core in _common()
        or (half in _common() and folded == half * 2)
        or re.fullmatch(rf"(.{{1,4}}?)\1{{{SHORTEST_UNIT_REPEATS - 1},}}.{{0,3}}", folded)
        is not None
        or _is_a_run(folded)
    )


def _is_a_run(text: str) -> bool:
    """Say whether every character follows its neighbour, up or down: 0123456789, zyxwv."""
    steps = {(ord(b) - ord(a)) % 10 if b.isdigit() else ord(b) - ord(a) for a, b in pairwise(text)}
    return len(steps) == 1 and steps <= {0, 1, -1, 9}


@lru_cache
def _common() -> frozenset[str]:
    lines = [
        line
        for name in ("common_passwords.txt", "common_long_passwords.txt")
        for line in Path(__file__).with_name(name).read_text(encoding="utf-8").splitlines()
    ]
    return frozenset(line for line in lines if line and not line.startswith("# "))


def hashed(password: str) -> str:
    """Return the argon2id hash to store."""
    return _hasher.hash(password)


def matches(stored: str | None, password: str) -> bool:
    """Say whether this is the password.

    Without a stored one, or with one that matches nothing (people whom the OpenID provider brought
    have no password), it takes as long and says no.
    """
    decoy = _decoy()  # also on the other way, so that the first call of either takes the same time
    is_hash = stored is not None and stored.startswith(_ALGORITHM)
    try:
        _hasher.verify(stored if stored and is_hash else decoy, password)
    except (VerificationError, InvalidHashError):
        return False
    return is_hash


def is_outdated(stored: str) -> bool:
    """Say whether the hash was made with weaker parameters than today's."""
    return _hasher.check_needs_rehash(stored)


@lru_cache
def _decoy() -> str:
    return _hasher.hash("nobody has this password")
