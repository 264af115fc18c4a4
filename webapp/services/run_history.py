"""Runs as pages show them: the history, and one run while it works and afterwards."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from webapp.core import clock, text
from webapp.core.errors import NotFoundError
from webapp.models.job import Job
from webapp.models.run import Outcome, Run
from webapp.services import audit, job_notifications, run_log
from webapp.services.job_notifications import Routes
from webapp.services.run_log import DONE, FAILED, RUNNING, Line
from webapp.services.transaction import reading

PAGE_SIZE: Final = 50
USUAL_OF: Final = 10  # successful runs that "usually" looks at
FIRST_LINES: Final = 2000
SHARES: Final = {"Connect": 2, "Dump": 60, "Store": 3, "Verify": 32, "Prune": 3}
"""How much of the bar each step is worth."""
WHOLE: Final = sum(SHARES[name] for name in run_log.STEPS)


@dataclass(frozen=True, kw_only=True)
class Filters:
    """What the reader wants to see."""

    job_id: int | None = None
    outcome: Outcome | None = None
    before: int = 0
    after: int = 0

    @property
    def narrow(self) -> bool:
        """Say whether anything is filtered out."""
        return self.job_id is not None or self.outcome is not None


@dataclass(frozen=True, kw_only=True)
class History:
    """One page of runs, newest first."""

    runs: tuple[Run, ...]
    jobs: tuple[tuple[int, str], ...]
    filters: Filters
    newer: int | None
    """Id to list after; None: this is the newest page."""
    older: int | None


@dataclass(frozen=True, kw_only=True)
class RunView:
    """One run with everything its page says."""

    run: Run
    lines: tuple[Line, ...]
    now: datetime
    routes: Routes | None
    """None: the job was deleted."""
    usual: timedelta | None
    last_size: int | None

    @property
    def going(self) -> bool:
        """Say whether it has not ended."""
        return self.run.outcome == Outcome.RUNNING

    @property
    def waiting(self) -> bool:
        """Say whether it waits for its turn."""
        return self.going and not self.run.owner

    @property
    def took(self) -> timedelta:
        """Return how long it took, or has been running."""
        return (self.run.finished_at or self.now) - self.run.started_at

    @property
    def last_line(self) -> int:
        """Return the id of the last line shown; the next answer appends what comes after."""
        return self.lines[-1].id if self.lines else 0

    @property
    def current(self) -> dict[str, Any] | None:
        """Return the step that runs."""
        return next((step for step in self.run.steps if step["state"] == RUNNING), None)

    @property
    def number(self) -> int:
        """Return the number of the step that runs, from 1."""
        current = self.current
        return 0 if current is None else self.run.steps.index(current) + 1

    @property
    def step_took(self) -> timedelta:
        """Return how long the step has been running."""
        current = self.current
        if current is None:
            return timedelta(0)
        return max(self.now - datetime.fromisoformat(current["started_at"]), timedelta(0))

    @property
    def percent(self) -> int | None:
        """Return how much of the whole run is done, or None when nobody knows."""
        done = sum(_share(each) for each in self.run.steps if each["state"] in {DONE, FAILED})
        whole = sum(map(_share, self.run.steps)) or 1
        current = self.current
        if current is not None:
            total = self.run.bytes_total
            if total is None and self.run.bytes_done:
                return None
            part = min(self.run.bytes_done / total, 1.0) if total else 0.0
            done += int(_before(current) + part * _share_of(current))
        return min(100 * done // whole, 99)

    @property
    def speed(self) -> str:
        """Return "38.2 MB/s", or "" while it cannot be told."""
        seconds = self.step_took.total_seconds()
        if seconds < 1 or not self.run.bytes_done:
            return ""
        return f"{text.size(int(self.run.bytes_done / seconds))}/s"

    @property
    def left(self) -> str:
        """Return "about 6 s left in this step", or "" while it cannot be told."""
        done, total = self.run.bytes_done, self.run.bytes_total
        seconds = self.step_took.total_seconds()
        if not total or not done or seconds < 1:
            return ""
        rest = timedelta(seconds=round(seconds * max(total - done, 0) / done))
        return f"about {text.duration(rest)} left in this step" if rest else ""

    @property
    def failed_step(self) -> str:
        """Return the name of the step that failed."""
        failed = next((each for each in self.run.steps if each["state"] == FAILED), None)
        if failed is None:
            return self.run.step
        return f"{failed['detail']} of {failed['name']}" if failed.get("detail") else failed["name"]

    @property
    def kept(self) -> tuple[str, ...]:
        """Return the databases of several that are whole, however the run ended."""
        return tuple(each["name"] for each in self.run.databases if each["stored"])


def _share(step: Mapping[str, Any]) -> int:
    """Return how much of the bar a step is worth: a database of several as much as a whole run."""
    return WHOLE if "detail" in step else SHARES.get(step["name"], 1)


def _share_of(step: Mapping[str, Any]) -> int:
    """Return the share of what is being done within the step."""
    return SHARES.get(step["detail"], 0) if "detail" in step else _share(step)


def _before(step: Mapping[str, Any]) -> int:
    """Return the share of what was done within the step before that."""
    names = list(run_log.STEPS)
    if step.get("detail") not in names:
        return 0
    return sum(SHARES[name] for name in names[: names.index(step["detail"])])


def listing(filters: Filters) -> History:
    """Return a page of the history."""
    chosen = select(Run)
    if filters.job_id is not None:
        chosen = chosen.where(Run.job_id == filters.job_id)
    if filters.outcome is not None:
        chosen = chosen.where(Run.outcome == filters.outcome)
    with reading() as session:
        rows, newer, older = _page(session, chosen, filters)
        jobs = session.execute(select(Job.id, Job.name).order_by(func.lower(Job.name)))
        return History(
            runs=tuple(rows),
            jobs=tuple((row.id, row.name) for row in jobs),
            filters=filters,
            newer=rows[0].id if newer and rows else None,
            older=rows[-1].id if older and rows else None,
        )


def _page(
    session: Session, chosen: Select[Run], filters: Filters
) -> tuple[Sequence[Run], bool, bool]:
    """Return the rows, and whether there are newer and older ones."""
    if filters.after:
        upwards = chosen.where(Run.id > filters.after).order_by(Run.id).limit(PAGE_SIZE + 1)
        found = session.scalars(upwards).all()
        if len(found) > PAGE_SIZE:
            return found[PAGE_SIZE - 1 :: -1], True, True
    elif filters.before:
        chosen = chosen.where(Run.id < filters.before)
    found = session.scalars(chosen.order_by(Run.id.desc()).limit(PAGE_SIZE + 1)).all()
    return found[:PAGE_SIZE], bool(filters.before) and not filters.after, len(found) > PAGE_SIZE


def show(run_id: int, after_line: int = 0) -> RunView:
    """Return one run, with the lines of its log after the given one.

    Raises:
        NotFoundError: there is no such run.
    """
    with reading() as session:
        run = session.get(Run, run_id)
        if run is None:
            raise NotFoundError("This run is not here. It was deleted, or it never existed.")
        before = _earlier(session, run)
        took = sorted(each.finished_at - each.started_at for each in before if each.finished_at)
        return RunView(
            run=run,
            lines=tuple(run_log.lines(session, run_id, after_line, FIRST_LINES)),
            now=clock.now(),
            routes=None if run.job_id is None else job_notifications.load(session, run.job_id),
            usual=took[len(took) // 2] if took else None,
            last_size=before[0].size if before else None,
        )


def log_text(run_id: int) -> str:
    """Return the whole log as text, for a download.

    Raises:
        NotFoundError: there is no such run.
    """
    with reading() as session:
        run = session.get(Run, run_id)
        if run is None:
            raise NotFoundError("This run is not here. It was deleted, or it never existed.")
        name, found = run.job_name, run_log.lines(session, run_id, limit=1_000_000)
    audit.note_alone("run.log_downloaded", name, after={"run": run_id})
    return "".join(
        f"{line.at.isoformat(timespec='milliseconds')} {line.level.upper():7} {line.text}\n"
        for line in found
    )


def _earlier(session: Session, run: Run) -> Sequence[Run]:
    if run.job_id is None:
        return ()
    return session.scalars(
        select(Run)
        .where(Run.job_id == run.job_id, Run.id < run.id, Run.outcome == Outcome.SUCCESS)
        .order_by(Run.id.desc())
        .limit(USUAL_OF)
    ).all()
