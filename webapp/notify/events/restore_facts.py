"""The facts that both outcomes of a restore share."""

from dataclasses import dataclass
from datetime import timedelta

from webapp.core import text
from webapp.notify.events.base import Event
from webapp.notify.message import Field


@dataclass(frozen=True, kw_only=True)
class RestoreFacts(Event):
    """What was restored from where to where."""

    restore_id: int
    source: str
    database_type: str
    target: str
    artifact: str
    size: int
    """Bytes of the artifact."""
    seconds: float
    database: str = ""
    """The database that was backed up; "" when nobody knows."""

    def facts(self) -> tuple[Field, ...]:
        """Return the fields of a message about this restore."""
        return (
            Field("Source", self.source),
            *((Field("Database", self.database),) if self.database else ()),
            Field("Database type", self.database_type),
            Field("Target", self.target),
            Field("Artifact", self.artifact, short=False),
            Field("Size", text.size(self.size)),
            Field("Duration", text.duration(timedelta(seconds=self.seconds))),
        )

    @property
    def path(self) -> str:
        """Page of the restore."""
        return f"/restores/{self.restore_id}"
