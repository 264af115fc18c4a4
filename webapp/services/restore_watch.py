"""Keeps the row of a running restore up to date, and hears when somebody wants it to stop."""

import logging
import time
from collections.abc import Callable
from typing import Final

from sqlalchemy import update
from sqlalchemy.exc import SQLAlchemyError

from webapp.backup.errors import CancelledError
from webapp.models.run import Outcome, Restore
from webapp.services.transaction import transaction

logger = logging.getLogger(__name__)

SYNC_EVERY: Final = 0.5  # seconds; the page asks every second


class RestoreWatch:
    """The Progress of one restore."""

    def __init__(self, restore_id: int, shutting_down: Callable[[], bool]) -> None:
        self._id = restore_id
        self._shutting_down = shutting_down
        self._stop = False
        self._done = 0
        self._total: int | None = None
        self._synced_at = 0.0
        self.name = ""
        """The present step."""

    def step(self, name: str) -> None:
        """Show the new step at once."""
        self.name, self._done, self._total = name, 0, None
        self._sync()

    def advance(self, done: int, total: int | None) -> None:
        """Show how far it is, now and then."""
        self._done, self._total = done, total
        self._sync_now_and_then()

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
        self._sync_now_and_then()
        if self._stop:
            raise CancelledError("Somebody stopped the restore.")

    def _sync_now_and_then(self) -> None:
        if time.monotonic() - self._synced_at >= SYNC_EVERY:
            self._sync()

    def _sync(self) -> None:
        self._synced_at = time.monotonic()
        try:
            with transaction() as session:
                self._stop = bool(
                    session.scalar(
                        update(Restore)
                        .where(Restore.id == self._id, Restore.outcome == Outcome.RUNNING)
                        .values(step=self.name, bytes_done=self._done, bytes_total=self._total)
                        .returning(Restore.stop_requested)
                    )
                )
        except SQLAlchemyError:  # only the page is behind; the restore itself goes on
            logger.exception("progress of a restore could not be stored")
