"""Runs and jobs as the dashboard shows them. Every question is bounded by an index: the last 14
days, the newest rows, or one look per job; nothing reads a whole table.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import case, func, select, union_all
from sqlalchemy.orm import Session, aliased

from webapp.core import clock
from webapp.core.errors import InvalidError
from webapp.models.job import Job, SourceRow
from webapp.models.run import Outcome, Run
from webapp.services import schedules
from webapp.services.artifacts import type_label
from webapp.services.transaction import reading

DAYS: Final = 14
TICKS: Final = 14
SHOWN_JOBS: Final = 6
SHOWN_RUNS: Final = 6
SHOWN_NEXT: Final = 5
GOOD: Final = frozenset({Outcome.SUCCESS})
BAD: Final = frozenset({Outcome.FAILURE, Outcome.PARTIAL, Outcome.INTERRUPTED, Outcome.MISSED})
_UNSAID: Final = (Outcome.RUNNING, Outcome.CANCELLED)  # they say nothing about a job's health


@dataclass(frozen=True, kw_only=True)
class JobState:
    """A job and its last result that says something about it."""

    id: int
    name: str
    enabled: bool
    source_type: str
    run_id: int | None
    """None: it has no result yet."""
    outcome: str
    at: datetime | None
    error: str
    size: int | None
    running: bool

    @property
    def failing(self) -> bool:
        """Say whether the last result was bad."""
        return self.outcome in BAD

    @property
    def health(self) -> str:
        """The state of its chip."""
        if self.running:
            return "running"
        if not self.enabled:
            return "off"
        if self.run_id is None:
            return "never_used"
        return "failing" if self.failing else "healthy"

    @property
    def database_type(self) -> str:
        """The type of its database in words."""
        return type_label(self.source_type)


@dataclass(frozen=True, kw_only=True)
class JobHealth:
    """A job with its last results, oldest first: True is a success."""

    state: JobState
    ticks: tuple[bool, ...]


@dataclass(frozen=True, kw_only=True)
class Jobs:
    """The jobs that need a look first, and how many there are."""

    shown: tuple[JobHealth, ...]
    total: int


@dataclass(frozen=True, kw_only=True)
class Day:
    """What happened on one day of the reader."""

    label: str
    long_label: str
    succeeded: int
    failed: int


@dataclass(frozen=True, kw_only=True)
class Chart:
    """The last 14 days."""

    days: tuple[Day, ...]
    caption: str

    @property
    def succeeded(self) -> int:
        """Return the successes of all days."""
        return sum(day.succeeded for day in self.days)

    @property
    def failed(self) -> int:
        """Return the failures of all days."""
        return sum(day.failed for day in self.days)

    @property
    def bars(self) -> list[tuple[str, str, int, int]]:
        """Return what the chart macro draws."""
        return [(day.label, day.long_label, day.succeeded, day.failed) for day in self.days]


@dataclass(frozen=True, kw_only=True)
class NextRun:
    """When a job is due."""

    job_id: int
    name: str
    database_type: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class LastRun:
    """A run of the newest ones."""

    id: int
    name: str
    outcome: str
    waiting: bool
    at: datetime
    took: timedelta
    step: str
    percent: int | None


@dataclass(frozen=True, kw_only=True)
class Problem:
    """The job that failed last, and how many more are failing."""

    job: JobState
    others: int
    last_good: datetime | None


def job_states(session: Session) -> list[JobState]:
    """Return every job with its last result: failing ones first, then the latest."""
    said = aliased(Run)
    last = (
        select(said.id)
        .where(said.job_id == Job.id, said.outcome.not_in(_UNSAID))
        .order_by(said.id.desc())
        .limit(1)
        .correlate(Job)
        .scalar_subquery()
    )
    rows = session.execute(
        select(
            Job.id,
            Job.name,
            Job.enabled,
            SourceRow.type,
            Run.id.label("run_id"),
            Run.outcome,
            Run.started_at,
            Run.finished_at,
            Run.error,
            Run.size,
        )
        .join(SourceRow, SourceRow.id == Job.source_id)
        .outerjoin(Run, Run.id == last)
    ).all()
    running = set(session.scalars(select(Run.job_id).where(Run.outcome == Outcome.RUNNING)))
    return sorted((_state(row, row.id in running) for row in rows), key=_order)


def _state(row: Any, running: bool) -> JobState:
    return JobState(
        id=row.id,
        name=row.name,
        enabled=row.enabled,
        source_type=row.type,
        run_id=row.run_id,
        outcome=row.outcome or "",
        at=row.finished_at or row.started_at,
        error=row.error or "",
        size=row.size,
        running=running,
    )


def _order(state: JobState) -> tuple[bool, bool, float, str]:
    at = state.at.timestamp() if state.at else 0.0
    return not (state.failing and state.enabled), not state.running, -at, state.name


def jobs() -> Jobs:
    """Return the health of the jobs that need a look first."""
    with reading() as session:
        states = job_states(session)
        shown = states[:SHOWN_JOBS]
        ticks = _ticks(session, [state.id for state in shown])
    return Jobs(
        shown=tuple(JobHealth(state=state, ticks=ticks.get(state.id, ())) for state in shown),
        total=len(states),
    )


def _ticks(session: Session, job_ids: Iterable[int]) -> dict[int, tuple[bool, ...]]:
    """Return the last results of each job; one statement with one bounded part per job."""
    parts = [
        select(
            select(Run.id, Run.job_id, Run.outcome)
            .where(Run.job_id == job_id, Run.outcome.not_in(_UNSAID))
            .order_by(Run.id.desc())
            .limit(TICKS)
            .subquery()
        )
        for job_id in job_ids
    ]
    if not parts:
        return {}
    found: dict[int, list[tuple[int, bool]]] = {}
    for run_id, job_id, outcome in session.execute(union_all(*parts)):
        found.setdefault(job_id, []).append((run_id, outcome in GOOD))
    return {job_id: tuple(good for _, good in sorted(rows)) for job_id, rows in found.items()}


def problem() -> Problem | None:
    """Return the job that failed last, or None when none is failing."""
    with reading() as session:
        failing = [state for state in job_states(session) if state.failing and state.enabled]
        if not failing:
            return None
        good = session.scalar(
            select(Run.finished_at)
            .where(Run.job_id == failing[0].id, Run.outcome == Outcome.SUCCESS)
            .order_by(Run.id.desc())
            .limit(1)
        )
    return Problem(job=failing[0], others=len(failing) - 1, last_good=good)


def chart(zone: ZoneInfo) -> Chart:
    """Return how many runs succeeded and failed on each of the reader's last 14 days."""
    today = clock.now().astimezone(zone).date()
    dates = [today - timedelta(days=back) for back in reversed(range(DAYS))]
    starts = [datetime.combine(date, time(), zone) for date in dates]
    index = case(
        *[(Run.started_at >= start, number) for number, start in reversed([*enumerate(starts)])]
    )
    query = (
        select(index, Run.outcome, func.count())
        .where(Run.started_at >= starts[0])
        .group_by(index, Run.outcome)
    )
    with reading() as session:
        counts = {(day, outcome): count for day, outcome, count in session.execute(query)}
    days = tuple(
        Day(
            label=str(date.day),
            long_label=f"{date.day} {date:%b}",
            succeeded=sum(counts.get((number, outcome), 0) for outcome in GOOD),
            failed=sum(counts.get((number, outcome), 0) for outcome in BAD),
        )
        for number, date in enumerate(dates)
    )
    first, last = days[0].long_label, days[-1].long_label
    return Chart(days=days, caption=f"Runs per day, {first} to {last}")


def next_runs() -> tuple[NextRun, ...]:
    """Return what is due next by the schedules of the jobs that are on."""
    query = (
        select(Job.id, Job.name, Job.schedule, Job.timezone, SourceRow.type)
        .join(SourceRow, SourceRow.id == Job.source_id)
        .where(Job.enabled, Job.schedule.is_not(None))
    )
    with reading() as session:
        rows = session.execute(query).all()
    due = [(moment, row) for row in rows for moment in _next(row.schedule, row.timezone)]
    return tuple(
        NextRun(job_id=row.id, name=row.name, database_type=type_label(row.type), at=moment)
        for moment, row in sorted(due, key=lambda pair: (pair[0], pair[1].name))[:SHOWN_NEXT]
    )


def _next(schedule: str, timezone: str) -> Sequence[datetime]:
    try:
        return schedules.next_times(schedule, timezone, 1)
    except InvalidError:  # stored by another version; the job's page says so
        return ()


def last_runs() -> tuple[LastRun, ...]:
    """Return the newest runs."""
    query = (
        select(
            Run.id,
            Run.job_name,
            Run.outcome,
            Run.owner,
            Run.started_at,
            Run.finished_at,
            Run.step,
            Run.bytes_done,
            Run.bytes_total,
        )
        .order_by(Run.id.desc())
        .limit(SHOWN_RUNS)
    )
    with reading() as session:
        rows = session.execute(query).all()
    return tuple(_last_run(row) for row in rows)


def _last_run(row: Any) -> LastRun:
    known = row.outcome == Outcome.RUNNING and row.bytes_total
    return LastRun(
        id=row.id,
        name=row.job_name,
        outcome=row.outcome,
        waiting=row.outcome == Outcome.RUNNING and not row.owner,
        at=row.finished_at or row.started_at,
        took=(row.finished_at or clock.now()) - row.started_at,
        step=row.step,
        percent=min(100 * row.bytes_done // row.bytes_total, 100) if known else None,
    )
