"""What a run does: opens what the job names, backs it up, prunes; never inside a transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select

from webapp.backup import engine, retention
from webapp.backup.encryption import OFF, Encryption
from webapp.backup.encryption import SUFFIX as ENCRYPTED
from webapp.backup.engine import Place, Stored
from webapp.backup.errors import BackupError, CancelledError
from webapp.backup.sources.base import Source
from webapp.backup.streams import SUFFIXES
from webapp.core.errors import AppError
from webapp.models.job import DestinationRow, Job, JobDestination, SourceRow
from webapp.models.run import Outcome, Run
from webapp.services import run_end
from webapp.services.destinations import open_destination
from webapp.services.run_end import End
from webapp.services.run_log import PRUNE, STEPS, Recorder
from webapp.services.sources import open_source
from webapp.services.transaction import reading

SET_UP = "Set up"


@dataclass(frozen=True)
class _Plan:
    """The rows that a run works with."""

    job: Job
    source: SourceRow
    destinations: tuple[DestinationRow, ...]


def steps_of(run: Run) -> tuple[str, ...]:
    """Return the names of the steps that the run will go through."""
    with reading() as session:
        job = None if run.job_id is None else session.get(Job, run.job_id)
    return (*STEPS, PRUNE) if job is not None and job.keep_last else STEPS


def work(run: Run, recorder: Recorder) -> End:
    """Carry the run out and say how it ended."""
    try:
        plan, source, places = _set_up(run, recorder)
        stored = engine.back_up(
            source,
            places,
            key=_key(plan.job, run, source),
            compression=plan.job.compression,
            facts={"job": plan.job.name, "job_id": plan.job.id, "run_id": run.id},
            progress=recorder,
            encryption=_encryption(plan.job),
        )
    except CancelledError:
        return _stopped(recorder)
    except BackupError as error:
        return _failed(error.step or recorder.current_step, error, recorder)
    except AppError as error:
        return _failed(recorder.current_step, error, recorder)
    return _finished(stored, _prune(plan.job, places, stored, recorder), recorder)


def _set_up(run: Run, recorder: Recorder) -> tuple[_Plan, Source, list[Place]]:
    plan = _plan(run)
    source = open_source(plan.source)
    recorder.hide(source.secrets)
    places = []
    for row in plan.destinations:
        destination = open_destination(row)
        recorder.hide(destination.secrets)
        places.append(Place(row.id, row.name, destination))
    return plan, source, places


def _plan(run: Run) -> _Plan:
    chosen = (
        select(DestinationRow)
        .join(JobDestination, JobDestination.destination_id == DestinationRow.id)
        .where(JobDestination.job_id == run.job_id)
        .order_by(JobDestination.position, DestinationRow.id)
    )
    with reading() as session:
        job = None if run.job_id is None else session.get(Job, run.job_id)
        if job is None:
            raise BackupError("The job was deleted.", step=SET_UP)
        source = session.get(SourceRow, job.source_id)
        destinations = tuple(session.scalars(chosen))
    if source is None:
        raise BackupError("The job's source was deleted. Choose another one.", step=SET_UP)
    if not destinations:
        raise BackupError("The job has no destination. Choose one in the job.", step=SET_UP)
    return _Plan(job, source, destinations)


def _key(job: Job, run: Run, source: Source) -> str:
    packed = SUFFIXES[job.compression] + ("" if job.encryption == OFF else ENCRYPTED)
    return f"{job.folder}/{_stamp(run.started_at)}-{run.id}.{source.extension}{packed}"


def _encryption(job: Job) -> Encryption | None:
    if job.encryption == OFF:
        return None
    return Encryption(job.encryption, tuple(job.recipients.splitlines()), job.identity)


def _stamp(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H-%M-%SZ}"


def _prune(
    job: Job, places: Sequence[Place], stored: Stored, recorder: Recorder
) -> tuple[tuple[int, str], ...]:
    """Delete what is older than the last N; trouble with that does not undo a good backup."""
    if not job.keep_last:
        return ()
    recorder.step(PRUNE)
    good = {result.id for result in stored.places if result.stored}
    gone: list[tuple[int, str]] = []
    for place in places:
        if place.id not in good:
            continue
        try:
            keys = retention.prune(place.destination, f"{job.folder}/", job.keep_last)
        except AppError as error:
            recorder.line("warning", f"{place.name}: older backups were not deleted. {error}")
            continue
        gone.extend((place.id, key) for key in keys)
        for key in keys:
            recorder.line("info", f"{place.name}: deleted {key}, newer ones are kept.")
    return tuple(gone)


def _finished(stored: Stored, pruned: Any, recorder: Recorder) -> End:
    missing = [place for place in stored.places if not place.stored]
    error = recorder.masked("\n".join(f"{place.name}: {place.detail}" for place in missing))
    return End(
        outcome=Outcome.PARTIAL if missing else Outcome.SUCCESS,
        error=error,
        stored=stored,
        pruned=pruned,
    )


def _failed(step: str, error: AppError, recorder: Recorder) -> End:
    return End(outcome=Outcome.FAILURE, step=step, error=recorder.masked(str(error)))


def _stopped(recorder: Recorder) -> End:
    if recorder.interrupted:
        return End(outcome=Outcome.INTERRUPTED, step=recorder.current_step, error=run_end.SHUT_DOWN)
    return End(outcome=Outcome.CANCELLED, step=recorder.current_step)
