"""A restore finished."""

from dataclasses import dataclass
from typing import ClassVar, Self

from webapp.notify.events.base import Group
from webapp.notify.events.restore_facts import RestoreFacts
from webapp.notify.message import Reader, Severity, Text


@dataclass(frozen=True, kw_only=True)
class RestoreComplete(RestoreFacts):
    """A restore finished and its checks passed."""

    type: ClassVar[str] = "restore_complete"
    label: ClassVar[str] = "Restore Completed"
    description: ClassVar[str] = "A restore finished and its checks passed."
    group: ClassVar[Group | None] = Group.RESTORE
    on_by_default: ClassVar[bool] = True

    def say(self, reader: Reader) -> Text:
        """Say what was restored to where."""
        return Text(
            title=f"Restore completed: {self.target}",
            text=f"The backup of {self.source} was restored to {self.target}.",
            severity=Severity.SUCCESS,
            fields=self.facts(),
            path=self.path,
            link_label="Open restore",
        )

    @classmethod
    def sample(cls) -> Self:
        """Return a plausible finished restore."""
        return cls(
            restore_id=12,
            source="orders",
            database_type="PostgreSQL",
            target="orders_restored",
            artifact="nightly-orders/2026-03-01T02-15-04Z.dump.gz",
            size=644_100_000,
            seconds=192.0,
        )
