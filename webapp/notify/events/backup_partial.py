"""A backup reached some of its destinations."""

from dataclasses import dataclass
from typing import ClassVar, Self

from webapp.notify.events.backup_facts import BackupFacts
from webapp.notify.message import Reader, Severity, Text


@dataclass(frozen=True, kw_only=True)
class BackupPartial(BackupFacts):
    """A run stored its artifact at some destinations only."""

    type: ClassVar[str] = "backup_partial"
    label: ClassVar[str] = "Backup Partial"
    description: ClassVar[str] = "A backup was stored at some of its destinations only."

    error: str

    def say(self, reader: Reader) -> Text:
        """Say which destinations have it and which do not."""
        missing = [str(place["name"]) for place in self.destinations if not place["stored"]]
        return Text(
            title=f"Backup partial: {self.job}",
            text=f"{self.source} was backed up, but not stored at {', '.join(missing)}.",
            severity=Severity.WARNING,
            fields=self.facts(),
            error=self.error,
            path=self.path,
            link_label="Open run",
        )

    @classmethod
    def sample(cls) -> Self:
        """Return a plausible partial run."""
        return cls(
            job="nightly-orders",
            job_id=17,
            run_id=4712,
            source="orders (PostgreSQL 16)",
            destinations=[
                {"name": "nas", "stored": True, "detail": ""},
                {"name": "offsite", "stored": False, "detail": "Permission denied"},
            ],
            size=644_100_000,
            seconds=192.0,
            error="offsite: Permission denied",
        )
