"""A backup reached every destination."""

from dataclasses import dataclass
from typing import ClassVar, Self

from webapp.notify.events.backup_facts import BackupFacts
from webapp.notify.message import Reader, Severity, Text


@dataclass(frozen=True, kw_only=True)
class BackupSuccess(BackupFacts):
    """A run stored its artifact at every destination."""

    type: ClassVar[str] = "backup_success"
    label: ClassVar[str] = "Backup Successful"
    description: ClassVar[str] = "A backup was stored at every destination."

    def say(self, reader: Reader) -> Text:
        """Say which job is safe."""
        return Text(
            title=f"Backup successful: {self.job}",
            text=f"{self.source} was backed up and read back without a difference.",
            severity=Severity.SUCCESS,
            fields=self.facts(),
            path=self.path,
            link_label="Open run",
        )

    @classmethod
    def sample(cls) -> Self:
        """Return a plausible successful run."""
        return cls(
            job="nightly-orders",
            job_id=17,
            run_id=4711,
            source="orders (PostgreSQL 16)",
            destinations=[{"name": "nas", "stored": True, "detail": ""}],
            size=644_100_000,
            seconds=192.0,
        )
