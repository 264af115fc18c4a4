"""The heartbeat of a restore: stores its progress, keeps its lease, hears that it should stop."""

import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from types import TracebackType
from typing import Final

from flask import Flask, current_app
from sqlalchemy import update
from sqlalchemy.exc import SQLAlchemyError

from webapp.backup.errors import CancelledError
from webapp.models.run import Outcome, Restore
from webapp.services import leases, processes
from webapp.services.transaction import transaction

logger = logging.getLogger(__name__)

BEAT: Final = 0.5  # seconds; the page asks every second
RENEW_EVERY: Final = 15.0  # seconds
LEASE: Final = timedelta(seconds=60)


def lease_name(restore_id: int) -> str:
    """Return the name of the lease that whoever carries the restore out holds."""
    return f"restore:{restore_id}"


class RestoreWatch:
    """The Progress of one restore. While its block runs it beats in a thread of its own, so that
    progress is stored and a stop is heard also when the restore does not say anything for long.
    """

    def __init__(self, restore_id: int, shutting_down: Callable[[], bool]) -> None:
        self._id = restore_id
        self._shutting_down = shutting_down
        self._app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
        self._stop = threading.Event()
        self._ended = threading.Event()
        self._renewed = time.monotonic()
        self._thread = threading.Thread(
            target=self._beat, name=f"restore-{restore_id}", daemon=True
        )
        self._shown: tuple[str, int, int | None] = ("", 0, None)
        self.name = ""
        """The present step."""

    def __enter__(self) -> "RestoreWatch":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def step(self, name: str) -> None:
        """Show the new step at once."""
        self.name = name
        self._shown = (name, 0, None)
        self._sync()

    def advance(self, done: int, total: int | None) -> None:
        """Show at the next beat how far it is."""
        self._shown = (self.name, done, total)

    def line(self, level: str, text: str) -> None:
        """Log what deserves attention."""
        if level != "info":
            logger.warning("restore says", extra={"restore": self._id, "text": text})

    def check(self) -> None:
        """Stop when somebody asked for it, or when the server stops.

        Raises:
            CancelledError: one of the two.
        """
        if self._shutting_down():
            raise CancelledError("The server is stopping.")
        if self._stop.is_set():
            raise CancelledError("Somebody stopped the restore.")

    def _beat(self) -> None:
        with self._app.app_context():
            while not self._ended.wait(BEAT):
                self._sync()

    def _sync(self) -> None:
        name, done, total = self._shown
        try:
            with transaction() as session:
                running_and_to_stop = session.execute(
                    update(Restore)
                    .where(Restore.id == self._id, Restore.outcome == Outcome.RUNNING)
                    .values(step=name or Restore.step, bytes_done=done, bytes_total=total)
                    .returning(Restore.stop_requested)
                    .execution_options(synchronize_session=False)
                ).scalar_one_or_none()
                if time.monotonic() - self._renewed >= RENEW_EVERY:
                    leases.renew(session, lease_name(self._id), processes.owner(), LEASE)
                    self._renewed = time.monotonic()
        except SQLAlchemyError:  # only the page is behind; the next beat tries again
            logger.exception("progress of a restore could not be stored")
            return
        if running_and_to_stop is not False:  # asked to stop, or given up as dead
            self._stop.set()
