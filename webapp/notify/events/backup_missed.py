"""A backup did not start when its schedule wanted it."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Self

from webapp.core.text import plural
from webapp.notify.events.backup_facts import BackupFacts
from webapp.notify.message import Field, Reader, Severity, Text


@dataclass(frozen=True, kw_only=True)
class BackupMissed(BackupFacts):
    """A time of the schedule passed, and its grace too, without a start."""

    type: ClassVar[str] = "backup_missed"
    label: ClassVar[str] = "Backup Missed"
    description: ClassVar[str] = "A backup was due and did not start within its grace."

    due_at: str
    """The last time that was missed, ISO 8601 with offset."""
    times: int = 1
    """How many times of the schedule were missed since the last start."""
    error: str

    def say(self, reader: Reader) -> Text:
        """Say which job has no backup, since when, and why."""
        due = reader.time(datetime.fromisoformat(self.due_at))
        more = f" {plural(self.times, 'start')} were missed." if self.times > 1 else ""
        return Text(
            title=f"Backup missed: {self.job}",
            text=f"{self.source} was due {due} and was not backed up.{more}",
            severity=Severity.CRITICAL,
            fields=(
                Field("Job", self.job),
                Field("Source", self.source),
                Field("Due", due),
                *((Field("Missed starts", str(self.times)),) if self.times > 1 else ()),
            ),
            error=self.error,
            path=self.path,
            link_label="Open run",
        )

    @classmethod
    def sample(cls) -> Self:
        """Return a plausible missed run."""
        return cls(
            job="nightly-orders",
            job_id=17,
            run_id=4715,
            source="orders (PostgreSQL)",
            destinations=[],
            size=0,
            seconds=0.0,
            due_at="2026-03-01T02:15:00+00:00",
            times=2,
            error="DBackup was not running, or this machine was asleep.",
        )
