"""A restore stopped before the end, by an error or by somebody."""

from dataclasses import dataclass
from typing import ClassVar, Self

from webapp.notify.events.base import Group
from webapp.notify.events.restore_facts import RestoreFacts
from webapp.notify.message import Field, Reader, Severity, Text


@dataclass(frozen=True, kw_only=True)
class RestoreFailure(RestoreFacts):
    """A restore ended with an error, or was cancelled."""

    type: ClassVar[str] = "restore_failure"
    label: ClassVar[str] = "Restore Failed"
    description: ClassVar[str] = (
        "A restore stopped before the end, also when somebody cancelled it. Includes the step and "
        "the error."
    )
    group: ClassVar[Group | None] = Group.RESTORE
    on_by_default: ClassVar[bool] = True

    step: str
    error: str
    """"" when it was cancelled."""
    stopped_by: str = ""
    """Who cancelled it; "": it failed."""
    remains: str = ""
    """Of a cancelled one: what is in the target now, as a sentence."""

    def say(self, reader: Reader) -> Text:
        """Say what could not be restored, in which step, and why."""
        return self._cancelled() if self.stopped_by else self._failed()

    def _cancelled(self) -> Text:
        who = f"{self.stopped_by} cancelled the restore of {self.source} to {self.target}"
        left = f"{self.remains} " if self.remains else ""
        return Text(
            title=f"Restore cancelled: {self.target}",
            text=f"{who} in the step “{self.step}”. {left}The backup itself is unchanged.",
            severity=Severity.WARNING,
            fields=(*self.facts(), Field("Cancelled by", self.stopped_by)),
            path=self.path,
            link_label="Open restore",
        )

    def _failed(self) -> Text:
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
