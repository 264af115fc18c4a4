"""What each destination of a job keeps, and what that would delete."""

from dataclasses import dataclass
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.backup import retention
from webapp.backup.retention import RULE_NAMES, Kept, Rules
from webapp.core import clock
from webapp.core.errors import AppError, InvalidError, NotFoundError
from webapp.models.job import DestinationRow, Job, JobDestination, SourceRow
from webapp.services.destinations import open_destination
from webapp.services.jobs import GONE
from webapp.services.run_work import rules_of
from webapp.services.sources import open_parts
from webapp.services.transaction import reading, transaction

MOST = 10_000


@dataclass(frozen=True, kw_only=True)
class Place:
    """A destination of the job."""

    id: int
    name: str
    rules: Rules
    own: bool
    """False: the job's own number counts."""


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What would become of the backups that are there, if the job had a good run now."""

    place: Place
    kept: tuple[Kept, ...]
    problem: str = ""

    @property
    def doomed(self) -> int:
        """Return how many would be deleted."""
        return len(retention.doomed(self.kept))

    @property
    def freed(self) -> int:
        """Return how many bytes that would free."""
        return sum(each.size for each in self.kept if not each.reasons)


def places(job_id: int) -> tuple[Place, ...]:
    """Return the destinations of a job with their rules.

    Raises:
        NotFoundError: there is no such job.
    """
    with reading() as session:
        job, found = _rows(session, job_id)
    return tuple(_place(job, row, own) for row, own in found)


def preview(job_id: int, destination_id: int, rules: Rules | None = None) -> Preview:
    """Ask the destination what is there, and say what a good run now would delete; nothing is.

    What that run makes counts, as it does when it is real: it takes a place among the last so many.

    Raises:
        NotFoundError: there is no such job, or it does not store there.
    """
    with reading() as session:
        job, found = _rows(session, job_id)
        source = session.get_one(SourceRow, job.source_id)
    for row, own in found:
        if row.id == destination_id:
            place = _place(job, row, own)
            break
    else:
        raise NotFoundError("This job does not store at this destination (any more).")
    if rules is not None:
        place = Place(id=place.id, name=place.name, rules=rules, own=place.own)
    try:
        kept = retention.plan(
            open_destination(row),
            f"{job.folder}/",
            place.rules,
            now=clock.now(),
            zone=ZoneInfo(job.timezone),
            coming=_databases(source),
        )
    except AppError as error:
        return Preview(place=place, kept=(), problem=str(error))
    return Preview(place=place, kept=kept)


def save(job_id: int, destination_id: int, rules: Rules | None) -> None:
    """Give a destination of the job its own rules; None: as the job says again.

    Raises:
        InvalidError: a number is out of range, or no rule is set.
        NotFoundError: the job does not store there.
    """
    for name in RULE_NAMES if rules is not None else ():
        value = getattr(rules, name)
        if value is not None and not 0 <= value <= MOST:
            raise InvalidError(f"Enter a number up to {MOST}, or leave it empty.", name)
    with transaction() as session:
        row = session.get(JobDestination, (job_id, destination_id), with_for_update=True)
        if row is None:
            raise NotFoundError("This job does not store at this destination (any more).")
        row.rules = None if rules is None else rules.to_json()


def _databases(source: SourceRow) -> tuple[str, ...]:
    try:
        return tuple(name for name, _ in open_parts(source))
    except AppError:  # a run would fail now; one that does not counts for each database
        return ("",)


def _rows(session: Session, job_id: int) -> tuple[Job, list[tuple[DestinationRow, object]]]:
    job = session.get(Job, job_id)
    if job is None:
        raise NotFoundError(GONE)
    chosen = (
        select(DestinationRow, JobDestination.rules)
        .join(JobDestination, JobDestination.destination_id == DestinationRow.id)
        .where(JobDestination.job_id == job_id)
        .order_by(JobDestination.position, DestinationRow.id)
    )
    return job, [(row, own) for row, own in session.execute(chosen)]


def _place(job: Job, row: DestinationRow, own: object) -> Place:
    known = own if isinstance(own, dict) else None
    return Place(id=row.id, name=row.name, rules=rules_of(job, known), own=known is not None)
