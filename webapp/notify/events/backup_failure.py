"""A backup did not work."""

from dataclasses import dataclass
from typing import ClassVar, Self

from webapp.notify.events.backup_facts import BackupFacts
from webapp.notify.message import Reader, Severity, Text


@dataclass(frozen=True, kw_only=True)
class BackupFailure(BackupFacts):
    """A run ended without a stored artifact."""

    type: ClassVar[str] = "backup_failure"
    label: ClassVar[str] = "Backup Failed"
    description: ClassVar[str] = "A backup ended without a stored artifact."

    step: str
    error: str

    def say(self, reader: Reader) -> Text:
        """Say which job failed, in which step, and why."""
        return Text(
            title=f"Backup failed: {self.job}",
            text=f"{self.source} was not backed up. The run stopped in the step “{self.step}”.",
            severity=Severity.FAILURE,
            fields=self.facts(),
            error=self.error,
            path=self.path,
            link_label="Open run",
        )

    @classmethod
    def sample(cls) -> Self:
        """Return a plausible failed run."""
        return cls(
            job="nightly-orders",
            job_id=17,
            run_id=4711,
            source="orders (PostgreSQL 16)",
            destinations=[{"name": "nas", "stored": False, "detail": ""}],
            size=0,
            seconds=192.0,
            step="Dump",
            error="pg_dump: error: connection to server was lost\npg_dump ended with exit code 1.",
        )
