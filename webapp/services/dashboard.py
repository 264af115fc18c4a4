"""The dashboard's key figures, its notification health, and the checklist of the first steps.

Counts stop at `MOST`, and periods are walked along indexes: a million old rows cost nothing.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import Select, case, exists, func, literal, select, text, union_all
from sqlalchemy.orm import Session

from webapp.core import clock
from webapp.core.text import plural
from webapp.models.channel import ChannelRow
from webapp.models.delivery import OPEN_STATES, Delivery, EventRow, State
from webapp.models.job import DestinationRow, Job, SourceRow
from webapp.models.routing import GlobalChannel
from webapp.models.run import ArtifactRow, Outcome, Run
from webapp.models.setting import Setting
from webapp.services import channel_status, dashboard_runs
from webapp.services.channel_status import Health, Status
from webapp.services.dashboard_runs import BAD, GOOD
from webapp.services.transaction import reading, transaction

MOST: Final = 1000
SHOWN_CHANNELS: Final = 9
DAY: Final = timedelta(days=1)
WEEK: Final = timedelta(days=7)
HIDDEN: Final = "checklist_hidden"
EVENTS_LOOKED_AT: Final = 500  # at either end of the log, for a test

_ORDER: Final = (
    Health.BROKEN,
    Health.FAILING,
    Health.RETRYING,
    Health.HEALTHY,
    Health.NEVER_USED,
    Health.OFF,
)
_WORDS: Final = {
    Health.BROKEN: "broken",
    Health.FAILING: "failing",
    Health.RETRYING: "retrying",
    Health.HEALTHY: "healthy",
    Health.NEVER_USED: "never used",
    Health.OFF: "off",
}


@dataclass(frozen=True, kw_only=True)
class Stats:
    """The key figures."""

    jobs: int
    """Jobs that are on."""
    healthy: int
    failing: int
    without_result: int
    succeeded: int
    """Runs within 24 hours; cancelled ones count as finished only."""
    failed: int
    finished: int
    stored_day: int
    """Bytes of the backups made within 24 hours."""
    stored_week: int
    kept: int
    """Bytes of all backups that are listed."""
    delivered: int
    """Messages within 24 hours, at most MOST; tests are left out."""
    retrying: int
    undelivered: int


@dataclass(frozen=True, kw_only=True)
class ChannelHealth:
    """A channel and how it is doing."""

    id: int
    name: str
    type: str
    status: Status


@dataclass(frozen=True, kw_only=True)
class NotificationHealth:
    """The channels that need a look first, and all of them in words."""

    shown: tuple[ChannelHealth, ...]
    total: int
    words: str
    """For example "6 channels healthy, 1 failing"."""
    undelivered: int
    """Messages that were given up within 24 hours, at most MOST."""


@dataclass(frozen=True, kw_only=True)
class Todo:
    """One step of the checklist."""

    key: str
    done: bool


@dataclass(frozen=True, kw_only=True)
class Checklist:
    """The first steps of a new installation."""

    todos: tuple[Todo, ...]

    @property
    def done(self) -> int:
        """How many steps are done."""
        return sum(todo.done for todo in self.todos)

    @property
    def current(self) -> str:
        """The key of the first step that is not done."""
        return next((todo.key for todo in self.todos if not todo.done), "")


def stats() -> Stats:
    """Return the key figures."""
    now = clock.now()
    with reading() as session:
        states = [state for state in dashboard_runs.job_states(session) if state.enabled]
        today, week = _runs(session, now)
        kept = session.scalar(select(func.coalesce(func.sum(ArtifactRow.size), 0))) or 0
        delivered = _count(session, _ended_since(now - DAY, State.SENT))
        undelivered = _undelivered(session, now)
        retrying = _count(
            session,
            select(literal(1))
            .select_from(Delivery)
            .where(text(OPEN_STATES), text("state = 'retrying'")),
        )
    return Stats(
        jobs=len(states),
        healthy=sum(state.run_id is not None and not state.failing for state in states),
        failing=sum(state.failing for state in states),
        without_result=sum(state.run_id is None for state in states),
        succeeded=sum(today[outcome].runs for outcome in GOOD),
        failed=sum(today[outcome].runs for outcome in BAD),
        finished=sum(ended.runs for ended in today.values()),
        stored_day=sum(ended.size for ended in today.values()),
        stored_week=sum(ended.size for ended in (*today.values(), *week.values())),
        kept=int(kept),
        delivered=delivered,
        retrying=retrying,
        undelivered=undelivered,
    )


def notification_health() -> NotificationHealth:
    """Return how the channels are doing, those that need a look first."""
    with reading() as session:
        rows = session.scalars(select(ChannelRow).order_by(func.lower(ChannelRow.name))).all()
        waits = channel_status.waiting(session)
        undelivered = _undelivered(session, clock.now())
    found = [
        ChannelHealth(
            id=row.id,
            name=row.name,
            type=row.type,
            status=channel_status.status_of(row, waits.get(row.id)),
        )
        for row in rows
    ]
    found.sort(key=lambda channel: _ORDER.index(channel.status.health))
    return NotificationHealth(
        shown=tuple(found[:SHOWN_CHANNELS]),
        total=len(found),
        words=_in_words(Counter(channel.status.health for channel in found)),
        undelivered=undelivered,
    )


def checklist() -> Checklist | None:
    """Return the first steps; None when they are done or somebody hid them."""
    with reading() as session:
        if session.get(Setting, HIDDEN) is not None:
            return None
        done = session.execute(
            select(
                exists().select_from(ChannelRow).label("channel"),
                exists().select_from(GlobalChannel).label("global"),
                exists(_tests()).label("test"),
                exists().select_from(SourceRow).label("source"),
                exists().select_from(DestinationRow).label("destination"),
                exists().select_from(Job).label("job"),
            )
        ).one()
    todos = tuple(Todo(key=key, done=bool(value)) for key, value in done._mapping.items())
    return None if all(todo.done for todo in todos) else Checklist(todos=todos)


def hide_checklist() -> None:
    """Show the first steps no more, to anybody."""
    with transaction() as session:
        session.merge(Setting(key=HIDDEN, value="1"))


class _Ended(NamedTuple):
    runs: int = 0
    size: int = 0


def _runs(session: Session, now: datetime) -> tuple[dict[str, _Ended], dict[str, _Ended]]:
    """Return what ended, by outcome: within a day, and in the six days before.

    Grouped by the period first: grouped by outcome alone, SQLite walks the index of outcomes.
    """
    recent = case((Run.started_at >= now - DAY, 1), else_=0)
    rows = session.execute(
        select(recent, Run.outcome, func.count(), func.sum(Run.size))
        .where(Run.started_at >= now - WEEK)
        .group_by(recent, Run.outcome)
    )
    found = {
        (bool(day), outcome): _Ended(count, int(size or 0)) for day, outcome, count, size in rows
    }
    ended: list[str] = [outcome for outcome in Outcome if outcome != Outcome.RUNNING]
    today, before = (
        {outcome: found.get((day, outcome), _Ended()) for outcome in ended} for day in (True, False)
    )
    return today, before


def _undelivered(session: Session, now: datetime) -> int:
    return _count(session, _ended_since(now - DAY, State.FAILED, State.EXPIRED))


def _ended_since(moment: datetime, *states: State) -> Select[Any]:
    """Choose the deliveries made since then, without tests.

    Ids begin with the time and are indexed; the log is cut to MOST before events are looked up,
    which keeps SQLite from beginning with all events.
    """
    some = (
        select(Delivery.event_id)
        .where(Delivery.state.in_(states), Delivery.id >= _first_id(moment))
        .limit(MOST)
        .subquery()
    )
    tested = select(EventRow.is_test).where(EventRow.id == some.c.event_id).scalar_subquery()
    return select(literal(1)).select_from(some).where(~tested)


def _first_id(moment: datetime) -> str:
    millis = int(moment.timestamp() * 1000)
    return f"{millis >> 16:08x}-{millis & 0xFFFF:04x}"


def _count(session: Session, rows: Select[Any]) -> int:
    return session.scalar(select(func.count()).select_from(rows.limit(MOST).subquery())) or 0


def _tests() -> Select[Any]:
    """Choose tests, near the beginning or the end of the log."""
    order = (EventRow.id.asc(), EventRow.id.desc())
    ends = [
        select(select(EventRow.is_test).order_by(by).limit(EVENTS_LOOKED_AT).subquery())
        for by in order
    ]
    either = union_all(*ends).subquery()
    return select(literal(1)).select_from(either).where(either.c.is_test)


def _in_words(counts: Counter[Health]) -> str:
    parts = [(counts[health], _WORDS[health]) for health in _ORDER[3:4] + _ORDER[:3] + _ORDER[4:]]
    said = [(count, word) for count, word in parts if count]
    if not said:
        return "No channels"
    (first, word), *rest = said
    return ", ".join([f"{plural(first, 'channel')} {word}", *(f"{n} {w}" for n, w in rest)])
