"""What a run does: opens what the job names, backs it up, prunes; never inside a transaction."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import select

from webapp.backup import engine, retention
from webapp.backup.encryption import OFF, Encryption
from webapp.backup.encryption import SUFFIX as ENCRYPTED
from webapp.backup.engine import Place, Stored
from webapp.backup.errors import BackupError, CancelledError
from webapp.backup.progress import Progress
from webapp.backup.retention import Rules
from webapp.backup.sources.base import Source
from webapp.backup.streams import SUFFIXES
from webapp.core import clock, text
from webapp.core.errors import AppError
from webapp.models.job import DestinationRow, Job, JobDestination, SourceRow
from webapp.models.run import Outcome, Run
from webapp.services import artifact_names, run_end, run_several, system_errors
from webapp.services.destinations import open_destination
from webapp.services.run_end import End
from webapp.services.run_log import PRUNE, STEPS, Recorder
from webapp.services.run_several import Part
from webapp.services.sources import open_parts
from webapp.services.transaction import reading
from webapp.services.unfinished import Notes

SET_UP: Final = "Set up"
RETENTION: Final = "Retention"
TIMED_OUT: Final = (
    "It ran longer than {limit}, the time limit of the job, and was stopped. "
    "Raise the limit, or look why it takes so long."
)


@dataclass(frozen=True)
class _Plan:
    """The rows that a run works with."""

    job: Job
    source: SourceRow
    destinations: tuple[DestinationRow, ...]
    rules: Mapping[int, Rules]
    """What each destination keeps, by its id."""


def rules_of(job: Job, own: Mapping[str, Any] | None) -> Rules:
    """Return what a destination of the job keeps."""
    return Rules(last=job.keep_last) if own is None else Rules.from_json(own)


def steps_of(run: Run) -> tuple[str, ...]:
    """Return the names of the steps that the run will go through."""
    own = select(JobDestination.rules).where(JobDestination.job_id == run.job_id)
    with reading() as session:
        job = None if run.job_id is None else session.get(Job, run.job_id)
        if job is None:
            return STEPS
        prunes = any(rules_of(job, rules) for rules in session.scalars(own))
    return (*STEPS, PRUNE) if prunes else STEPS


def work(run: Run, recorder: Recorder) -> End:
    """Carry the run out and say how it ended."""
    try:
        plan, sources, places = _set_up(run, recorder)
        parts = _parts(run, plan, sources, places)
        if len(parts) > 1:
            recorder.expect(sources, [PRUNE] if any(plan.rules.values()) else [])
            end, good = run_several.carry_out(run.id, parts, recorder)
        else:
            stored = parts[0].back_up(recorder)
            end, good = _finished(stored, recorder), _places_of(stored)
    except CancelledError:
        return _stopped(run, recorder)
    except AppError as error:
        if recorder.is_stopping:  # what it failed of came of the stop, or does not matter any more
            return _stopped(run, recorder)
        step = error.step if isinstance(error, BackupError) else ""
        return _failed(step or recorder.current_step, error, recorder)
    if end.again and run.attempt < run.attempts_allowed:
        return end  # the next attempt prunes
    return replace(end, pruned=_prune(plan, places, good, recorder))


def _set_up(run: Run, recorder: Recorder) -> tuple[_Plan, dict[str, Source], list[Place]]:
    plan = _plan(run)
    sources = dict(open_parts(plan.source))
    for source in sources.values():
        recorder.hide(source.secrets)
    places = []
    for row in plan.destinations:
        destination = open_destination(row)
        recorder.hide(destination.secrets)
        destination.journal = Notes(run.id, row.id)
        places.append(Place(row.id, row.name, destination))
    return plan, sources, places


def _plan(run: Run) -> _Plan:
    chosen = (
        select(DestinationRow, JobDestination.rules)
        .join(JobDestination, JobDestination.destination_id == DestinationRow.id)
        .where(JobDestination.job_id == run.job_id)
        .order_by(JobDestination.position, DestinationRow.id)
    )
    with reading() as session:
        job = None if run.job_id is None else session.get(Job, run.job_id)
        if job is None:
            raise BackupError("The job was deleted.", step=SET_UP)
        source = session.get(SourceRow, job.source_id)
        found = session.execute(chosen).all()
    if source is None:
        raise BackupError("The job's source was deleted. Choose another one.", step=SET_UP)
    if not found:
        raise BackupError("The job has no destination. Choose one in the job.", step=SET_UP)
    rules = {row.id: rules_of(job, own) for row, own in found}
    return _Plan(job, source, tuple(row for row, _ in found), rules)


def _parts(
    run: Run, plan: _Plan, sources: Mapping[str, Source], places: Sequence[Place]
) -> list[Part]:
    """Return the backups that belong to the run: one for each database."""
    job = plan.job
    names = artifact_names.render(
        job.name_pattern,
        job=job.name,
        source=plan.source.name,
        moment=run.started_at,
        run_id=run.id,
        databases=tuple(sources),
        attempt=run.attempt,
    )
    return [
        Part(database, partial(_back_up, run.id, plan, source, places, name))
        for (database, source), name in zip(sources.items(), names, strict=True)
    ]


def _back_up(
    run_id: int,
    plan: _Plan,
    source: Source,
    places: Sequence[Place],
    name: str,
    progress: Progress,
) -> Stored:
    job = plan.job
    packed = SUFFIXES[job.compression] + ("" if job.encryption == OFF else ENCRYPTED)
    return engine.back_up(
        source,
        places,
        key=f"{job.folder}/{name}.{source.extension}{packed}",
        compression=job.compression,
        facts={
            "job": job.name,
            "job_id": job.id,
            "run_id": run_id,
            "source_name": plan.source.name,
        },
        progress=progress,
        encryption=_encryption(job),
    )


def _encryption(job: Job) -> Encryption | None:
    if job.encryption == OFF:
        return None
    return Encryption(job.encryption, tuple(job.recipients.splitlines()), job.identity)


def _prune(
    plan: _Plan, places: Sequence[Place], good: frozenset[int], recorder: Recorder
) -> tuple[tuple[int, str], ...]:
    """Delete what no rule keeps; trouble with that does not undo a good backup.

    `good` are the ids of the places that hold something of this run; the others are left alone.
    """
    if not good or not any(plan.rules.values()):
        return ()
    recorder.step(PRUNE)
    gone: list[tuple[int, str]] = []
    for place in places:
        if place.id not in good or not plan.rules[place.id]:
            continue
        try:
            for key in _pruned(place, plan):
                gone.append((place.id, key))
                recorder.line("info", f"{place.name}: deleted {key}, which no rule keeps.")
        except Exception as error:  # noqa: BLE001 - reported; a fault of ours undoes no good backup
            said = system_errors.describe(error)
            recorder.line("warning", f"{place.name}: older backups were not deleted. {said}")
            named = BackupError(recorder.masked(f"{plan.job.name} at {place.name}: {said}"))
            system_errors.report(RETENTION, named.with_traceback(error.__traceback__))
    return tuple(gone)


def _pruned(place: Place, plan: _Plan) -> Iterator[str]:
    planned = retention.plan(
        place.destination,
        f"{plan.job.folder}/",
        plan.rules[place.id],
        now=clock.now(),
        zone=ZoneInfo(plan.job.timezone),
    )
    for key in retention.doomed(planned):
        retention.delete(place.destination, key)
        yield key


def _places_of(stored: Stored) -> frozenset[int]:
    return frozenset(place.id for place in stored.places if place.stored)


def _finished(stored: Stored, recorder: Recorder) -> End:
    missing = [place for place in stored.places if not place.stored]
    error = recorder.masked("\n".join(f"{place.name}: {place.detail}" for place in missing))
    return End(
        outcome=Outcome.PARTIAL if missing else Outcome.SUCCESS,
        error=error,
        stored=stored,
    )


def _failed(step: str, error: AppError, recorder: Recorder) -> End:
    return End(outcome=Outcome.FAILURE, step=step, error=recorder.masked(str(error)))


def _stopped(run: Run, recorder: Recorder) -> End:
    end = stopped(recorder)
    if end.outcome is Outcome.FAILURE and run_several.any_stored(run.id):
        return replace(end, outcome=Outcome.PARTIAL, again=True)
    return end


def stopped(recorder: Recorder) -> End:
    """Return the end of a run that was stopped."""
    if recorder.time_limit_passed is not None:
        words = TIMED_OUT.format(limit=text.duration(recorder.time_limit_passed))
        return End(outcome=Outcome.FAILURE, step=recorder.current_step, error=words)
    if recorder.interrupted:
        return End(outcome=Outcome.INTERRUPTED, step=recorder.current_step, error=run_end.SHUT_DOWN)
    return End(outcome=Outcome.CANCELLED, step=recorder.current_step)
