"""The end of a run: its outcome, its artifacts and the event about it, in one transaction."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from webapp.backup.engine import PlaceResult, Stored
from webapp.backup.sources import BY_TYPE
from webapp.core import clock, text
from webapp.models.job import DestinationRow, Job, SourceRow
from webapp.models.run import ArtifactRow, Outcome, Run, RunLine, Trigger
from webapp.notify.events.backup_cancelled import BackupCancelled
from webapp.notify.events.backup_failure import BackupFailure
from webapp.notify.events.backup_interrupted import BackupInterrupted
from webapp.notify.events.backup_missed import BackupMissed
from webapp.notify.events.backup_partial import BackupPartial
from webapp.notify.events.backup_success import BackupSuccess
from webapp.notify.events.base import Event
from webapp.services import leases, outbox

DIED = (
    "The process that ran this backup died: it was killed, it crashed, or the machine went down. "
)
SHUT_DOWN = "DBackup was stopped while the backup ran. "
NOTHING_LEFT = {
    DIED: "Nothing of this run can be restored. Run the job again.",
    SHUT_DOWN: "What was stored of it was deleted. Run the job again.",
}
DEFAULT_PERSON = "Somebody"


@dataclass(frozen=True, kw_only=True)
class End:
    """How a run ended."""

    outcome: Outcome
    step: str = ""
    error: str = ""
    stored: Stored | None = None
    again: bool = False
    """Some databases of several failed: another attempt would do these."""
    pruned: tuple[tuple[int, str], ...] = ()
    """Destination id and key of artifacts that were deleted because newer ones exist."""


def lease_name(job_id: int) -> str:
    """Return the name of the lease that a run of the job holds."""
    return f"job:{job_id}"


def record(session: Session, run: Run, end: End) -> None:
    """Store how the run ended, what it left, and publish it.

    A run that was recorded as ended meanwhile keeps that record; its artifacts are listed still.
    """
    kept = add_artifacts(session, run, end.stored) if end.stored else ()
    _forget_pruned(session, end)
    if run.outcome != Outcome.RUNNING:
        return
    end = _with_what_is_left(run, end)
    run.outcome, run.finished_at, run.error = end.outcome, clock.now(), end.error or None
    if end.stored:
        run.size = end.stored.size
        run.destinations = [place(result) for result in kept]
    if run.databases:
        run.size = sum(each["size"] for each in run.databases) or None
        run.destinations = [_over_all(run, known) for known in run.destinations]
    if end.step:
        run.step = end.step
    run.steps = [_settled(each) for each in run.steps]
    _last_line(session, run, end)
    if run.job_id is None:
        return
    leases.release(session, lease_name(run.job_id), run.owner)
    job = session.get(Job, run.job_id)
    if job is not None:
        outbox.publish(session, event(session, run, job, end), job=job, run_id=run.id)


def _with_what_is_left(run: Run, end: End) -> End:
    """Say of a run whose process ended what there is of it."""
    if end.error not in NOTHING_LEFT:
        return end
    whole = [str(each["name"]) for each in run.databases if each["stored"]]
    kept = f"Whole before that, and kept: {', '.join(whole)}. Run the job again for the others."
    return replace(end, error=end.error + (kept if whole else NOTHING_LEFT[end.error]))


def record_missed(session: Session, job: Job, due: datetime, times: int, reason: str) -> int:
    """Record and publish that the job was not started at `due`; return the id of the run.

    `times` counts the starts that were missed up to then, which are told together.
    """
    source = session.get_one(SourceRow, job.source_id)
    run = Run(
        job_id=job.id,
        job_name=job.name,
        source_name=source.name,
        trigger=Trigger.SCHEDULE,
        outcome=Outcome.MISSED,
        started_at=due,
        finished_at=due,
        error=reason,
    )
    session.add(run)
    session.flush()
    session.add(RunLine(run_id=run.id, level="error", text=reason))
    missed = BackupMissed(
        **_facts(session, run, job), due_at=due.isoformat(), times=times, error=reason
    )
    outbox.publish(session, missed, job=job, run_id=run.id)
    return run.id


def event(session: Session, run: Run, job: Job, end: End) -> Event:
    """Return what is to be said about the end of a run."""
    facts = _facts(session, run, job)
    if end.outcome is Outcome.SUCCESS:
        proven = job.proven_at.isoformat() if job.proven_at else ""
        return BackupSuccess(**facts, proven_at=proven)
    if end.outcome is Outcome.PARTIAL:
        return BackupPartial(**facts, error=end.error)
    if end.outcome is Outcome.CANCELLED:
        return BackupCancelled(**facts, stopped_by=run.stopped_by or DEFAULT_PERSON)
    kind = BackupInterrupted if end.outcome is Outcome.INTERRUPTED else BackupFailure
    return kind(**facts, step=end.step, error=end.error)


def _facts(session: Session, run: Run, job: Job) -> dict[str, Any]:
    source = session.get(SourceRow, job.source_id)
    label = BY_TYPE[source.type].label if source and source.type in BY_TYPE else ""
    seconds = ((run.finished_at or clock.now()) - run.started_at) / timedelta(seconds=1)
    return {
        "job": job.name,
        "job_id": job.id,
        "run_id": run.id,
        "source": f"{run.source_name} ({label})" if label else run.source_name,
        "destinations": [
            {"name": place["name"], "stored": place["stored"], "detail": place["detail"]}
            for place in run.destinations
        ],
        "databases": [
            {"name": each["name"], "stored": each["stored"], "detail": each["detail"]}
            for each in run.databases
        ],
        "size": run.size or 0,
        "seconds": seconds,
    }


def add_artifacts(session: Session, run: Run, stored: Stored) -> tuple[PlaceResult, ...]:
    """List the artifact at each place that has it and is still known."""
    results = []
    for result in stored.places:
        if result.stored and session.get(DestinationRow, result.id) is None:
            result = PlaceResult(result.id, result.name, False, "The destination was deleted.")
        results.append(result)
        if result.stored:
            session.add(
                ArtifactRow(
                    run_id=run.id,
                    job_id=run.job_id,
                    destination_id=result.id,
                    key=stored.key,
                    source_type=str(stored.manifest["source"]["type"]),
                    database=str(stored.manifest["source"].get("database") or ""),
                    size=stored.size,
                    sha256=stored.sha256,
                    manifest=stored.manifest,
                )
            )
    return tuple(results)


def _forget_pruned(session: Session, end: End) -> None:
    for destination_id, key in end.pruned:
        session.execute(
            delete(ArtifactRow).where(
                ArtifactRow.destination_id == destination_id, ArtifactRow.key == key
            )
        )


def place(result: PlaceResult) -> dict[str, Any]:
    """Return what became of a backup at one place, as a run stores it."""
    return {
        "id": result.id,
        "name": result.name,
        "stored": result.stored,
        "detail": "" if result.stored else result.detail,
    }


def _over_all(run: Run, known: dict[str, Any]) -> dict[str, Any]:
    """Return a destination of a run over several databases: it has all that was dumped, or not."""
    here = [
        (each["name"], found)
        for each in run.databases
        for found in each["places"]
        if found["id"] == known["id"]
    ]
    lacking = [f"{name}: {found['detail']}" for name, found in here if not found["stored"]]
    count = len(here) - len(lacking)
    some = [f"{count} of {len(run.databases)} databases"] if count < len(run.databases) else []
    detail = "\n".join((*some, *lacking)) if here else ""
    return known | {"stored": bool(here) and not lacking, "detail": detail}


def _settled(step: dict[str, Any]) -> dict[str, Any]:
    return {**step, "state": "failed"} if step["state"] == "running" else step


def _last_line(session: Session, run: Run, end: End) -> None:
    took = text.duration((run.finished_at or clock.now()) - run.started_at)
    some_failed = any(not each["stored"] for each in run.databases)
    what = "of every database" if some_failed else "everywhere"
    words, level = {
        Outcome.SUCCESS: (f"Backup finished in {took}.", "info"),
        Outcome.PARTIAL: (f"Backup finished in {took}, but not {what}: {end.error}", "warning"),
        Outcome.CANCELLED: (f"Stopped by {run.stopped_by or DEFAULT_PERSON}.", "warning"),
    }.get(end.outcome, (f"{end.step}: {end.error}", "error"))
    session.add(RunLine(run_id=run.id, level=level, text=words))


def running(session: Session, job_id: int) -> list[Run]:
    """Return the runs of the job that wait or work."""
    found = select(Run).where(Run.outcome == Outcome.RUNNING, Run.job_id == job_id)
    return list(session.scalars(found))
