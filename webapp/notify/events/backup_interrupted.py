"""A backup did not come to its end because DBackup did not run on."""

from dataclasses import dataclass
from typing import ClassVar, Self

from webapp.notify.events.backup_facts import BackupFacts
from webapp.notify.message import Reader, Severity, Text


@dataclass(frozen=True, kw_only=True)
class BackupInterrupted(BackupFacts):
    """A run's process was stopped or died."""

    type: ClassVar[str] = "backup_interrupted"
    label: ClassVar[str] = "Backup Interrupted"
    description: ClassVar[str] = "DBackup was stopped or died while the backup ran."

    step: str
    error: str

    def say(self, reader: Reader) -> Text:
        """Say which job has no backup now, and why."""
        return Text(
            title=f"Backup interrupted: {self.job}",
            text=f"{self.kept or f'{self.source} was not backed up.'} The run ended in the step "
            f"“{self.step}” because its process did.",
            severity=Severity.FAILURE,
            fields=self.facts(),
            error=self.error,
            path=self.path,
            link_label="Open run",
        )

    @classmethod
    def sample(cls) -> Self:
        """Return a plausible interrupted run."""
        return cls(
            job="nightly-orders",
            job_id=17,
            run_id=4714,
            source="orders (PostgreSQL)",
            destinations=[{"name": "nas", "stored": False, "detail": ""}],
            size=0,
            seconds=192.0,
            step="Dump",
            error="The process that ran this backup died.",
        )
