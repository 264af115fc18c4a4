"""A thread that removes what killed processes left, beginning when the server starts.

By itself, because a destination that hangs may keep it for minutes.
"""

import logging
import threading
from typing import Final

from flask import Flask

from webapp.services import system_errors
from webapp.services.leftovers import Sweeper

logger = logging.getLogger(__name__)

FIRST_LOOK: Final = 1.0  # seconds after the start; the first pages come first
LOOK_EVERY: Final = 20.0  # seconds
COMPONENT: Final = "Clean-up"


class Leftovers:
    """Looks again and again until it is stopped."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leftovers", daemon=True)

    def start(self) -> None:
        """Begin; what is found is what the runner recorded as interrupted before."""
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        """End; a clean-up that hangs is not waited for, because nothing is lost by its end."""
        self._stopping.set()
        self._thread.join(min(timeout, 1.0))
        return True

    def _run(self) -> None:
        sweeper = Sweeper()
        self._stopping.wait(FIRST_LOOK)
        with self._app.app_context():
            while not self._stopping.is_set():
                try:
                    sweeper.sweep()
                except Exception as error:
                    logger.exception("clean-up stumbled")
                    system_errors.report(COMPONENT, error)
                self._stopping.wait(LOOK_EVERY)


def start(app: Flask) -> Leftovers:
    """Begin to remove what was left."""
    made = Leftovers(app)
    made.start()
    return made
