"""Who hears about a job: rows of a channel and a condition."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from webapp.core.errors import InvalidError, NotFoundError
from webapp.models.channel import ChannelRow
from webapp.models.job import Job
from webapp.models.routing import Condition, JobChannel
from webapp.services.jobs import GONE
from webapp.services.transaction import reading, transaction

ON_SUCCESS: Final = frozenset({Condition.ALWAYS, Condition.ON_SUCCESS})
ON_FAILURE: Final = frozenset({Condition.ALWAYS, Condition.ON_FAILURE})
ROW_GONE: Final = "This row was removed already."


@dataclass(frozen=True, kw_only=True)
class Route:
    """One row."""

    id: int
    channel: ChannelRow
    condition: Condition
    also: bool
    """Whether another row has the same channel."""


@dataclass(frozen=True, kw_only=True)
class Routes:
    """The rows of a job, and what they come to."""

    job_id: int
    rows: tuple[Route, ...]
    channels: tuple[ChannelRow, ...]
    """All that a row can be added for."""
    success: tuple[ChannelRow, ...]
    """Who is told about a success, each channel once."""
    failure: tuple[ChannelRow, ...]

    @property
    def fails_unheard(self) -> bool:
        """Say whether nobody is told when the job fails."""
        return not self.failure

    @property
    def all_off(self) -> bool:
        """Say whether failures are covered only by channels that are switched off."""
        return self.fails_unheard and any(row.condition in ON_FAILURE for row in self.rows)

    @property
    def doubled(self) -> tuple[str, ...]:
        """Return the names of channels with several rows."""
        return tuple(dict.fromkeys(row.channel.name for row in self.rows if row.also))

    def row(self, row_id: int) -> Route:
        """Return one of the rows.

        Raises:
            NotFoundError: it was removed.
        """
        for each in self.rows:
            if each.id == row_id:
                return each
        raise NotFoundError(ROW_GONE)


def of_job(job_id: int) -> Routes:
    """Return the rows of a job.

    Raises:
        NotFoundError: there is no such job.
    """
    with reading() as session:
        return load(session, job_id)


def load(session: Session, job_id: int) -> Routes:
    """Return the rows of a job."""
    if session.get(Job, job_id) is None:
        raise NotFoundError(GONE)
    found = session.execute(
        select(JobChannel, ChannelRow)
        .join(ChannelRow, ChannelRow.id == JobChannel.channel_id)
        .where(JobChannel.job_id == job_id)
        .order_by(JobChannel.id)
    ).all()
    used = [channel.id for _, channel in found]
    rows = tuple(
        Route(
            id=row.id,
            channel=channel,
            condition=Condition(row.condition),
            also=used.count(channel.id) > 1,
        )
        for row, channel in found
    )
    channels = session.scalars(select(ChannelRow).order_by(func.lower(ChannelRow.name)))
    return Routes(
        job_id=job_id,
        rows=rows,
        channels=tuple(channels),
        success=_told(rows, ON_SUCCESS),
        failure=_told(rows, ON_FAILURE),
    )


def _told(rows: tuple[Route, ...], conditions: frozenset[Condition]) -> tuple[ChannelRow, ...]:
    told = {
        row.channel.id: row.channel
        for row in rows
        if row.condition in conditions and row.channel.enabled
    }
    return tuple(told.values())


def add(job_id: int, channel_id: int | None, condition: str) -> int:
    """Add a row and return its id.

    Raises:
        NotFoundError: there is no such job.
        InvalidError: the channel was deleted, or there is no such condition.
    """
    wanted = _condition(condition)
    with transaction() as session:
        if session.get(Job, job_id) is None:
            raise NotFoundError(GONE)
        if channel_id is None or session.get(ChannelRow, channel_id) is None:
            raise InvalidError("Choose a channel. The one you chose was deleted.", "channel")
        row = JobChannel(job_id=job_id, channel_id=channel_id, condition=wanted)
        session.add(row)
        session.flush()
    return row.id


def set_condition(job_id: int, row_id: int, condition: str) -> Routes:
    """Change when a row's channel is told; return all rows of the job."""
    wanted = _condition(condition)
    with transaction() as session:
        _get(session, job_id, row_id).condition = wanted
        session.flush()
        return load(session, job_id)


@dataclass(frozen=True)
class Removed:
    """A row that was removed, to be named and brought back."""

    channel_id: int
    channel_name: str
    condition: str
    next_id: int | None
    """The row that took its place in the list, else the one before it."""


def remove(job_id: int, row_id: int) -> Removed:
    """Remove a row."""
    with transaction() as session:
        row = _get(session, job_id, row_id)
        others = [each.id for each in load(session, job_id).rows if each.id != row_id]
        following = [each for each in others if each > row_id]
        name = session.get_one(ChannelRow, row.channel_id).name
        session.delete(row)
    return Removed(
        row.channel_id,
        name,
        row.condition,
        following[0] if following else others[-1] if others else None,
    )


def _get(session: Session, job_id: int, row_id: int) -> JobChannel:
    row = session.get(JobChannel, row_id, with_for_update=True)
    if row is None or row.job_id != job_id:
        raise NotFoundError(ROW_GONE)
    return row


def _condition(condition: str) -> Condition:
    try:
        return Condition(condition)
    except ValueError as error:
        raise InvalidError("Choose Always, On Success or On Failure.", "condition") from error
