"""A backup reached every destination."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Self

from webapp.notify.events.backup_facts import BackupFacts
from webapp.notify.message import Field, Reader, Severity, Text


@dataclass(frozen=True, kw_only=True)
class BackupSuccess(BackupFacts):
    """A run stored its artifact at every destination."""

    type: ClassVar[str] = "backup_success"
    label: ClassVar[str] = "Backup Successful"
    description: ClassVar[str] = "A backup was stored at every destination."

    proven_at: str = ""
    """When a backup of this job was last restored on trial, ISO 8601; "" for never."""

    def say(self, reader: Reader) -> Text:
        """Say which job is safe, and when that was last proven."""
        proven = (
            reader.time(datetime.fromisoformat(self.proven_at)) if self.proven_at else "never yet"
        )
        return Text(
            title=f"Backup successful: {self.job}",
            text=f"{self._what} backed up and read back without a difference.",
            severity=Severity.SUCCESS,
            fields=(*self.facts(), Field("Last restored on trial", proven, short=False)),
            path=self.path,
            link_label="Open run",
        )

    @property
    def _what(self) -> str:
        if not self.databases:
            return f"{self.source} was"
        how_many = "Both" if len(self.databases) == 2 else f"All {len(self.databases)}"
        return f"{how_many} databases of {self.source} were"

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
            proven_at="2026-02-22T03:10:00+00:00",
        )
