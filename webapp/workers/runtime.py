"""Starts and stops everything that works beside the web pages."""

import logging
import time
from dataclasses import dataclass
from typing import Final

from flask import Flask

from webapp.services import claims, metrics, pulse
from webapp.services.installation import installation
from webapp.services.pulse import Pulse
from webapp.workers import heartbeat, housekeeping, leftovers, runner, scheduler
from webapp.workers.dispatcher import Dispatcher
from webapp.workers.heartbeat import Heartbeat
from webapp.workers.housekeeping import Housekeeping
from webapp.workers.leftovers import Leftovers
from webapp.workers.runner import Runner
from webapp.workers.scheduler import Scheduler

logger = logging.getLogger(__name__)

STOP_WITHIN: Final = 32.0  # seconds; a call is cut off after 30


@dataclass(frozen=True)
class Running:
    """The threads of this process."""

    dispatcher: Dispatcher
    runner: Runner
    scheduler: Scheduler
    housekeeping: Housekeeping
    heartbeat: Heartbeat
    leftovers: Leftovers

    def stop(self, timeout: float = STOP_WITHIN) -> bool:
        """Stop everything; return whether all of it ended in time.

        First nothing new is started, then what runs is interrupted and recorded; the dispatcher
        is last, so that it may still send what those two had to say.
        """
        deadline = time.monotonic() + timeout
        ended = [part.stop(max(deadline - time.monotonic(), 0.1)) for part in self._in_order()]
        logger.info("workers stopped", extra={"in_time": all(ended)})
        return all(ended)

    def _in_order(
        self,
    ) -> tuple[Heartbeat | Leftovers | Housekeeping | Scheduler | Runner | Dispatcher, ...]:
        beside = (self.heartbeat, self.leftovers)
        return (*beside, self.scheduler, self.runner, self.housekeeping, self.dispatcher)


def start(app: Flask) -> Running:
    """Take over what a dead process left, then begin to work."""
    with app.app_context():
        freed = claims.release_dead_leases()
        threads = installation().settings.dispatcher_threads
        metrics.begin(app)
    if freed:
        logger.info("deliveries of a stopped process taken over", extra={"count": freed})
    dispatcher = Dispatcher(app, most_threads=threads)
    dispatcher.start()
    schedules = scheduler.start(app)
    pulse.install(app, Pulse(lambda: dispatcher.moved_at, lambda: schedules.moved_at))
    carrying_out = runner.start(app)  # it records the interrupted runs, whose leftovers go then
    return Running(
        dispatcher,
        carrying_out,
        schedules,
        housekeeping.start(app),
        heartbeat.start(app),
        leftovers.start(app),
    )
