"""Threads that carry out runs and restores, each around its own child processes.

The settings say how many at once; threads are added when that grows, and the last ones end when
it shrinks.
"""

import logging
import threading
import time
from typing import Final

from flask import Flask

from webapp.services import bells, restore_work, run_settings, runs, system_errors

logger = logging.getLogger(__name__)

POLL: Final = 2.0  # seconds; finds runs that other processes added
RECOVER_EVERY: Final = 30.0  # seconds
REST_AFTER_ERROR: Final = 5.0  # seconds; a full disk must not spin the loop
COMPONENT: Final = "Backup runner"


class Runner:
    """Takes runs that wait for their turn, until it is stopped."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._stopping = threading.Event()
        self._at_once = 0
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Record what dead processes left running, then begin."""
        with self._app.app_context():
            self._recover()
            self._resize(run_settings.at_once())

    def stop(self, timeout: float = 30.0) -> bool:
        """Interrupt what runs, record it, and end; return whether all ended in time.

        Runs that still wait for their turn stay so: the next process takes them.
        """
        deadline = time.monotonic() + timeout
        self._stopping.set()
        while any(thread.is_alive() for thread in self._threads):
            runs.interrupt_all()  # again and again: a run may have been taken a moment ago
            bells.run_waiting.ring()
            for thread in self._threads:
                thread.join(0.05)
            if time.monotonic() > deadline:
                return False
        return True

    def _resize(self, at_once: int) -> None:
        """Let so many work; a thread that is one too many ends after its run."""
        if at_once == self._at_once:
            return
        self._at_once = at_once
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        there = {thread.name for thread in self._threads}
        for number in range(at_once):
            if (name := f"runner-{number}") not in there:
                thread = threading.Thread(target=self._loop, args=(number,), name=name, daemon=True)
                self._threads.append(thread)
                thread.start()

    def _loop(self, number: int) -> None:
        with self._app.app_context():
            looked = time.monotonic()
            while not self._stopping.is_set() and number < self._at_once:
                try:
                    if number == 0:
                        self._resize(run_settings.at_once())
                    if number == 0 and time.monotonic() - looked >= RECOVER_EVERY:
                        looked = time.monotonic()
                        runs.recover()
                        restore_work.recover()
                    if self._restore():
                        continue
                    run_id = runs.claim()
                    if run_id is not None:
                        runs.execute(run_id)
                        continue
                except Exception as error:
                    logger.exception("runner stumbled")
                    system_errors.report(COMPONENT, error)
                    self._stopping.wait(REST_AFTER_ERROR)
                bells.run_waiting.wait(POLL)

    def _restore(self) -> bool:
        """Carry out a restore that waits, before runs: somebody needs it; say if there was one."""
        restore_id = restore_work.claim()
        if restore_id is None:
            return False
        restore_work.carry_out(restore_id, shutting_down=self._stopping.is_set)
        return True

    def _recover(self) -> None:
        try:
            runs.recover()
            restore_work.recover()
        except Exception as error:
            logger.exception("interrupted runs could not be recorded")
            system_errors.report(COMPONENT, error)


def start(app: Flask) -> Runner:
    """Begin to carry out runs."""
    runner = Runner(app)
    runner.start()
    return runner
