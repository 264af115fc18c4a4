"""A restore stopped before the end, by an error or by somebody."""

from dataclasses import dataclass
from typing import ClassVar, Final, Self

from webapp.notify.events.base import Group
from webapp.notify.events.restore_facts import RestoreFacts
from webapp.notify.message import Field, Reader, Severity, Text

UNTOUCHED: Final = "The restore changed nothing in the backup."
"""Not that the backup is sound: that may be what the restore failed of."""


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
    trial_of: str = ""
    """The job whose backup was restored on trial; "": it was no trial."""

    def say(self, reader: Reader) -> Text:
        """Say what could not be restored, in which step, and why."""
        return self._cancelled() if self.stopped_by else self._failed()

    def _cancelled(self) -> Text:
        who = f"{self.stopped_by} cancelled {self._what}"
        left = f"{self.remains} " if self.remains else ""
        return Text(
            title=f"{self._title} cancelled: {self.trial_of or self.target}",
            text=f"{who} in the step “{self.step}”. {left}{UNTOUCHED}",
            severity=Severity.WARNING,
            fields=(*self._fields(), Field("Cancelled by", self.stopped_by)),
            path=self.path,
            link_label="Open restore",
        )

    def _failed(self) -> Text:
        return Text(
            title=f"{self._title} failed: {self.trial_of or self.target}",
            text=f"{self._what[0].upper()}{self._what[1:]} stopped in the step “{self.step}”. "
            f"{UNTOUCHED}",
            severity=Severity.FAILURE,
            fields=self._fields(),
            error=self.error,
            path=self.path,
            link_label="Open restore",
        )

    @property
    def _title(self) -> str:
        return "Trial restore" if self.trial_of else "Restore"

    @property
    def _what(self) -> str:
        trial = f"trial restore of job {self.trial_of}, " if self.trial_of else "restore of "
        return f"the {trial}{self.source} to {self.target}{',' if self.trial_of else ''}"

    def _fields(self) -> tuple[Field, ...]:
        return (*((Field("Job", self.trial_of),) if self.trial_of else ()), *self.facts())

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
