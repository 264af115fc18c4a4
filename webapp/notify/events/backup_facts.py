"""The facts that all outcomes of a backup share."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from webapp.core import text
from webapp.notify.events.base import Event
from webapp.notify.message import Field


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

    def facts(self) -> tuple[Field, ...]:
        """Return the fields of a message about this run."""
        stored = tuple(
            Field("Destination", f"{place['name']}: {_how(place)}", short=False)
            for place in self.destinations
        )
        return (
            Field("Job", self.job),
            Field("Source", self.source),
            *((Field("Size", text.size(self.size)),) if self.size else ()),
            Field("Duration", text.duration(timedelta(seconds=self.seconds))),
            *stored,
        )

    @property
    def path(self) -> str:
        """Page of the run."""
        return f"/runs/{self.run_id}"


def _how(place: Mapping[str, Any]) -> str:
    return "stored" if place["stored"] else place["detail"] or "not stored"
