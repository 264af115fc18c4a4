"""Bells between the use cases of jobs and the threads that carry them out."""

import threading


class Bell:
    """Rung by whoever has news, waited for by one kind of thread."""

    def __init__(self) -> None:
        self._rung = threading.Event()

    def ring(self) -> None:
        """Say that there is something new."""
        self._rung.set()

    def wait(self, seconds: float) -> bool:
        """Wait until somebody rings, at most this long; return whether somebody did."""
        rang = self._rung.wait(seconds)
        self._rung.clear()
        return rang


jobs_changed = Bell()
"""A job was saved, switched or deleted: the scheduler reads the table again."""

run_waiting = Bell()
"""A run waits for its turn: the runner takes it."""
