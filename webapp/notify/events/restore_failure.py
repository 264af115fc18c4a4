"""A restore stopped before the end."""

from dataclasses import dataclass
from typing import ClassVar, Self

from webapp.notify.events.base import Group
from webapp.notify.events.restore_facts import RestoreFacts
from webapp.notify.message import Reader, Severity, Text


@dataclass(frozen=True, kw_only=True)
class RestoreFailure(RestoreFacts):
    """A restore ended with an error."""

    type: ClassVar[str] = "restore_failure"
    label: ClassVar[str] = "Restore Failed"
    description: ClassVar[str] = (
        "A restore stopped before the end. Includes the step and the error."
    )
    group: ClassVar[Group | None] = Group.RESTORE
    on_by_default: ClassVar[bool] = True

    step: str
    error: str

    def say(self, reader: Reader) -> Text:
        """Say what could not be restored, in which step, and why."""
        return Text(
            title=f"Restore failed: {self.target}",
            text=f"The restore of {self.source} to {self.target} stopped in the step "
            f"“{self.step}”. The backup itself is unchanged.",
            severity=Severity.FAILURE,
            fields=self.facts(),
            error=self.error,
            path=self.path,
            link_label="Open restore",
        )

    @classmethod
    def sample(cls) -> Self:
        """Return a plausible failed restore."""
        return cls(
            restore_id=13,
            source="orders",
            database_type="PostgreSQL",
            target="orders_restored",
            artifact="nightly-orders/2026-03-01T02-15-04Z.dump.gz",
            size=644_100_000,
            seconds=4.0,
            step="Load",
            error='pg_restore: error: could not execute query: type "geometry" does not exist',
        )
