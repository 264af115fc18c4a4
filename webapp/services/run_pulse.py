"""The heartbeat of a run: stores its progress, keeps its lease, hears that it should stop."""

import logging
import threading
import time
from datetime import timedelta
from types import TracebackType
from typing import Final

from flask import Flask, current_app
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from webapp.models.run import Outcome, Run
from webapp.services import leases
from webapp.services.run_end import lease_name
from webapp.services.run_log import Recorder
from webapp.services.transaction import reading, transaction

logger = logging.getLogger(__name__)

BEAT: Final = 0.5  # seconds; progress is written at most this often
RENEW_EVERY: Final = 15.0  # seconds
LEASE: Final = timedelta(seconds=60)


class Pulse:
    """Beats in a thread of its own while its block runs, so a stuck backup can be stopped too."""

    def __init__(self, run: Run, recorder: Recorder, time_limit: timedelta | None = None) -> None:
        """`time_limit`: how long the work in the block may take."""
        self._run, self._recorder = run, recorder
        self._time_limit, self._began = time_limit, time.monotonic()
        self._ended = threading.Event()
        self._renewed = time.monotonic()
        app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
        self._app = app
        self._thread = threading.Thread(target=self._beat, name=f"run-{run.id}", daemon=True)

    def __enter__(self) -> "Pulse":
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

    def _beat(self) -> None:
        with self._app.app_context():
            while not self._ended.wait(BEAT):
                try:
                    self._look_at_the_time()
                    self._hear()
                    self._tell()
                except SQLAlchemyError:  # the next beat tries again, the end of the run insists
                    logger.exception("progress could not be stored", extra={"run": self._run.id})

    def _look_at_the_time(self) -> None:
        limit = self._time_limit
        if limit is not None and time.monotonic() - self._began > limit.total_seconds():
            self._recorder.time_out(limit)

    def _hear(self) -> None:
        """Stop when somebody asked for it, or when the run was given up as dead."""
        columns = select(Run.stopped_by, Run.outcome).where(Run.id == self._run.id)
        with reading() as session:
            found = session.execute(columns).one_or_none()
        if found is None or found.stopped_by is not None or found.outcome != Outcome.RUNNING:
            self._recorder.stop()

    def _tell(self) -> None:
        renew = time.monotonic() - self._renewed >= RENEW_EVERY
        if not renew and not self._recorder.dirty:
            return
        with transaction() as session:
            self._recorder.store(session)
            if renew and self._run.job_id is not None:
                leases.renew(session, lease_name(self._run.job_id), self._run.owner, LEASE)
        if renew:
            self._renewed = time.monotonic()
