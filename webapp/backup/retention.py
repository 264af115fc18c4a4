"""Which backups a destination keeps."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Any, Final, Self

from webapp.backup import manifest
from webapp.backup.destinations.base import Destination
from webapp.backup.errors import BackupError

LOCK: Final = ".lock"
"""Suffix of the empty file beside an artifact that must not be deleted."""
AHEAD: Final = timedelta(hours=1)
"""How far the clocks of several machines may differ."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What is kept: whatever any rule keeps. Without a rule, everything."""

    last: int | None = None
    days: int | None = None
    """Everything that is younger than so many days."""
    daily: int | None = None
    """The newest one of each of the last so many days that have one; the others alike."""
    weekly: int | None = None
    monthly: int | None = None
    yearly: int | None = None

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild them; what this version does not know is left out."""
        known = {name: values.get(name) for name in RULE_NAMES}
        return cls(**{name: int(value) for name, value in known.items() if value})

    def to_json(self) -> dict[str, int]:
        """Return the rules that are set."""
        return {name: value for name, value in asdict(self).items() if value}

    def __bool__(self) -> bool:
        return bool(self.to_json())

    @property
    def words(self) -> str:
        """Return them in words: "the last 7, 12 monthly"."""
        said = []
        for name, value in self.to_json().items():
            if name == "last":
                said.append(f"the last {value}")
            elif name == "days":
                said.append(f"all of the last {value} day{'' if value == 1 else 's'}")
            else:
                said.append(f"{value} {name}")
        return ", ".join(said) or "all backups"


RULE_NAMES: Final = ("last", "days", "daily", "weekly", "monthly", "yearly")
_PERIODS: Final[Mapping[str, Callable[[datetime], object]]] = {
    "daily": lambda moment: moment.date(),
    "weekly": lambda moment: moment.isocalendar()[:2],
    "monthly": lambda moment: (moment.year, moment.month),
    "yearly": lambda moment: moment.year,
}


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A whole backup at a destination, and what becomes of it."""

    key: str
    size: int
    created_at: datetime
    locked: bool
    database: str = ""
    """The database it is of; "" when its manifest does not say."""
    reasons: tuple[str, ...] = ()
    """Why it is kept; empty: it would be deleted."""


def plan(
    destination: Destination,
    prefix: str,
    rules: Rules,
    *,
    now: datetime,
    zone: tzinfo,
    coming: Iterable[str] = (),
) -> tuple[Kept, ...]:
    """Say what becomes of each whole backup under the prefix, newest first.

    Counts only good ones (with a readable manifest and the size it states). The newest good one,
    locked ones and those that are dated in the future are kept, whatever the rules say. Files
    without a usable manifest are not listed: they may be somebody else's, or a backup that is being
    verified.

    The rules hold for each database by itself. A backup whose manifest names no database may be of
    any of them: it counts for each, and stays as long as it is kept for one.

    `coming` names the databases of a run that would end well now: its backups count as if they were
    there, and are not listed.
    """
    there = good(destination, prefix)
    found = _newest_first([*there, *(_made_now(database, now) for database in coming)])
    reasons: dict[str, list[str]] = {each.key: [] for each in found}
    for database in {each.database for each in found if each.database} or {""}:
        mine = tuple(each for each in found if each.database in {"", database})
        for key, said in _reasons(mine, database, rules, now, zone).items():
            reasons[key] += [reason for reason in said if reason not in reasons[key]]
    return tuple(
        Kept(
            key=each.key,
            size=each.size,
            created_at=each.created_at,
            locked=each.locked,
            database=each.database,
            reasons=tuple(reasons[each.key]),
        )
        for each in there
    )


def _made_now(database: str, now: datetime) -> Kept:
    # no key of a destination has a colon at its start
    return Kept(key=f":{database}", size=0, created_at=now, locked=False, database=database)


def _newest_first(found: Iterable[Kept]) -> tuple[Kept, ...]:
    return tuple(sorted(found, key=lambda each: (each.created_at, each.key), reverse=True))


def doomed(planned: Iterable[Kept]) -> tuple[str, ...]:
    """Return the keys that nothing keeps."""
    return tuple(each.key for each in planned if not each.reasons)


def delete(destination: Destination, key: str) -> None:
    """Delete a backup with its manifest."""
    destination.delete(key)
    destination.delete(key + manifest.SUFFIX)
    destination.delete(key + LOCK)


def good(destination: Destination, prefix: str) -> tuple[Kept, ...]:
    """Return the whole backups under the prefix, newest first."""
    sizes = {entry.key: entry.size for entry in destination.list(prefix)}
    found = []
    for key in map(manifest.artifact_of, filter(manifest.is_manifest, sizes)):
        try:
            stated = manifest.read(destination, key)
        except BackupError:
            continue
        if stated.size == sizes.get(key):
            locked = key + LOCK in sizes
            found.append(
                Kept(
                    key=key,
                    size=stated.size,
                    created_at=stated.created_at,
                    locked=locked,
                    database=stated.database,
                )
            )
    return _newest_first(found)


def _reasons(
    found: tuple[Kept, ...], database: str, rules: Rules, now: datetime, zone: tzinfo
) -> dict[str, list[str]]:
    reasons: dict[str, list[str]] = {each.key: [] for each in found}
    # while a clock was wrong: they must not push out what is newer in truth
    ahead = tuple(each for each in found if each.created_at > now + AHEAD)
    for each in ahead:
        reasons[each.key].append("dated in the future")
    found = found[len(ahead) :]
    for number, each in enumerate(found):
        said = reasons[each.key]
        if each.locked:
            said.append("locked")
        if not rules:
            said.append("no rule")
        if number < (rules.last or 0):
            said.append(f"last {rules.last}")
        if rules.days and each.created_at > now - timedelta(days=rules.days):
            said.append(f"younger than {rules.days} days")
    for name, period in _PERIODS.items():
        for key in _newest_of_each(found, period, getattr(rules, name) or 0, zone):
            reasons[key].append(name)
    surely = [each.key for each in found if each.database == database]
    for key in {found[0].key, *surely[:1]} if found else ():
        if not reasons[key]:
            reasons[key].append("the newest good one")
    return reasons


def _newest_of_each(
    found: tuple[Kept, ...], period: Callable[[datetime], object], count: int, zone: tzinfo
) -> list[str]:
    newest: dict[object, str] = {}
    for each in found:
        newest.setdefault(period(each.created_at.astimezone(zone)), each.key)
    return list(newest.values())[:count]
