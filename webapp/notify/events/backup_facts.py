"""The facts that all outcomes of a backup share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from webapp.core import text
from webapp.notify.events.base import Event
from webapp.notify.message import Field

MOST_NAMES: Final = 12


@dataclass(frozen=True, kw_only=True)
class BackupFacts(Event):
    """Which job ran, from where, to where."""

    job: str
    job_id: int
    run_id: int
    source: str
    destinations: list[dict[str, Any]]
    """One each: name, stored (bool), detail."""
    size: int
    """Bytes of the artifact; 0 when none was made."""
    seconds: float
    databases: list[dict[str, Any]] = field(default_factory=list)
    """Of a source of several, one each: name, stored (bool), detail."""

    @property
    def good(self) -> list[str]:
        """Return the databases that were backed up, of several."""
        return [str(each["name"]) for each in self.databases if each["stored"]]

    @property
    def bad(self) -> list[str]:
        """Return the databases that were not backed up, of several."""
        return [str(each["name"]) for each in self.databases if not each["stored"]]

    @property
    def kept(self) -> str:
        """Return a sentence about what was whole before the run ended; "" for nothing."""
        if not self.good:
            return ""
        return f"{self.count} of {self.source} were backed up before that: {listed(self.good)}."

    @property
    def count(self) -> str:
        """Return "2 of 3 databases"."""
        return f"{len(self.good)} of {len(self.databases)} databases"

    def facts(self) -> tuple[Field, ...]:
        """Return the fields of a message about this run."""
        stored = tuple(
            Field("Destination", f"{place['name']}: {_how(place)}", short=False)
            for place in self.destinations
        )
        return (
            Field("Job", self.job),
            Field("Source", self.source),
            *((Field("Databases", listed(self._names), short=False),) if self.databases else ()),
            *((Field("Size", text.size(self.size)),) if self.size else ()),
            Field("Duration", text.duration(timedelta(seconds=self.seconds))),
            *stored,
        )

    @property
    def _names(self) -> list[str]:
        return [str(each["name"]) for each in self.databases]

    @property
    def path(self) -> str:
        """Page of the run."""
        return f"/runs/{self.run_id}"


def listed(names: Sequence[str]) -> str:
    """Return the names as a list that stays short."""
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _how(place: Mapping[str, Any]) -> str:
    if place["stored"]:
        return f"stored, {place['detail']}" if place["detail"] else "stored"
    return place["detail"] or "not stored"
