"""Removes at destinations what runs left half-written, as soon as they can be reached.

Only what a run has noted (services/unfinished.py), and only after the run was recorded as ended
and whoever carried it out can write no more.
"""

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from typing import Final

from sqlalchemy import delete, select

from webapp.backup import branches, scratch
from webapp.core import clock
from webapp.core.errors import AppError
from webapp.models.job import DestinationRow
from webapp.models.run import Outcome, Run, RunLine, Unfinished
from webapp.services import processes, runs
from webapp.services.destinations import open_destination
from webapp.services.transaction import reading, transaction

logger = logging.getLogger(__name__)

FIRST_PAUSE: Final = 60.0  # seconds before a destination is tried again; doubled each time
LONGEST_PAUSE: Final = 6 * 3600.0  # seconds
MAY_STILL_WRITE: Final = timedelta(hours=1)
"""So long after a run was given up it is left alone when its process may be alive: one of another
machine that only lost its lease notices that within moments, but nobody can look at it."""


@dataclass(frozen=True)
class _Left:
    id: int
    run_id: int
    destination_id: int
    ref: str


class Sweeper:
    """Removes what is left; remembers which destinations did not do it, and waits longer."""

    def __init__(self) -> None:
        self._not_before: dict[int, float] = {}
        self._pauses: dict[int, float] = {}

    def sweep(self) -> int:
        """Remove what can be removed now; return how many files and uploads that were."""
        scratch.sweep()
        count = 0
        by_place = sorted(_due(), key=lambda each: each.destination_id)
        for destination_id, found in groupby(by_place, lambda each: each.destination_id):
            if time.monotonic() >= self._not_before.get(destination_id, 0.0):
                count += self._at(destination_id, tuple(found))
        return count

    def _at(self, destination_id: int, found: Sequence[_Left]) -> int:
        with reading() as session:
            row = session.get(DestinationRow, destination_id)
        if row is None:
            return 0
        gone: list[_Left] = []
        try:
            destination = open_destination(row)
            for each in found:
                branches.discard(destination, each.ref)
                gone.append(each)
        except AppError as error:
            self._wait(row, error)
        else:
            self._pauses.pop(destination_id, None)
        return _forget(row.name, gone)

    def _wait(self, row: DestinationRow, error: AppError) -> None:
        known = self._pauses.get(row.id)
        pause = FIRST_PAUSE if known is None else min(known * 2, LONGEST_PAUSE)
        self._pauses[row.id], self._not_before[row.id] = pause, time.monotonic() + pause
        log = logger.warning if known is None else logger.debug  # once, not every hour
        log("leftovers stay for now", extra={"destination": row.name, "why": str(error)})


def _due() -> list[_Left]:
    """Return what ended runs have left."""
    ended = (
        select(Unfinished, Run)
        .join(Run, Run.id == Unfinished.run_id)
        .where(Run.outcome != Outcome.RUNNING)
        .order_by(Unfinished.id.desc())
    )
    with reading() as session:
        found = session.execute(ended).all()
    return [
        _Left(left.id, run.id, left.destination_id, left.ref)
        for left, run in found
        if not _may_still_write(run)
    ]


def _may_still_write(run: Run) -> bool:
    if not run.owner or processes.is_dead(run.owner):
        return False
    if run.owner == processes.owner():
        return runs.is_at_work(run.id)
    return run.finished_at is None or clock.now() < run.finished_at + MAY_STILL_WRITE


def _forget(place: str, gone: Iterable[_Left]) -> int:
    """Drop the notes and say it; return how many were there still: another server may be faster."""
    count = 0
    for run_id, found in groupby(sorted(gone, key=lambda each: each.run_id), lambda e: e.run_id):
        ids = [each.id for each in found]
        with transaction() as session:
            dropped = delete(Unfinished).where(Unfinished.id.in_(ids)).returning(Unfinished.id)
            mine = len(session.scalars(dropped).all())
            if mine and session.get(Run, run_id) is not None:
                words = f"{place}: what the run left half-written was removed."
                session.add(RunLine(run_id=run_id, level="warning", text=words))
        if mine:
            logger.warning(
                "what a run left half-written was removed",
                extra={"run": run_id, "destination": place, "count": mine},
            )
        count += mine
    return count
