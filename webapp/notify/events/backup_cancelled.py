"""Somebody stopped a backup."""

from dataclasses import dataclass
from typing import ClassVar, Self

from webapp.notify.events.backup_facts import BackupFacts
from webapp.notify.message import Field, Reader, Severity, Text


@dataclass(frozen=True, kw_only=True)
class BackupCancelled(BackupFacts):
    """A run was stopped by hand."""

    type: ClassVar[str] = "backup_cancelled"
    label: ClassVar[str] = "Backup Cancelled"
    description: ClassVar[str] = "A backup was stopped by hand."

    stopped_by: str

    def say(self, reader: Reader) -> Text:
        """Say which job was stopped, and by whom."""
        return Text(
            title=f"Backup cancelled: {self.job}",
            text=f"{self.stopped_by} stopped the run. {self.kept}"
            if self.good
            else f"{self.stopped_by} stopped the run, so {self.source} was not backed up.",
            severity=Severity.WARNING,
            fields=(*self.facts(), Field("Stopped by", self.stopped_by)),
            path=self.path,
            link_label="Open run",
        )

    @classmethod
    def sample(cls) -> Self:
        """Return a plausible cancelled run."""
        return cls(
            job="nightly-orders",
            job_id=17,
            run_id=4713,
            source="orders (PostgreSQL)",
            destinations=[{"name": "nas", "stored": False, "detail": ""}],
            size=0,
            seconds=12.0,
            stopped_by="Mara Lindqvist",
        )
