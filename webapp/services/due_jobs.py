"""What the scheduler asks of the database: the right to schedule, the schedules, a due run."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select

from webapp.core import clock
from webapp.models.job import Job
from webapp.models.run import Run, Trigger
from webapp.models.setting import Lease
from webapp.services import leases, processes, runs
from webapp.services.transaction import reading, transaction

LEASE_NAME: Final = "scheduler"
LEASE: Final = timedelta(seconds=20)
GRACE: Final = timedelta(hours=1)
"""How late a run may still start."""


@dataclass(frozen=True)
class Held:
    """The right to schedule."""

    since: datetime
    """Until when somebody surely scheduled before: what fell due later was not started."""


@dataclass(frozen=True)
class Scheduled:
    """An enabled job with a schedule; equal when it is due at the same times."""

    job_id: int
    schedule: str
    timezone: str


def hold() -> Held | None:
    """Take or keep the right to schedule; None while another process has it."""
    owner, now = processes.owner(), clock.now()
    with reading() as session:
        lease = session.get(Lease, LEASE_NAME)
    until = None if lease is None else lease.leased_until
    held = Held(since=now if until is None else min(now, until - LEASE))
    if lease is not None and lease.owner == owner and lease.leased_until - now > LEASE / 2:
        return held
    with transaction() as session:
        return held if leases.take(session, LEASE_NAME, owner, LEASE) else None


def release() -> None:
    """Give the right back."""
    with transaction() as session:
        leases.release(session, LEASE_NAME, processes.owner())


def scheduled() -> dict[int, Scheduled]:
    """Return the jobs that have times to be started at."""
    rows = select(Job.id, Job.schedule, Job.timezone).where(Job.enabled, Job.schedule.is_not(None))
    with reading() as session:
        return {
            row.id: Scheduled(row.id, row.schedule, row.timezone) for row in session.execute(rows)
        }


def last_started(job_id: int) -> datetime | None:
    """Return when the schedule last started the job."""
    with reading() as session:
        return session.scalar(
            select(Run.started_at)
            .where(Run.job_id == job_id, Run.trigger == Trigger.SCHEDULE)
            .order_by(Run.id.desc())
            .limit(1)
        )


def begin(job_id: int) -> int | None:
    """Start a run that is due; None when another process schedules by now.

    Raises:
        NotFoundError: the job was deleted.
        ConflictError: it is running still.
    """
    with transaction() as session:
        if not leases.renew(session, LEASE_NAME, processes.owner(), LEASE):
            return None
    return runs.start(job_id, Trigger.SCHEDULE)
