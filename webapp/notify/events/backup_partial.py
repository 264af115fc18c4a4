"""A backup reached some of its destinations, or was made of some of its databases."""

from dataclasses import dataclass
from typing import ClassVar, Self

from webapp.notify.events.backup_facts import BackupFacts, listed
from webapp.notify.message import Reader, Severity, Text


@dataclass(frozen=True, kw_only=True)
class BackupPartial(BackupFacts):
    """A run stored its artifacts at some destinations only, or not of all databases."""

    type: ClassVar[str] = "backup_partial"
    label: ClassVar[str] = "Backup Partial"
    description: ClassVar[str] = (
        "A backup was stored at some of its destinations only, or not of all databases."
    )

    error: str

    def say(self, reader: Reader) -> Text:
        """Say which destinations have it and which do not, and which databases lack."""
        return Text(
            title=f"Backup partial: {self.job}",
            text=self._text(),
            severity=Severity.WARNING,
            fields=self.facts(),
            error=self.error,
            path=self.path,
            link_label="Open run",
        )

    def _text(self) -> str:
        missing = [str(place["name"]) for place in self.destinations if not place["stored"]]
        elsewhere = f"not stored at {', '.join(missing)}"
        if not self.bad:
            return f"{self.source} was backed up, but {elsewhere}."
        said = f"{self.count} of {self.source} were backed up, not {listed(self.bad)}."
        return f"{said} Some of it was {elsewhere}." if missing else said

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
