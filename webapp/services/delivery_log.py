"""The log of deliveries for people: pages of it, and how many need somebody.

Lists go by key: ids sort by time of creation, so "older than this id" is a walk along an index.
Nothing here counts a whole table; counts stop at `COUNT_LIMIT`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, bindparam, exists, func, select, union_all
from sqlalchemy.orm import Session, aliased

from webapp.core import clock
from webapp.models.channel import ChannelRow
from webapp.models.delivery import Delivery, EventRow, State
from webapp.models.job import Job
from webapp.services import delivery_lines
from webapp.services.delivery_lines import COLUMNS, Line
from webapp.services.transaction import reading

PAGE_SIZE: Final = 50
COUNT_LIMIT: Final = 100
ATTENTION_FOR: Final = timedelta(days=7)
EVERYTHING: Final = "all"
_GAVE_UP: Final = (State.FAILED, State.EXPIRED)
_CLOCK_SLACK: Final = timedelta(hours=1)  # an id is made by another clock reading than created_at

_Repeat: Final = aliased(Delivery)
REPEATED: Final = exists(
    select(_Repeat.id).where(
        _Repeat.event_id == Delivery.event_id, _Repeat.resend_of == Delivery.id
    )
)
"""The condition that a delivery was sent again."""


@dataclass(frozen=True, kw_only=True)
class Filters:
    """What a list is narrowed to; empty values narrow nothing, but for the state."""

    state: str = ""
    """Empty: all but skipped ones, which every event that is off leaves; EVERYTHING: those too."""
    channel_id: int | None = None
    event_type: str = ""
    job_id: int | None = None
    since: timedelta | None = None

    @property
    def any(self) -> bool:
        """Say whether anything is narrowed."""
        return self != Filters()


@dataclass(frozen=True, kw_only=True)
class LogPage:
    """One page of the list, newest first."""

    lines: tuple[Line, ...]
    newer: str | None
    """Id to list after; None: this is the newest page."""
    older: str | None
    """Id to list before; None: this is the oldest page."""
    count: int
    """Deliveries that match, at most COUNT_LIMIT + 1."""

    @property
    def is_open(self) -> bool:
        """Say whether a delivery of the page is still on its way."""
        return any(line.is_open for line in self.lines)

    @property
    def words(self) -> str:
        """Return "14 deliveries", "1 delivery" or "100+ deliveries"."""
        if self.count > COUNT_LIMIT:
            return f"{COUNT_LIMIT}+ deliveries"
        return f"{self.count or 'No'} {'delivery' if self.count == 1 else 'deliveries'}"


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What the filters offer."""

    channels: tuple[tuple[int, str], ...]
    jobs: tuple[tuple[int, str], ...]


def page(filters: Filters, *, before: str = "", after: str = "") -> LogPage:
    """Return the newest matching deliveries, or those older or newer than an id."""
    matching = _filtered(filters)
    with reading() as session:
        rows: Sequence[Any] = []
        more_newer = False
        if after:
            upwards = matching.where(Delivery.id > after).order_by(Delivery.id)
            found = session.execute(upwards.limit(PAGE_SIZE + 1)).all()
            more_newer = len(found) > PAGE_SIZE
            rows = found[PAGE_SIZE - 1 :: -1] if more_newer else []
        if rows:
            more_older = True
        else:  # also when there is less than a page above: then the newest page is the answer
            downwards = matching if after or not before else matching.where(Delivery.id < before)
            found = session.execute(
                downwards.order_by(Delivery.id.desc()).limit(PAGE_SIZE + 1)
            ).all()
            rows, more_older = found[:PAGE_SIZE], len(found) > PAGE_SIZE
            more_newer = bool(before) and not after
        counted = len(rows)
        if more_newer or more_older:
            counted = _count(session, matching)
        lines = delivery_lines.lines(session, rows)
    return LogPage(
        lines=lines,
        newer=lines[0].id if more_newer and lines else None,
        older=lines[-1].id if more_older and lines else None,
        count=counted,
    )


def choices() -> Choices:
    """Return the channels and jobs that a list can be narrowed to."""
    with reading() as session:
        channels = session.execute(select(ChannelRow.id, ChannelRow.name).order_by(ChannelRow.name))
        jobs = session.execute(select(Job.id, Job.name).order_by(Job.name))
        return Choices(
            channels=tuple((row.id, row.name) for row in channels),
            jobs=tuple((row.id, row.name) for row in jobs),
        )


def attention_count() -> int:
    """Return how many deliveries need a person: given up in the last 7 days and not resent since,
    or waiting with an error that seldom heals alone. Tests do not count; 101 means "100+".
    """
    since = clock.now() - ATTENTION_FOR
    bounds = {"first_id": _first_id(since - _CLOCK_SLACK), "since": since}
    with reading() as session:
        return session.scalar(_NEEDING_SOMEBODY, bounds) or 0


def given_up_since(moment: datetime) -> ColumnElement[bool]:
    """Return the condition that a delivery was given up, and made since then."""
    return and_(Delivery.state.in_(_GAVE_UP), _created_since(moment))


# Built once: the menu of every page asks for it.
_NEEDING_SOMEBODY: Final = select(func.count()).select_from(
    union_all(
        select(Delivery.id)
        .join(EventRow, EventRow.id == Delivery.event_id)
        .where(
            Delivery.state.in_(_GAVE_UP),
            Delivery.id >= bindparam("first_id"),
            Delivery.created_at >= bindparam("since"),
            ~EventRow.is_test,
            ~REPEATED,
        ),
        select(Delivery.id).where(Delivery.state == State.RETRYING, Delivery.needs_you),
    )
    .limit(COUNT_LIMIT + 1)
    .subquery()
)


def _filtered(filters: Filters) -> Any:
    wanted = COLUMNS
    if not filters.state:
        wanted = wanted.where(Delivery.state != State.SKIPPED)
    elif filters.state != EVERYTHING:
        wanted = wanted.where(Delivery.state == filters.state)
    if filters.channel_id is not None:
        wanted = wanted.where(Delivery.channel_id == filters.channel_id)
    if filters.event_type:
        wanted = wanted.where(EventRow.type == filters.event_type)
    if filters.job_id is not None:
        wanted = wanted.where(EventRow.job_id == filters.job_id)
    if filters.since is not None:
        wanted = wanted.where(_created_since(clock.now() - filters.since))
    return wanted


def _created_since(moment: datetime) -> ColumnElement[bool]:
    """Bound the id as well: it is indexed and time is its first part."""
    return and_(Delivery.id >= _first_id(moment - _CLOCK_SLACK), Delivery.created_at >= moment)


def _first_id(moment: datetime) -> str:
    millis = max(int(moment.timestamp() * 1000), 0)
    return f"{millis >> 16:08x}-{millis & 0xFFFF:04x}"


def _count(session: Session, matching: Any) -> int:
    some = matching.with_only_columns(Delivery.id).limit(COUNT_LIMIT + 1).subquery()
    return session.scalar(select(func.count()).select_from(some)) or 0
