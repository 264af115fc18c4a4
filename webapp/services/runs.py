"""Runs of jobs: started, waited for, carried out, stopped, and found after their process died.

A run without an owner waits for its turn; a runner of any process may take it. Who carries one
out holds the job's lease and renews it, so the same job never runs twice at once, on one machine
or on several. However a run ends, its end is recorded and announced in one transaction.
"""

import logging
import threading
import time
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import func, or_, select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from webapp.core import clock, text
from webapp.core.errors import ConflictError, NotFoundError
from webapp.models.job import DestinationRow, Job, JobDestination, SourceRow
from webapp.models.run import Outcome, Run, RunLine, Trigger
from webapp.services import bells, leases, processes, run_end, run_settings, run_work, system_errors
from webapp.services.run_end import End, lease_name
from webapp.services.run_log import Recorder
from webapp.services.run_pulse import LEASE, Pulse
from webapp.services.transaction import reading, transaction

logger = logging.getLogger(__name__)

RECORD_TRIES: Final = 6
FIRST_PAUSE: Final = 0.5  # seconds before the end is written again; doubled each time


class _Mine:
    """The runs that this process has taken, with the recorders of those at work."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: dict[int, Recorder | None] = {}

    def add(self, run_id: int, recorder: Recorder | None = None) -> None:
        with self._lock:
            self._runs[run_id] = recorder

    def remove(self, run_id: int) -> None:
        with self._lock:
            self._runs.pop(run_id, None)

    def __contains__(self, run_id: int) -> bool:
        with self._lock:
            return run_id in self._runs

    def recorders(self, run_id: int | None = None) -> list[Recorder]:
        with self._lock:
            return [
                recorder
                for key, recorder in self._runs.items()
                if recorder is not None and run_id in {None, key}
            ]


_mine = _Mine()
_claiming = threading.Lock()  # a thread that loses a race must not disown the run of the winner


def start(job_id: int, trigger: str, requested_by: str = "") -> int:
    """Make a run of the job and return its id; a runner takes it, or `execute` does.

    A run from the command line belongs to this process at once: call `execute` for it.

    Raises:
        NotFoundError: there is no such job.
        ConflictError: it is running already.
    """
    with transaction() as session:
        job = session.get(Job, job_id, with_for_update=True)
        if job is None:
            raise NotFoundError("This job was deleted.")
        run_id = add(session, job, trigger, requested_by)
    bells.run_waiting.ring()
    return run_id


def add(session: Session, job: Job, trigger: str, requested_by: str = "") -> int:
    """Make a run in the caller's transaction; ring `run_waiting` after it.

    Raises:
        ConflictError: it is running already.
    """
    _refuse_overlap(session, job)
    own = trigger == Trigger.CLI
    run = Run(
        job_id=job.id,
        job_name=job.name,
        source_name=session.get_one(SourceRow, job.source_id).name,
        trigger=trigger,
        requested_by=requested_by,
        destinations=_destinations(session, job.id),
        owner=processes.owner() if own else "",
        attempts_allowed=1 + job.retries,
    )
    session.add(run)
    session.flush()
    session.add(RunLine(run_id=run.id, text=_first_line(run)))
    if trigger == Trigger.SCHEDULE:
        job.served_until = clock.now()
    if own:
        _mine.add(run.id)
    return run.id


def _refuse_overlap(session: Session, job: Job) -> None:
    for other in run_end.running(session, job.id):
        if not _is_dead(session, other):
            raise ConflictError(
                f"{job.name} is running already (run {other.id}). "
                "Wait until it ends, or stop it first."
            )
        run_end.record(session, other, _died(other))
    if not leases.take(session, lease_name(job.id), processes.owner(), LEASE):
        raise ConflictError(f"{job.name} is running already in another process.")


def _destinations(session: Session, job_id: int) -> list[dict[str, Any]]:
    """Return what the run has to reach; the end of the run says what it reached."""
    chosen = (
        select(DestinationRow.id, DestinationRow.name)
        .join(JobDestination, JobDestination.destination_id == DestinationRow.id)
        .where(JobDestination.job_id == job_id)
        .order_by(JobDestination.position, DestinationRow.id)
    )
    return [
        {"id": row.id, "name": row.name, "stored": False, "detail": ""}
        for row in session.execute(chosen)
    ]


def _first_line(run: Run) -> str:
    if run.trigger == Trigger.SCHEDULE:
        return "Started by the schedule."
    where = " on the command line" if run.trigger == Trigger.CLI else ""
    return f"Started by {run.requested_by or run_end.DEFAULT_PERSON}{where}."


def claim() -> int | None:
    """Take the oldest run that waits for its turn; None when there is none."""
    with _claiming:
        return _claim()


def _claim() -> int | None:
    waiting = (
        select(Run.id, Run.job_id, Run.attempt, Run.started_at)
        .where(Run.outcome == Outcome.RUNNING, Run.owner == "")
        .where(or_(Run.not_before.is_(None), Run.not_before <= clock.now()))
        .order_by(Run.id)
        .limit(1)
    )
    with reading() as session:
        found = session.execute(waiting).one_or_none()
        if found is None or _are_enough(session):
            return None
    run_id, job_id, attempt, started_at = found
    _mine.add(run_id)
    with transaction() as session:
        taken = (
            None
            if _are_enough(session)
            else session.scalar(
                update(Run)
                .where(Run.id == run_id, Run.outcome == Outcome.RUNNING, Run.owner == "")
                .values(
                    owner=processes.owner(),
                    started_at=clock.now() if attempt == 1 else started_at,
                    not_before=None,
                    error=None,
                )
                .returning(Run.id)
            )
        )
        if taken is not None and job_id is not None:
            leases.seize(session, lease_name(job_id), processes.owner(), LEASE)
    if taken is None:
        _mine.remove(run_id)
    return taken


def _are_enough(session: Session) -> bool:
    """Say whether as many runs are at work, in all processes, as the settings allow."""
    working = select(func.count()).where(Run.outcome == Outcome.RUNNING, Run.owner != "")
    return (session.scalar(working) or 0) >= run_settings.load(session)


def execute(run_id: int) -> Outcome:
    """Carry out a run that this process has taken, to whatever end; return its outcome.

    After a failed attempt that is not the last one it is RUNNING: the run waits for its next
    attempt, and a runner takes it then. A run from the command line waits here.
    """
    with reading() as session:
        run = session.get_one(Run, run_id)
        job = None if run.job_id is None else session.get(Job, run.job_id)
    try:
        recorder, end, fatal = _attempt(run, job)
        while fatal is None and job is not None and _may_try_again(run, end):
            if not _postpone(run, recorder, end, _pause(job)):
                break
            if run.trigger != Trigger.CLI:
                return Outcome.RUNNING
            recorder, end, fatal = _attempt_after_pause(run, job)
        _record(run_id, recorder, end)
    finally:
        _mine.remove(run_id)
    logger.info("run ended", extra={"run": run_id, "outcome": end.outcome.value})
    if fatal is not None:
        raise fatal
    return end.outcome


def _attempt(run: Run, job: Job | None) -> tuple[Recorder, End, BaseException | None]:
    recorder = _new_recorder(run)
    limit = timedelta(minutes=job.time_limit) if job is not None and job.time_limit else None
    with Pulse(run, recorder, limit):
        end, fatal = _work(run, recorder)
    recorder.close(failed=end.outcome not in {Outcome.SUCCESS, Outcome.PARTIAL})
    return recorder, end, fatal


def _attempt_after_pause(run: Run, job: Job) -> tuple[Recorder, End, BaseException | None]:
    recorder = _new_recorder(run)
    with Pulse(run, recorder):
        stopped = recorder.waits_for_stop(_pause(job).total_seconds())
    return (recorder, run_work.stopped(recorder), None) if stopped else _attempt(run, job)


def _new_recorder(run: Run) -> Recorder:
    recorder = Recorder(run.id, run_work.steps_of(run))
    _mine.add(run.id, recorder)
    return recorder


def _pause(job: Job) -> timedelta:
    return timedelta(minutes=job.retry_pause)


def _may_try_again(run: Run, end: End) -> bool:
    failed = end.outcome is Outcome.FAILURE or end.again
    return failed and run.attempt < run.attempts_allowed


def _postpone(run: Run, recorder: Recorder, end: End, pause: timedelta) -> bool:
    """Let the run wait for its next attempt; False: somebody stopped it meanwhile."""
    with transaction() as session:
        row = session.get_one(Run, run.id, with_for_update=True)
        if row.outcome != Outcome.RUNNING or row.stopped_by is not None:
            return False
        recorder.store(session)
        words = (
            f"Attempt {row.attempt} of {row.attempts_allowed} failed. The next one begins in "
            f"{text.duration(pause)}. {end.step}: {end.error}"
        )
        session.add(RunLine(run_id=row.id, level="error", text=words))
        row.attempt, row.not_before = row.attempt + 1, clock.now() + pause
        row.owner = row.owner if row.trigger == Trigger.CLI else ""
        row.error = end.error
        run.attempt = row.attempt
    logger.info("run tries again", extra={"run": run.id, "attempt": run.attempt})
    return True


def _work(run: Run, recorder: Recorder) -> tuple[End, BaseException | None]:
    """Do the work; an exit of the process (Ctrl-C) is handed back, to be raised after the end."""
    try:
        return run_work.work(run, recorder), None
    except Exception as error:
        logger.exception("a run stumbled", extra={"run": run.id})
        system_errors.report("Backup run", error)
        words = recorder.masked(system_errors.describe(error))
        return End(outcome=Outcome.FAILURE, step=recorder.current_step, error=words), None
    except BaseException as leaving:  # noqa: BLE001 - it is raised again once the end is stored
        end = End(outcome=Outcome.INTERRUPTED, step=recorder.current_step, error=run_end.SHUT_DOWN)
        return end, leaving


def _record(run_id: int, recorder: Recorder, end: End) -> None:
    """Store the end. A full disk or a locked database is given some time to recover."""
    for attempt in range(RECORD_TRIES):
        try:
            with transaction() as session:
                run = session.get_one(Run, run_id)
                recorder.store(session)
                run_end.record(session, run, end)
            return
        except OperationalError:
            logger.exception("the end of a run could not be stored", extra={"run": run_id})
            if attempt == RECORD_TRIES - 1:
                raise
            time.sleep(FIRST_PAUSE * 2**attempt)


def stop(run_id: int, by: str) -> None:
    """Ask a run to stop; one that still waits ends at once.

    Raises:
        NotFoundError: there is no such run.
        ConflictError: it has ended already.
    """
    with transaction() as session:
        run = session.get(Run, run_id, with_for_update=True)
        if run is None:
            raise NotFoundError("This run was deleted.")
        if run.outcome != Outcome.RUNNING:
            raise ConflictError("This run has ended already.")
        run.stopped_by = by
        if not run.owner or _is_dead(session, run):
            run_end.record(session, run, End(outcome=Outcome.CANCELLED, step="Waiting"))
    for recorder in _mine.recorders(run_id):
        recorder.stop()


def interrupt_all() -> int:
    """Make the runs of this process end because the process does; return how many."""
    recorders = _mine.recorders()
    for recorder in recorders:
        recorder.stop(interrupted=True)
    return len(recorders)


def recover() -> int:
    """Record and announce as interrupted what dead processes left running; return how many."""
    left = select(Run).where(Run.outcome == Outcome.RUNNING, Run.owner != "")
    with reading() as session:
        if not any(_is_dead(session, run) for run in session.scalars(left)):
            return 0
    count = 0
    with transaction() as session:
        for run in session.scalars(left.with_for_update()).all():
            if _is_dead(session, run):
                run_end.record(session, run, _died(run))
                count += 1
    logger.warning("interrupted runs found", extra={"count": count})
    return count


def is_at_work(run_id: int) -> bool:
    """Say whether a thread of this process carries the run out."""
    return run_id in _mine


def _died(run: Run) -> End:
    return End(outcome=Outcome.INTERRUPTED, step=run.step or "Set up", error=run_end.DIED)


def _is_dead(session: Session, run: Run) -> bool:
    """Say whether nobody carries the run out any more.

    Of another host it is known by the lease that nobody renews.
    """
    if not run.owner:
        return False
    if run.owner == processes.owner():
        return run.id not in _mine
    if processes.is_dead(run.owner):
        return True
    if _host(run.owner) == _host(processes.owner()) or run.job_id is None:
        return False
    until = leases.held_until(session, lease_name(run.job_id))
    return until is None or until < clock.now()


def _host(owner: str) -> str:
    return owner.rsplit(":", 2)[0]
