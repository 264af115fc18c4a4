"""What a run tells while it works: steps, bytes, lines. Kept in memory, stored twice a second."""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from webapp.backup.errors import CancelledError
from webapp.core import clock, text
from webapp.core.scrub import conceal
from webapp.models.run import Run, RunLine

WAITING: Final = "waiting"
RUNNING: Final = "running"
DONE: Final = "done"
FAILED: Final = "failed"
LONGEST_LINE: Final = 4000  # characters; a tool's whole output does not belong into the log
LONGEST_STEP: Final = 40  # characters of the column
STEPS: Final = ("Connect", "Dump", "Store", "Verify")
PRUNE: Final = "Prune"


@dataclass(frozen=True)
class Line:
    """One line of a log."""

    id: int
    at: datetime
    level: str
    text: str


class Recorder:
    """Implements `webapp.backup.progress.Progress` for one run; thread-safe."""

    def __init__(self, run_id: int, steps: Sequence[str]) -> None:
        self.run_id = run_id
        self.interrupted = False
        """True when the process ends and not a person asked for the stop."""
        self.time_limit_passed: timedelta | None = None
        """The limit, when the run was stopped because it took longer."""
        self._stop = threading.Event()
        self._lock = threading.Lock()  # guards everything below
        self._secrets: tuple[str, ...] = ()
        self._steps: list[dict[str, Any]] = [{"name": name, "state": WAITING} for name in steps]
        self._lines: list[dict[str, Any]] = []
        self._done = 0
        self._total: int | None = None
        self._dirty = True

    def hide(self, values: Iterable[str]) -> None:
        """Mask these secrets in every later text."""
        with self._lock:
            self._secrets += tuple(values)

    def masked(self, words: str) -> str:
        """Return the text, cleaned and without secrets."""
        return conceal(text.clean(words), self._secrets)

    # what the engine calls ----------------------------------------------------------------

    def step(self, name: str) -> None:
        """Begin a step; the one before it is done."""
        now = clock.now()
        with self._lock:
            self._end_step(DONE, now)
            found = next((each for each in self._steps if each["name"] == name), None)
            if found is None:
                found = {"name": name}
                self._steps.append(found)
            found.update(state=RUNNING, started_at=now.isoformat())
            self._done, self._total, self._dirty = 0, None, True

    def detail(self, name: str) -> None:
        """Begin a part of the step that runs."""
        with self._lock:
            for each in self._steps:
                if each["state"] == RUNNING:
                    each["detail"] = name
            self._done, self._total, self._dirty = 0, None, True

    def advance(self, done: int, total: int | None) -> None:
        """Note how far the step is."""
        with self._lock:
            self._done, self._total, self._dirty = done, total, True

    def line(self, level: str, text: str) -> None:
        """Add a line to the log."""
        words = self.masked(text)[:LONGEST_LINE]
        with self._lock:
            self._lines.append(
                {"run_id": self.run_id, "at": clock.now(), "level": level, "text": words}
            )
            self._dirty = True

    def check(self) -> None:
        """Raise CancelledError when the run should stop."""
        if self._stop.is_set():
            raise CancelledError("The run was stopped.")

    # what its owner calls -----------------------------------------------------------------

    def expect(self, databases: Iterable[str], steps: Iterable[str] = ()) -> None:
        """Go through a step for each database, whose `detail` says where it is; then others."""
        with self._lock:
            self._steps = [{"name": name, "state": WAITING, "detail": ""} for name in databases]
            self._steps += [{"name": name, "state": WAITING} for name in steps]
            self._dirty = True

    def fail_step(self) -> None:
        """End the step that runs, and let the next one begin nevertheless."""
        with self._lock:
            self._end_step(FAILED, clock.now())
            self._dirty = True

    def stop(self, *, interrupted: bool = False) -> None:
        """Make the next `check` raise."""
        self.interrupted = self.interrupted or (interrupted and not self._stop.is_set())
        self._stop.set()

    def time_out(self, limit: timedelta) -> None:
        """Make the next `check` raise, because the run took longer than allowed."""
        if not self._stop.is_set():
            self.time_limit_passed = limit
        self._stop.set()

    @property
    def is_stopping(self) -> bool:
        """Say whether the next `check` raises."""
        return self._stop.is_set()

    def waits_for_stop(self, seconds: float) -> bool:
        """Wait, and return whether the run should stop."""
        return self._stop.wait(seconds)

    @property
    def current_step(self) -> str:
        """Return the name of the step that runs or failed, "Set up" before the first."""
        with self._lock:
            for state in (RUNNING, FAILED):
                for each in self._steps:
                    if each["state"] == state:
                        return _name(each)
            return "Set up"

    def close(self, *, failed: bool) -> None:
        """End the step that runs."""
        with self._lock:
            self._end_step(FAILED if failed else DONE, clock.now())
            self._dirty = True

    def store(self, session: Session) -> None:
        """Write what is new; call it with the lock of nobody held."""
        with self._lock:
            lines, self._lines = self._lines, []
            values = {
                "step": next((_name(each) for each in self._steps if each["state"] == RUNNING), ""),
                "steps": [dict(each) for each in self._steps],
                "bytes_done": self._done,
                "bytes_total": self._total,
            }
            self._dirty = False
        try:
            run = session.get(Run, self.run_id)
            if run is None:
                return
            for name, value in values.items():
                setattr(run, name, value)
            if lines:
                session.execute(insert(RunLine), lines)
            session.flush()
        except BaseException:
            with self._lock:
                self._lines[:0] = lines
                self._dirty = True
            raise

    @property
    def dirty(self) -> bool:
        """Say whether there is something to store."""
        with self._lock:
            return self._dirty

    def _end_step(self, state: str, now: datetime) -> None:
        for each in self._steps:
            if each["state"] == RUNNING:
                began = datetime.fromisoformat(each["started_at"])
                each.update(state=state, seconds=(now - began).total_seconds())


def _name(step: dict[str, Any]) -> str:
    """Return what the run is doing; of a database what is done with it."""
    return str(step.get("detail") or step["name"])[:LONGEST_STEP]


def lines(session: Session, run_id: int, after: int = 0, limit: int = 2000) -> list[Line]:
    """Return the lines after the one with this id, oldest first."""
    found = session.execute(
        select(RunLine.id, RunLine.at, RunLine.level, RunLine.text)
        .where(RunLine.run_id == run_id, RunLine.id > after)
        .order_by(RunLine.id)
        .limit(limit)
    )
    return [Line(*row) for row in found]
