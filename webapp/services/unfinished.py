"""What runs have begun to write at destinations, noted before it is there.

A note that outlives its run says exactly what a killed process, or a clean-up that failed, has
left: the name of one hidden file, or the number of one upload. Nothing is guessed from names, so
nothing of another process or installation is ever taken for a leftover.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from flask import Flask, current_app
from sqlalchemy import delete
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from webapp.models.run import Unfinished
from webapp.services.transaction import transaction

logger = logging.getLogger(__name__)


class Notes:
    """The Journal of one run at one destination.

    A note that cannot be stored does not fail the backup; what it would have found is then found by
    its age (`Destination.sweep`).
    """

    def __init__(self, run_id: int, destination_id: int) -> None:
        self._run_id, self._destination_id = run_id, destination_id
        self._app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]

    def began(self, ref: str) -> None:
        """Note it."""
        row = Unfinished(run_id=self._run_id, destination_id=self._destination_id, ref=ref)
        try:
            with self._transaction() as session:
                session.add(row)
        except SQLAlchemyError:
            logger.exception("beginning not noted", extra={"run": self._run_id})

    def ended(self, ref: str) -> None:
        """Forget it."""
        try:
            with self._transaction() as session:
                session.execute(
                    delete(Unfinished).where(
                        Unfinished.run_id == self._run_id,
                        Unfinished.destination_id == self._destination_id,
                        Unfinished.ref == ref,
                    )
                )
        except SQLAlchemyError:
            logger.exception("end not noted", extra={"run": self._run_id})

    @contextmanager
    def _transaction(self) -> Iterator[Session]:
        """Destinations are spoken to in threads of their own, which have no context."""
        with self._app.app_context(), transaction() as session:
            yield session
