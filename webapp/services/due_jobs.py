"""What the scheduler asks of the database: the right to schedule, the schedules, a due run."""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.core import clock
from webapp.core.errors import ConflictError, InvalidError
from webapp.models.job import Job
from webapp.models.run import RunLine, Trigger
from webapp.models.setting import Lease
from webapp.services import bells, leases, processes, run_end, runs, schedules
from webapp.services.transaction import reading, transaction

logger = logging.getLogger(__name__)

LEASE_NAME: Final = "scheduler"
LEASE: Final = timedelta(seconds=20)
GRACE: Final = timedelta(hours=1)
"""How late a run may still start; two texts below say it, too."""
MOST: Final = 1000
MOMENT: Final = timedelta(microseconds=1)
AHEAD: Final = timedelta(minutes=1)
NOBODY: Final = "DBackup was not running, or this machine was asleep."


@dataclass(frozen=True)
class Scheduled:
    """An enabled job with a schedule; equal when it is due at the same times."""

    job_id: int
    schedule: str
    timezone: str


def hold() -> bool:
    """Take or keep the right to schedule; False while another process has it."""
    owner, now = processes.owner(), clock.now()
    with reading() as session:
        lease = session.get(Lease, LEASE_NAME)
    if lease is not None and lease.owner == owner and LEASE / 2 < lease.leased_until - now <= LEASE:
        return True
    with transaction() as session:
        return leases.take(session, LEASE_NAME, owner, LEASE)


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


def overdue() -> list[int]:
    """Return the jobs with a time of their schedule that was neither started nor recorded."""
    rows = select(Job).where(Job.enabled, Job.schedule.is_not(None))
    with reading() as session:
        jobs = session.scalars(rows).all()
    return [job.id for job in jobs if _open_times(job) or _is_ahead(job)]


def serve(job_id: int) -> int | None:
    """Start a job that is due, or record that its time was missed; return the id of the run.

    None when nothing was to do, or nothing could be done yet: another process schedules by now, or
    the job runs still. Its log says then that the schedule wanted it, and as long as the grace
    lasts the start can be made up for.
    """
    with transaction() as session:
        if not leases.renew(session, LEASE_NAME, processes.owner(), LEASE):
            return None
        job = session.get(Job, job_id, with_for_update=True)
        if job is None or not job.enabled:
            return None
        if _is_ahead(job):  # the clock was set back
            job.served_until = clock.now()
        run_id = _serve(session, job, _open_times(job))
    if run_id is not None:
        bells.run_waiting.ring()
    return run_id


def _serve(session: Session, job: Job, due: list[datetime]) -> int | None:
    if not due:
        return None
    late = [moment for moment in due if moment < clock.now() - GRACE]
    missed = _record_missed(session, job, late) if late else None
    if len(late) == len(due):
        return missed
    try:
        return runs.add(session, job, Trigger.SCHEDULE)
    except ConflictError as error:
        _note(session, job, due[-1], error)
        return missed


def _record_missed(session: Session, job: Job, late: list[datetime]) -> int:
    busy = run_end.running(session, job.id)
    job.served_until = late[-1]
    why = f"Run {busy[0].id} of this job was still going." if busy else NOBODY
    times = "" if len(late) == 1 else f" {len(late)} starts were missed."
    reason = f"It was due and did not start within an hour. {why}{times}"
    return run_end.record_missed(session, job, late[-1], len(late), reason)


def _note(session: Session, job: Job, due: datetime, error: ConflictError) -> None:
    """Write into the log of the run that still goes, once for each time."""
    at = due.astimezone(ZoneInfo(job.timezone))
    words = (
        f"The schedule wanted to start this job at {at:%H:%M} ({job.timezone}), and this run is "
        "still going. It starts when this run ends, if that is within an hour."
    )
    for run in run_end.running(session, job.id):
        said = select(RunLine.id).where(RunLine.run_id == run.id, RunLine.text == words)
        if session.scalar(said.limit(1)) is None:
            session.add(RunLine(run_id=run.id, level="warning", text=words))
            logger.warning("due job runs still", extra={"job": job.id, "why": str(error)})


def _open_times(job: Job) -> list[datetime]:
    """Return the times up to now that were neither started nor recorded, oldest first.

    At most MOST: of a job that is due every minute, and was not for weeks, the newest ones.
    """
    if job.schedule is None:
        return []
    try:
        trigger = schedules.trigger(job.schedule, job.timezone)
    except (InvalidError, ZoneInfoNotFoundError):  # stored by another version; its page says so
        return []
    now, found = clock.now(), list[datetime]()
    after = job.served_until + MOMENT
    while (due := trigger.get_next_fire_time(None, after)) is not None and due <= now:
        found.append(due.astimezone(UTC))
        after = found[-1] + MOMENT
        if len(found) == MOST and (leap := now - MOST * _pace(found)) > after:
            found, after = [], leap
    return found


def _pace(found: list[datetime]) -> timedelta:
    return (found[-1] - found[0]) / len(found)


def _is_ahead(job: Job) -> bool:
    return job.served_until > clock.now() + AHEAD
