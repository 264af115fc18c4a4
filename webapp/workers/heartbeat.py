"""A thread that calls the heartbeat address each minute while all is well."""

import logging
import threading
import time
from typing import Final

from flask import Flask

from webapp.services import heartbeat

logger = logging.getLogger(__name__)

EVERY: Final = 60.0  # seconds


class Heartbeat:
    """Beats until it is stopped."""

    def __init__(self, app: Flask, stopping: threading.Event | None = None) -> None:
        """Make it; `stopping` is what it waits on between two calls."""
        self._app = app
        self._stopping = stopping or threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin, with a call at once."""
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        """Call no more; return whether the last call ended in time."""
        self._stopping.set()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        with self._app.app_context():
            while not self._stopping.is_set():
                began = time.monotonic()
                try:
                    beat = heartbeat.beat()
                    if beat is not None and not beat.ok:
                        logger.warning("no heartbeat", extra={"why": beat.words})
                except Exception:
                    logger.exception("heartbeat stumbled")
                # a minute from call to call, also when the address is slow to answer
                self._stopping.wait(max(EVERY - (time.monotonic() - began), 0.0))


def start(app: Flask) -> Heartbeat:
    """Begin to beat."""
    made = Heartbeat(app)
    made.start()
    return made
