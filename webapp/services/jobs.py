"""Use cases of jobs: what to back up, where to, and when."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session, aliased

from webapp.backup import encryption
from webapp.backup.encryption import OFF, PASSPHRASE, RECIPIENTS, Encryption
from webapp.backup.sources import BY_TYPE
from webapp.backup.streams import COMPRESSORS
from webapp.core import clock, passphrase
from webapp.core.errors import ConflictError, InvalidError, NotFoundError
from webapp.models.job import DEFAULT_PATTERN, DestinationRow, Job, JobDestination, SourceRow
from webapp.models.routing import JobChannel
from webapp.models.run import Run
from webapp.models.setting import Lease
from webapp.services import artifact_names, audit, bells, cron, run_end, schedules
from webapp.services.transaction import reading, transaction

NAME_LIMIT: Final = 100
BOUNDS: Final = {"time_limit": (1, 10_080), "retries": (0, 10), "retry_pause": (1, 1440)}
CLONED: Final = (
    "source_id",
    "schedule",
    "timezone",
    "compression",
    "encryption",
    "recipients",
    "identity",
    "keep_last",
    "name_pattern",
    "time_limit",
    "retries",
    "retry_pause",
    "prove_every",
)
PROVE_EVERY: Final = ("", "weekly", "monthly")
GONE: Final = "This job is not here. It was deleted, or it never existed."
STALE: Final = (
    "Somebody else changed this job while you were editing it. "
    "Check your changes and save again to keep them."
)


@dataclass(frozen=True, kw_only=True)
class Values:
    """What the form says."""

    name: str
    source_id: int
    destination_ids: Sequence[int]
    schedule: str
    """A cron expression; "" means by hand only."""
    timezone: str
    compression: str
    encryption: str = OFF
    recipients: str = ""
    """As typed: public keys, one a line."""
    passphrase: str = ""
    """"" keeps the one that is set."""
    keep_last: int | None
    name_pattern: str = DEFAULT_PATTERN
    time_limit: int | None = None
    """Minutes; None: as long as it takes."""
    retries: int = 0
    retry_pause: int = 5
    """Minutes."""
    prove_every: str = ""
    enabled: bool


@dataclass(frozen=True, kw_only=True)
class JobItem:
    """A job with what lists and headers say about it."""

    row: Job
    source: SourceRow
    source_label: str
    """The name of the source's type."""
    destinations: tuple[DestinationRow, ...]
    last_run: Run | None
    routes: int
    """How many rows its notifications have."""
    schedule_words: str
    next_at: datetime | None
    """None: by hand only, or switched off."""


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What the form offers."""

    sources: tuple[SourceRow, ...]
    destinations: tuple[DestinationRow, ...]


def listed() -> list[JobItem]:
    """Return all jobs by name."""
    with reading() as session:
        return _items(session, _JOBS.order_by(func.lower(Job.name), Job.id))


def one(job_id: int) -> JobItem:
    """Return one job.

    Raises:
        NotFoundError: there is no such job.
    """
    with reading() as session:
        found = _items(session, _JOBS.where(Job.id == job_id))
    if not found:
        raise NotFoundError(GONE)
    return found[0]


def by_name(name: str) -> int:
    """Return the id of the job with this name.

    Raises:
        NotFoundError: there is no such job.
    """
    with reading() as session:
        found = session.scalar(select(Job.id).where(Job.name == name))
    if found is None:
        raise NotFoundError(f"There is no job “{name}”.")
    return found


def choices() -> Choices:
    """Return the sources and destinations that a job can have."""
    with reading() as session:
        return Choices(
            sources=tuple(session.scalars(select(SourceRow).order_by(SourceRow.name))),
            destinations=tuple(
                session.scalars(select(DestinationRow).order_by(DestinationRow.name))
            ),
        )


def create(values: Values) -> int:
    """Add a job and return its id.

    Raises:
        InvalidError: a value cannot be used; `field` names it.
    """
    keys = _keys(values)
    with transaction() as session:
        _check(session, values)
        if keys is None:
            raise InvalidError("Enter the passphrase.", "passphrase")
        job = Job(**_columns(values), **keys)
        session.add(job)
        session.flush()
        _connect(session, job.id, values.destination_ids)
        _note_places(session, job, [])
    bells.jobs_changed.ring()
    return job.id


def save(job_id: int, values: Values, version: int) -> None:
    """Change a job; `version` is the one that the form showed.

    Raises:
        NotFoundError: there is no such job.
        ConflictError: it was changed since.
        InvalidError: a value cannot be used; `field` names it.
    """
    keys = _keys(values)
    with transaction() as session:
        job = _get(session, job_id)
        if job.version != version:
            raise ConflictError(STALE)
        _check(session, values, job_id)
        if keys is None and job.encryption != PASSPHRASE:
            raise InvalidError("Enter the passphrase.", "passphrase")
        due_before = _due_when(job)
        for name, value in (_columns(values) | (keys or {})).items():
            setattr(job, name, value)
        if _due_when(job) != due_before:
            job.served_until = clock.now()
        job.version += 1
        rules = _own_rules(session, job_id)
        places = _place_names(session, job_id)
        session.execute(delete(JobDestination).where(JobDestination.job_id == job_id))
        _connect(session, job_id, values.destination_ids, rules)
        _note_places(session, job, places)
    bells.jobs_changed.ring()


def clone(job_id: int) -> int:
    """Make a second job like this one, switched off, and return its id.

    Destinations, rules and notifications come along; runs and backups do not.

    Raises:
        NotFoundError: there is no such job.
    """
    with transaction() as session:
        job = _get(session, job_id)
        values = {name: getattr(job, name) for name in CLONED}
        made = Job(**values, name=_free_name(session, job.name), enabled=False)
        session.add(made)
        session.flush()
        rules = _own_rules(session, job_id)
        places = select(JobDestination.destination_id).where(JobDestination.job_id == job_id)
        ordered = session.scalars(places.order_by(JobDestination.position)).all()
        _connect(session, made.id, ordered, rules)
        _note_places(session, made, [])
        told = select(JobChannel).where(JobChannel.job_id == job_id).order_by(JobChannel.id)
        for row in session.scalars(told).all():
            session.add(
                JobChannel(job_id=made.id, channel_id=row.channel_id, condition=row.condition)
            )
            session.flush()  # one by one, so that ids keep the order
    bells.jobs_changed.ring()
    return made.id


def _free_name(session: Session, name: str) -> str:
    number = 1
    while True:
        end = " copy" if number == 1 else f" copy {number}"
        found = name[: NAME_LIMIT - len(end)] + end
        if session.scalar(select(Job.id).where(Job.name == found)) is None:
            return found
        number += 1


def set_enabled(job_id: int, enabled: bool) -> Job:
    """Switch the schedule of a job on or off; by hand it runs either way."""
    with transaction() as session:
        job = _get(session, job_id)
        if enabled and not job.enabled:
            job.served_until = clock.now()
        job.enabled = enabled
    bells.jobs_changed.ring()
    return job


def remove(job_id: int) -> str:
    """Delete a job and return its name. Its runs and stored backups stay.

    Raises:
        NotFoundError: there is no such job.
        ConflictError: it is running.
    """
    with transaction() as session:
        job = _get(session, job_id)
        if run_end.running(session, job_id):
            raise ConflictError(f"{job.name} is running. Stop the run, then delete the job.")
        session.execute(delete(Lease).where(Lease.name == run_end.lease_name(job_id)))
        # the rows would go with the job; one by one they are noted
        for told in session.scalars(select(JobChannel).where(JobChannel.job_id == job_id)).all():
            session.delete(told)
        before = _place_names(session, job_id)
        session.execute(delete(JobDestination).where(JobDestination.job_id == job_id))
        _note_places(session, job, before)
        session.delete(job)
        name = job.name
    bells.jobs_changed.ring()
    return name


def _get(session: Session, job_id: int) -> Job:
    job = session.get(Job, job_id, with_for_update=True)
    if job is None:
        raise NotFoundError(GONE)
    return job


def _check(session: Session, values: Values, job_id: int | None = None) -> None:
    if not values.name:
        raise InvalidError("Enter a name, for example “Shop nightly”.", "name")
    same = select(Job.id).where(Job.name == values.name, Job.id != (job_id or 0))
    if session.scalar(same) is not None:
        raise InvalidError("Another job has this name. Choose a different one.", "name")
    if session.get(SourceRow, values.source_id) is None:
        raise InvalidError("This source was deleted. Choose another one.", "source_id")
    if not values.destination_ids:
        raise InvalidError("Choose at least one destination.", "destination_ids")
    if any(session.get(DestinationRow, each) is None for each in values.destination_ids):
        raise InvalidError("A destination was deleted. Choose again.", "destination_ids")
    if values.schedule:
        cron.parse(values.schedule)
    try:
        ZoneInfo(values.timezone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise InvalidError(f"{values.timezone} is not a known time zone.", "timezone") from error
    if values.compression not in COMPRESSORS:
        raise InvalidError("Choose zstd, gzip or none.", "compression")
    if values.keep_last is not None and values.keep_last < 1:
        raise InvalidError("Keep at least one backup, or leave it empty.", "keep_last")
    artifact_names.check(values.name_pattern)
    for name, (least, most) in BOUNDS.items():
        value = getattr(values, name)
        if value is not None and not least <= value <= most:
            raise InvalidError(f"Enter a number from {least} to {most}.", name)
    if values.prove_every not in PROVE_EVERY:
        raise InvalidError("Choose never, weekly or monthly.", "prove_every")
    if values.prove_every and values.encryption != OFF:
        raise InvalidError(
            "Encrypted backups can be tried by hand only: what opens them is not kept here.",
            "prove_every",
        )


def _keys(values: Values) -> dict[str, str] | None:
    """Return the columns of the encryption; None: the passphrase stays as it is.

    Outside of transactions: sealing a key takes a second.
    """
    if values.encryption == OFF:
        how = Encryption(OFF, ())
    elif values.encryption == RECIPIENTS:
        how = Encryption(RECIPIENTS, encryption.parse_recipients(values.recipients))
    elif values.encryption != PASSPHRASE:
        raise InvalidError("Choose how it is encrypted.", "encryption")
    elif not values.passphrase:
        return None
    else:
        passphrase.require_strong(values.passphrase)
        how = encryption.with_passphrase(values.passphrase)
    lines = "\n".join(how.recipients)
    return {"encryption": how.mode, "recipients": lines, "identity": how.identity}


def _columns(values: Values) -> dict[str, object]:
    return {
        "name": values.name,
        "source_id": values.source_id,
        "enabled": values.enabled,
        "schedule": " ".join(values.schedule.split()) or None,
        "timezone": values.timezone,
        "compression": values.compression,
        "keep_last": values.keep_last,
        "name_pattern": values.name_pattern,
        "time_limit": values.time_limit,
        "retries": values.retries,
        "retry_pause": values.retry_pause,
        "prove_every": values.prove_every,
    }


def _own_rules(session: Session, job_id: int) -> dict[int, dict[str, Any] | None]:
    """Return what the job's destinations keep by rules of their own."""
    found = select(JobDestination.destination_id, JobDestination.rules)
    rows = session.execute(found.where(JobDestination.job_id == job_id))
    return {row.destination_id: row.rules for row in rows}


def _connect(
    session: Session,
    job_id: int,
    destination_ids: Sequence[int],
    rules: Mapping[int, dict[str, Any] | None] | None = None,
) -> None:
    session.add_all(
        JobDestination(
            job_id=job_id,
            destination_id=destination_id,
            position=position,
            rules=(rules or {}).get(destination_id),
        )
        for position, destination_id in enumerate(dict.fromkeys(destination_ids))
    )
    session.flush()


def _place_names(session: Session, job_id: int) -> list[str]:
    return list(
        session.scalars(
            select(DestinationRow.name)
            .join(JobDestination, JobDestination.destination_id == DestinationRow.id)
            .where(JobDestination.job_id == job_id)
            .order_by(JobDestination.position)
        )
    )


def _note_places(session: Session, job: Job, before: list[str]) -> None:
    """Note where a job stores; its own columns are noted with its row."""
    after = _place_names(session, job.id)
    audit.note_change(
        session, "job.changed", job.name, {"destinations": before}, {"destinations": after}
    )


# The newest run comes by the index of (job, id); nothing here reads all runs.
_newest = aliased(Run)
_JOBS: Final[Any] = (
    select(Job, SourceRow, Run)
    .join(SourceRow, SourceRow.id == Job.source_id)
    .outerjoin(
        Run,
        Run.id
        == select(func.max(_newest.id))
        .where(_newest.job_id == Job.id)
        .correlate(Job)
        .scalar_subquery(),
    )
)


def _items(session: Session, jobs: Any) -> list[JobItem]:
    found = session.execute(jobs).all()
    ids = [job.id for job, _, _ in found]
    places: dict[int, list[DestinationRow]] = {}
    for job_id, place in session.execute(
        select(JobDestination.job_id, DestinationRow)
        .join(DestinationRow, DestinationRow.id == JobDestination.destination_id)
        .where(JobDestination.job_id.in_(ids))
        .order_by(JobDestination.position, DestinationRow.id)
    ):
        places.setdefault(job_id, []).append(place)
    counts = select(JobChannel.job_id, func.count()).where(JobChannel.job_id.in_(ids))
    routes: dict[int, int] = {}
    for job_id, count in session.execute(counts.group_by(JobChannel.job_id)):
        routes[job_id] = count
    return [
        JobItem(
            row=job,
            source=source,
            source_label=BY_TYPE[source.type].label if source.type in BY_TYPE else source.type,
            destinations=tuple(places.get(job.id, ())),
            last_run=run,
            routes=routes.get(job.id, 0),
            schedule_words=_words(job),
            next_at=_next(job),
        )
        for job, source, run in found
    ]


def _due_when(job: Job) -> tuple[object, ...]:
    """Return what the times of its starts hang on."""
    return job.enabled, job.schedule, job.timezone


def _words(job: Job) -> str:
    return schedules.describe(job.schedule) if job.schedule else "By hand"


def _next(job: Job) -> datetime | None:
    if not job.enabled or not job.schedule:
        return None
    times = schedules.next_times(job.schedule, job.timezone, 1)
    return times[0] if times else None
