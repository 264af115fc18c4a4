"""Starts runs when they are due. APScheduler keeps the time; the job table is the truth.

One process schedules at a time: the one that holds the lease. Its triggers mirror the table and
are brought up to date within moments of any change. What no trigger served, because nobody
scheduled, the machine slept or the job ran still, is found by looking: within the grace it is
started late, later it is recorded as missed.
"""

import logging
import threading
import time
from datetime import UTC, datetime
from typing import Final

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from flask import Flask

from webapp.services import (
    backup_proofs,
    bells,
    config_schedule,
    due_jobs,
    schedules,
    system_errors,
)
from webapp.services.due_jobs import Scheduled

logger = logging.getLogger(__name__)

LOOK_EVERY: Final = 3.0  # seconds; also renews the lease
COMPONENT: Final = "Scheduler"


class Scheduler:
    """Keeps the triggers of this process while it holds the lease."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._stopping = threading.Event()
        self._clock = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(1)},
            job_defaults={
                "coalesce": True,
                "max_instances": 1,
                "misfire_grace_time": int(due_jobs.GRACE.total_seconds()),
            },
        )
        self._mirrored: dict[int, Scheduled] = {}
        self._holding = False
        self.moved_at = time.monotonic()
        """When the table was last looked at; health asks for it."""
        self._keeper = threading.Thread(target=self._keep, name="scheduler", daemon=True)

    def start(self) -> None:
        """Begin to look at the table and to start what is due."""
        self._clock.start()
        self._keeper.start()

    def stop(self, timeout: float = 10.0) -> bool:
        """Start nothing any more and give the lease back; return whether it ended in time."""
        self._stopping.set()
        bells.jobs_changed.ring()
        self._keeper.join(timeout)
        self._clock.shutdown(wait=True)
        return not self._keeper.is_alive()

    @property
    def next_times(self) -> dict[int, datetime]:
        """Return when each mirrored job is due next."""
        return {int(each.id): each.next_run_time for each in self._clock.get_jobs()}

    def _keep(self) -> None:
        with self._app.app_context():
            while not self._stopping.is_set():
                try:
                    self._look()
                    self.moved_at = time.monotonic()
                except Exception as error:
                    logger.exception("scheduler stumbled")
                    system_errors.report(COMPONENT, error)
                bells.jobs_changed.wait(LOOK_EVERY)
            self._drop_all()
            if self._holding:
                self._release()

    def _look(self) -> None:
        self._holding = due_jobs.hold()
        if not self._holding:
            self._drop_all()
            return
        self._mirror(due_jobs.scheduled())
        for job_id in due_jobs.overdue():
            self._serve(job_id)
        backup_proofs.begin_due()
        config_schedule.begin_due(self._app)

    def _release(self) -> None:
        try:
            due_jobs.release()
        except Exception as error:
            logger.exception("the scheduler's lease could not be given back")
            system_errors.report(COMPONENT, error)

    def _mirror(self, wanted: dict[int, Scheduled]) -> None:
        for job_id in self._mirrored.keys() - wanted.keys():
            self._drop(job_id)
        for job_id, each in wanted.items():
            if each != self._mirrored.get(job_id):
                self._add(each)
            self._mirrored[job_id] = each

    def _add(self, each: Scheduled) -> None:
        self._clock.add_job(
            self._due,
            schedules.trigger(each.schedule, each.timezone),
            args=(each.job_id,),
            id=str(each.job_id),
            replace_existing=True,
        )

    def _drop(self, job_id: int) -> None:
        self._mirrored.pop(job_id, None)
        if self._clock.get_job(str(job_id)) is not None:
            self._clock.remove_job(str(job_id))

    def _drop_all(self) -> None:
        for job_id in list(self._mirrored):
            self._drop(job_id)

    def _due(self, job_id: int) -> None:
        with self._app.app_context():
            self._serve(job_id)

    def _serve(self, job_id: int) -> None:
        try:
            due_jobs.serve(job_id)
        except Exception as error:
            logger.exception("due job not served", extra={"job": job_id})
            system_errors.report(COMPONENT, error)


def start(app: Flask) -> Scheduler:
    """Begin to schedule."""
    scheduler = Scheduler(app)
    scheduler.start()
    return scheduler
