"""The log of deliveries for people: lists, details, Resend, Stop retrying.

Lists go by key: ids sort by time of creation, so "older than this id" is a walk along an index.
Nothing here counts a whole table; counts stop at `COUNT_LIMIT`.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    and_,
    bindparam,
    exists,
    func,
    insert,
    select,
    text,
    union_all,
    update,
)
from sqlalchemy.orm import Session, aliased

from webapp.core import clock, ids
from webapp.core.errors import ConflictError, NotFoundError
from webapp.core.retry import EXPIRES_AFTER
from webapp.models.channel import ChannelRow
from webapp.models.delivery import CLOSED_STATES, OPEN_STATES, Attempt, Delivery, EventRow, State
from webapp.models.job import Job
from webapp.notify import channels as registry
from webapp.notify.channels.base import Preview
from webapp.notify.events import BY_TYPE
from webapp.notify.message import Reader
from webapp.services import preferences
from webapp.services.delivery_relations import Relation, not_chosen, relations
from webapp.services.preferences import Preferences
from webapp.services.transaction import RING, reading, transaction

logger = logging.getLogger(__name__)

PAGE_SIZE: Final = 50
COUNT_LIMIT: Final = 100
RESEND_LIMIT: Final = 500  # copies that one press may queue
ATTENTION_FOR: Final = timedelta(days=7)
EVERYTHING: Final = "all"
OPEN: Final = frozenset({State.QUEUED, State.SENDING, State.RETRYING})
_GAVE_UP: Final = (State.FAILED, State.EXPIRED)
_CLOCK_SLACK: Final = timedelta(hours=1)  # an id is made by another clock reading than created_at

_Repeat: Final = aliased(Delivery)
_REPEATED: Final = exists(
    select(_Repeat.id).where(
        _Repeat.event_id == Delivery.event_id, _Repeat.resend_of == Delivery.id
    )
)


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
class Line:
    """One delivery as a list shows it."""

    id: str
    event_id: str
    event_type: str
    title: str
    is_test: bool
    channel_id: int | None
    channel_name: str
    channel_type: str
    recipient: str | None
    is_direct: bool
    state: str
    reason: str | None
    needs_you: bool
    attempts: int
    created_at: datetime
    next_attempt_at: datetime | None
    took: timedelta | None
    """Duration of the latest attempt."""

    @property
    def is_open(self) -> bool:
        """Say whether it is still on its way."""
        return self.state in OPEN

    @property
    def can_resend(self) -> bool:
        """Say whether it may be sent again, or tried at once while it waits for its next try."""
        closed = self.state in CLOSED_STATES
        return not self.is_test and (closed or self.state == State.RETRYING)

    @property
    def kind(self) -> str:
        """What made it: a job, a system event or a test."""
        if self.event_type == "channel_test":
            return "Channel test"
        event = BY_TYPE.get(self.event_type)
        return "System event" if event is None or event.group else "Job notification"


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
class Try:
    """One attempt as the log shows it."""

    number: int
    started_at: datetime
    took: timedelta
    outcome: str
    status: str | None
    message: str
    excerpt: str
    advice: str


@dataclass(frozen=True, kw_only=True)
class Sent:
    """The message as it left, secrets masked."""

    raw: str
    content_type: str
    preview: Preview | None
    """None: this version cannot draw it."""


@dataclass(frozen=True, kw_only=True)
class Detail:
    """All about one delivery."""

    line: Line
    tries: tuple[Try, ...]
    """Latest first."""
    others: tuple[Line, ...]
    """The event's other deliveries, those that were skipped included."""
    message: Sent | None
    occurred_at: datetime
    expires_at: datetime | None
    finished_at: datetime | None
    job_id: int | None
    job_name: str
    run_id: int | None
    resend_of: str | None
    resent_as: str | None
    relations: tuple[Relation, ...]
    not_chosen: tuple[str, ...]
    """Channels that there were, and that were not selected for the event."""

    @property
    def mark(self) -> str:
        """Change whenever what is shown changes; a poll that finds it unchanged swaps nothing."""
        return f"{self.line.state}.{self.line.attempts}.{len(self.others)}"


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What the filters offer."""

    channels: tuple[tuple[int, str], ...]
    jobs: tuple[tuple[int, str], ...]


@dataclass(frozen=True, kw_only=True)
class Resent:
    """What Resend queued."""

    delivery_id: str
    channel_name: str


# reading ----------------------------------------------------------------------------------------


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
        lines = _lines(session, rows)
    return LogPage(
        lines=lines,
        newer=lines[0].id if more_newer and lines else None,
        older=lines[-1].id if more_older and lines else None,
        count=counted,
    )


def line(delivery_id: str) -> Line:
    """Return one delivery as the list shows it.

    Raises:
        NotFoundError: it is not in the log.
    """
    with reading() as session:
        return _one(session, delivery_id)


def detail(delivery_id: str, *, with_message: bool) -> Detail:
    """Return all about one delivery; the message itself only when asked for.

    Raises:
        NotFoundError: it is not in the log.
    """
    with reading() as session:
        shown = _one(session, delivery_id)
        row = session.execute(
            select(
                Delivery.expires_at,
                Delivery.finished_at,
                Delivery.resend_of,
                Delivery.fallback_for,
                Delivery.bundle_id,
                EventRow.occurred_at,
                EventRow.job_id,
                EventRow.run_id,
                Job.name.label("job_name"),
                *([Delivery.rendered] if with_message else []),
            )
            .join(EventRow, EventRow.id == Delivery.event_id)
            .outerjoin(Job, Job.id == EventRow.job_id)
            .where(Delivery.id == delivery_id)
        ).one()
        siblings = session.execute(
            _COLUMNS.where(Delivery.event_id == shown.event_id, Delivery.id != delivery_id)
            .order_by(Delivery.id)
            .limit(COUNT_LIMIT)
        ).all()
        resent_as = session.scalar(
            select(Delivery.id)
            .where(Delivery.event_id == shown.event_id, Delivery.resend_of == delivery_id)
            .order_by(Delivery.id.desc())
            .limit(1)
        )
        return Detail(
            line=shown,
            tries=_tries(session, delivery_id),
            others=_lines(session, siblings),
            message=_message(shown.channel_type, row.rendered) if with_message else None,
            occurred_at=row.occurred_at,
            expires_at=row.expires_at,
            finished_at=row.finished_at,
            job_id=row.job_id,
            job_name=row.job_name or "",
            run_id=row.run_id,
            resend_of=row.resend_of,
            resent_as=resent_as,
            relations=relations(
                session, delivery_id, fallback_for=row.fallback_for, bundle_id=row.bundle_id
            ),
            not_chosen=(
                () if shown.is_test else not_chosen(session, shown.event_id, row.occurred_at)
            ),
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


def lines_of(session: Session, delivery_ids: Sequence[str]) -> tuple[Line, ...]:
    """Return these deliveries as lists show them, newest first."""
    rows = session.execute(
        _COLUMNS.where(Delivery.id.in_(delivery_ids)).order_by(Delivery.id.desc())
    )
    return _lines(session, rows)


# changing ---------------------------------------------------------------------------------------


def resend(delivery_id: str) -> Resent:
    """Queue a copy of a delivery that ended without success; try a waiting one at once.

    Raises:
        ConflictError: it is under way or was sent, its channel is gone or off, or a copy of it
            waits already.
        NotFoundError: it is not in the log.
    """
    now = clock.now()
    with transaction() as session:
        old = _stored(session, delivery_id)
        if session.scalar(select(EventRow.is_test).where(EventRow.id == old.event_id)):
            raise ConflictError("A test is tried once. Press Test again instead.")
        _refuse_without_channel(session, old)
        session.info[RING] = True
        if old.state == State.RETRYING:
            old.next_attempt_at = now
            return Resent(delivery_id=old.id, channel_name=old.channel_name)
        if old.state not in CLOSED_STATES:
            raise ConflictError("Only a delivery that ended without success can be sent again.")
        if _copy_waits(session, old):
            raise ConflictError("It is queued again already.")
        copy = _copy(old, now)
        session.execute(insert(Delivery), copy)
        return Resent(delivery_id=copy["id"], channel_name=old.channel_name)


def resend_failed(since: timedelta) -> int:
    """Queue copies of what was given up since then, at most RESEND_LIMIT; return how many.

    Tests, what was resent before, and channels that are off or gone are left out.
    """
    now = clock.now()
    with transaction() as session:
        given_up = session.scalars(
            select(Delivery)
            .join(EventRow, EventRow.id == Delivery.event_id)
            .join(ChannelRow, ChannelRow.id == Delivery.channel_id)
            .where(_given_up_since(now - since), ~EventRow.is_test, ChannelRow.enabled, ~_REPEATED)
            .order_by(Delivery.id)
            .limit(RESEND_LIMIT)
        ).all()
        if given_up:
            session.execute(insert(Delivery), [_copy(old, now) for old in given_up])
            session.info[RING] = True
    return len(given_up)


def cancel(delivery_id: str) -> Line:
    """Stop trying. A message that is on the wire at this moment may still arrive.

    Raises:
        ConflictError: it has ended already.
        NotFoundError: it is not in the log.
    """
    with transaction() as session:
        stopped = session.execute(
            update(Delivery)
            .where(Delivery.id == delivery_id, text(OPEN_STATES))
            .values(
                state=State.CANCELLED,
                reason="Stopped by hand.",
                needs_you=False,
                finished_at=clock.now(),
                next_attempt_at=None,
                lease_owner=None,
                leased_until=None,
            )
            .returning(Delivery.id)
            .execution_options(synchronize_session=False)
        ).first()
        shown = _one(session, delivery_id)
        if stopped is None:
            raise ConflictError("It is not waiting any more, so there is nothing to stop.")
        return shown


# helpers ----------------------------------------------------------------------------------------

_COLUMNS: Final[Any] = select(
    Delivery.id,
    Delivery.event_id,
    Delivery.channel_id,
    Delivery.channel_name,
    Delivery.channel_type,
    Delivery.recipient,
    Delivery.is_direct,
    Delivery.state,
    Delivery.reason,
    Delivery.needs_you,
    Delivery.attempts,
    Delivery.created_at,
    Delivery.next_attempt_at,
    EventRow.type.label("event_type"),
    EventRow.payload,
    EventRow.is_test,
).join(EventRow, EventRow.id == Delivery.event_id)


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
            ~_REPEATED,
        ),
        select(Delivery.id).where(Delivery.state == State.RETRYING, Delivery.needs_you),
    )
    .limit(COUNT_LIMIT + 1)
    .subquery()
)


def _filtered(filters: Filters) -> Any:
    wanted = _COLUMNS
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


def _given_up_since(moment: datetime) -> ColumnElement[bool]:
    return and_(Delivery.state.in_(_GAVE_UP), _created_since(moment))


def _first_id(moment: datetime) -> str:
    millis = max(int(moment.timestamp() * 1000), 0)
    return f"{millis >> 16:08x}-{millis & 0xFFFF:04x}"


def _count(session: Session, matching: Any) -> int:
    some = matching.with_only_columns(Delivery.id).limit(COUNT_LIMIT + 1).subquery()
    return session.scalar(select(func.count()).select_from(some)) or 0


def _one(session: Session, delivery_id: str) -> Line:
    row = session.execute(_COLUMNS.where(Delivery.id == delivery_id)).one_or_none()
    if row is None:
        raise NotFoundError("This delivery is not in the log (any more).")
    return _lines(session, [row])[0]


def _lines(session: Session, rows: Iterable[Any]) -> tuple[Line, ...]:
    rows = list(rows)
    if not rows:
        return ()
    reader = preferences.load(session.connection())
    took = dict(
        session.execute(
            select(Attempt.delivery_id, Attempt.duration_ms)
            .where(Attempt.delivery_id.in_([row.id for row in rows]))
            .order_by(Attempt.number)
        ).all()
    )
    return tuple(_line(row, reader, took.get(row.id)) for row in rows)


def _line(row: Any, preferred: Preferences, took_ms: int | None) -> Line:
    return Line(
        id=row.id,
        event_id=row.event_id,
        event_type=row.event_type,
        title=_title(row.event_type, row.payload, preferred, to_user=row.is_direct),
        is_test=row.is_test,
        channel_id=row.channel_id,
        channel_name=row.channel_name,
        channel_type=row.channel_type,
        recipient=row.recipient,
        is_direct=row.is_direct,
        state=row.state,
        reason=row.reason,
        needs_you=row.needs_you,
        attempts=row.attempts,
        created_at=row.created_at,
        next_attempt_at=row.next_attempt_at,
        took=None if took_ms is None else timedelta(milliseconds=took_ms),
    )


def _title(
    event_type: str, payload: Mapping[str, Any], preferred: Preferences, *, to_user: bool
) -> str:
    event = BY_TYPE.get(event_type)
    if event is None:
        return event_type
    reader = Reader(
        timezone=preferred.timezone,
        base_url=preferred.base_url,
        instance=preferred.instance_name,
        is_the_user=to_user,
    )
    try:
        return event.from_payload(payload).say(reader).title
    except (TypeError, ValueError):  # written by another version
        return event.label


def _tries(session: Session, delivery_id: str) -> tuple[Try, ...]:
    rows = session.execute(
        select(
            Attempt.number,
            Attempt.started_at,
            Attempt.duration_ms,
            Attempt.outcome,
            Attempt.status,
            Attempt.message,
            Attempt.excerpt,
            Attempt.advice,
        )
        .where(Attempt.delivery_id == delivery_id)
        .order_by(Attempt.number.desc())
        .limit(COUNT_LIMIT)
    )
    return tuple(
        Try(
            number=row.number,
            started_at=row.started_at,
            took=timedelta(milliseconds=row.duration_ms),
            outcome=row.outcome,
            status=row.status,
            message=row.message,
            excerpt=row.excerpt,
            advice=row.advice,
        )
        for row in rows
    )


def _message(channel_type: str, rendered: Mapping[str, Any] | None) -> Sent | None:
    if not rendered:
        return None
    body, content_type = str(rendered.get("body", "")), str(rendered.get("content_type", ""))
    kind = registry.BY_TYPE.get(channel_type)
    preview = None
    if kind is not None:
        try:
            preview = kind.preview(body, content_type)
        except (ValueError, LookupError, TypeError, AttributeError):  # made by another version
            logger.info("stored message cannot be drawn", extra={"channel_type": channel_type})
    return Sent(raw=body, content_type=content_type, preview=preview)


def _stored(session: Session, delivery_id: str) -> Delivery:
    row = session.get(Delivery, delivery_id, with_for_update=True)
    if row is None:
        raise NotFoundError("This delivery is not in the log (any more).")
    return row


def _refuse_without_channel(session: Session, row: Delivery) -> None:
    enabled = session.scalar(select(ChannelRow.enabled).where(ChannelRow.id == row.channel_id))
    if enabled is None:
        raise ConflictError("The channel of this delivery was deleted, so it cannot be sent again.")
    if not enabled:
        raise ConflictError(f"{row.channel_name} is off. Turn it on, then send again.")


def _copy_waits(session: Session, old: Delivery) -> bool:
    copies = select(Delivery.id).where(
        Delivery.event_id == old.event_id, Delivery.resend_of == old.id, Delivery.state.in_(OPEN)
    )
    return session.execute(copies.limit(1)).first() is not None


def _copy(old: Delivery, now: datetime) -> dict[str, Any]:
    return {
        "id": ids.uuid7(),
        "event_id": old.event_id,
        "channel_id": old.channel_id,
        "channel_name": old.channel_name,
        "channel_type": old.channel_type,
        "recipient": old.recipient,
        "is_direct": old.is_direct,
        "state": State.QUEUED,
        "attempts": 0,
        "created_at": now,
        "next_attempt_at": now,
        "expires_at": now + EXPIRES_AFTER,
        "resend_of": old.id,
        "progress": old.progress,  # recipients who took the message do not get it again
    }
