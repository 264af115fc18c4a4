"""A thread for what nobody waits for: old history, the ballast, and the clock being set."""

import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from flask import Flask

from webapp.core import clock
from webapp.services import clock_jumps, history, room, system_errors

logger = logging.getLogger(__name__)

LOOK_EVERY: Final = 1.0  # seconds; how soon a clock that was set is noticed
ROOM_EVERY: Final = 60.0  # seconds
HISTORY_EVERY: Final = 3600.0  # seconds
PAUSE: Final = 0.2  # seconds between two steps of forgetting, for everybody else
JUMP: Final = timedelta(seconds=30)
COMPONENT: Final = "Housekeeping"


class Housekeeping:
    """Keeps house until it is stopped."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="housekeeping", daemon=True)
        self._due: dict[Callable[[], None], float] = {}
        self._offset = _offset()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        """End; return whether that was in time."""
        self._stopping.set()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        with self._app.app_context():
            self._at_most_every(0.0, _settle_at_start)
            while not self._stopping.is_set():
                self._at_most_every(0.0, self._watch_clock)
                self._at_most_every(ROOM_EVERY, room.settle)
                self._at_most_every(HISTORY_EVERY, self._forget)
                self._stopping.wait(LOOK_EVERY)

    def _at_most_every(self, seconds: float, chore: Callable[[], None]) -> None:
        now = time.monotonic()
        if now < self._due.get(chore, 0.0):
            return
        self._due[chore] = now + seconds
        try:
            chore()
        except Exception as error:
            logger.exception("housekeeping stumbled")
            system_errors.report(COMPONENT, error)

    def _watch_clock(self) -> None:
        jumped, self._offset = _offset() - self._offset, _offset()
        if jumped < -JUMP:
            moved = clock_jumps.settle(-jumped)
            logger.warning("the clock was set back", extra={"seconds": -jumped, "moved": moved})

    def _forget(self) -> None:
        while history.forget_some() and not self._stopping.wait(PAUSE):
            pass


def _offset() -> timedelta:
    """Return what the wall clock is ahead of the monotonic one; it changes when one is set."""
    return timedelta(seconds=clock.now().timestamp() - time.monotonic())


def _settle_at_start() -> None:
    clock_jumps.settle()


def start(app: Flask) -> Housekeeping:
    """Begin to keep house."""
    made = Housekeeping(app)
    made.start()
    return made
