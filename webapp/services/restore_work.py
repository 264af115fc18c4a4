"""Carries restores out, and records how each of them ended.

A restore that was accepted always ends in a recorded outcome. Success and failure are committed
together with their event, so no result can be stored without the message about it. What a killed
process left is found when the next one starts.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from webapp.backup.destinations.base import Destination
from webapp.backup.errors import BackupError, CancelledError
from webapp.backup.restore import restore
from webapp.backup.sources import BY_TYPE
from webapp.backup.sources.base import Source
from webapp.core import clock
from webapp.core.errors import AppError
from webapp.core.secrets import mask
from webapp.models.job import DestinationRow, SourceRow
from webapp.models.run import ArtifactRow, Outcome, Restore
from webapp.notify.events.restore_complete import RestoreComplete
from webapp.notify.events.restore_failure import RestoreFailure
from webapp.services import outbox, processes, system_errors
from webapp.services.artifacts import type_label
from webapp.services.destinations import open_destination
from webapp.services.restore_watch import RestoreWatch
from webapp.services.sources import open_source
from webapp.services.transaction import reading, transaction

logger = logging.getLogger(__name__)

BEGIN: Final = "Start"
WITHOUT_SERVER: Final = frozenset({"sqlite"})
"""Types that are restored into a file of this machine, so no configured source is needed."""
RECORD_AGAIN_AFTER: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0)  # seconds
NO_ARTIFACT: Final = (
    "The backup is not listed any more: it was deleted before the restore began. "
    "Restore another one."
)
NO_SOURCE: Final = (
    "The source was deleted before the restore began. Add it again, or restore to another one."
)
STOPPED: Final = "The server was stopped during the restore, so it was broken off. Start it again."
KILLED: Final = (
    "The server ended during the restore. If the target exists it is whole, because it gets its "
    "name last; if not, start the restore again."
)


@dataclass(frozen=True, kw_only=True)
class _Result:
    outcome: Outcome
    step: str = ""
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class _Parts:
    destination: Destination
    key: str
    source: Source
    target: str

    @property
    def secrets(self) -> tuple[str, ...]:
        return (*self.destination.secrets, *self.source.secrets)


def carry_out(restore_id: int, *, shutting_down: Callable[[], bool] = lambda: False) -> None:
    """Do what was asked for, and record its outcome; blocks until then.

    `shutting_down` says that the server stops: the restore is then broken off as interrupted.
    One that was stopped while it waited, or that somebody else began, is left alone.
    """
    if not _begin(restore_id):
        return
    watch = RestoreWatch(restore_id, shutting_down)
    result = _attempt(restore_id, watch, shutting_down)
    for pause in (*RECORD_AGAIN_AFTER, None):
        try:
            with transaction() as session:
                record(session, restore_id, result.outcome, step=result.step, error=result.error)
            return
        except SQLAlchemyError as error:  # a full or locked database; the outcome must not be lost
            logger.exception("outcome of a restore not stored yet", extra={"restore": restore_id})
            if pause is None:
                system_errors.report("Restore", error)
                raise
            time.sleep(pause)


def next_waiting(*, besides: Collection[int] = ()) -> int | None:
    """Return the oldest restore that this process accepted and has not begun."""
    with reading() as session:
        return session.scalar(
            select(Restore.id)
            .where(
                Restore.outcome == Outcome.RUNNING,
                Restore.step == "",
                Restore.owner == processes.owner(),
                Restore.id.not_in(besides),
            )
            .order_by(Restore.id)
            .limit(1)
        )


def recover() -> int:
    """Record the restores of processes that died as interrupted; return how many there were."""
    with reading() as session:
        owners = session.execute(
            select(Restore.id, Restore.owner).where(Restore.outcome == Outcome.RUNNING)
        ).all()
    dead = [row.id for row in owners if processes.is_dead(row.owner)]
    for restore_id in dead:
        with transaction() as session:
            record(session, restore_id, Outcome.INTERRUPTED, error=KILLED)
    return len(dead)


def record(
    session: Session,
    restore_id: int,
    outcome: Outcome,
    *,
    step: str = "",
    error: str | None = None,
) -> bool:
    """Record how it ended and publish the event; return False when it had ended before.

    A cancelled restore publishes nothing: the person who stopped it knows.
    """
    ended = session.scalar(
        update(Restore)
        .where(Restore.id == restore_id, Restore.outcome == Outcome.RUNNING)
        .values(outcome=outcome, finished_at=clock.now(), error=error)
        .returning(Restore.id)
        .execution_options(synchronize_session=False)
    )
    if ended is None:
        return False
    row = session.get_one(Restore, restore_id, populate_existing=True)
    row.step = step or row.step
    logger.info("restore ended", extra={"restore": restore_id, "outcome": outcome})
    if outcome == Outcome.SUCCESS:
        outbox.publish(session, RestoreComplete(**_facts(row)))
    elif outcome != Outcome.CANCELLED:
        failure = RestoreFailure(
            **_facts(row), step=row.step or BEGIN, error=error or "It failed without a word."
        )
        outbox.publish(session, failure)
    return True


def _begin(restore_id: int) -> bool:
    with transaction() as session:
        begun = session.scalar(
            update(Restore)
            .where(
                Restore.id == restore_id,
                Restore.outcome == Outcome.RUNNING,
                Restore.step == "",
            )
            .values(step=BEGIN, started_at=clock.now(), owner=processes.owner())
            .returning(Restore.id)
            .execution_options(synchronize_session=False)
        )
    return begun is not None


def _attempt(restore_id: int, watch: RestoreWatch, shutting_down: Callable[[], bool]) -> _Result:
    """Restore; whatever happens becomes the result."""
    secrets: tuple[str, ...] = ()
    try:
        watch.check()
        parts = _open(restore_id)
        secrets = parts.secrets
        restore(
            parts.destination,
            parts.key,
            source=parts.source,
            target=parts.target,
            progress=watch,
        )
    except CancelledError:
        if shutting_down():
            return _Result(outcome=Outcome.INTERRUPTED, step=watch.name, error=STOPPED)
        return _Result(outcome=Outcome.CANCELLED, step=watch.name)
    except BackupError as error:
        return _failed(error.step or watch.name, str(error), secrets)
    except AppError as error:
        return _failed(watch.name, str(error), secrets)
    except Exception as error:
        logger.exception("restore failed by a fault of ours", extra={"restore": restore_id})
        system_errors.report("Restore", error)
        return _failed(watch.name, system_errors.describe(error), secrets)
    return _Result(outcome=Outcome.SUCCESS, step=watch.name)


def _failed(step: str, error: str, secrets: Iterable[str]) -> _Result:
    return _Result(outcome=Outcome.FAILURE, step=step or BEGIN, error=mask(error, secrets))


def _open(restore_id: int) -> _Parts:
    with reading() as session:
        row = session.get_one(Restore, restore_id)
        artifact = row.artifact_id and session.get(ArtifactRow, row.artifact_id)
        if not artifact:
            raise BackupError(NO_ARTIFACT)
        place = session.get_one(DestinationRow, artifact.destination_id)
        source_row = session.get(SourceRow, row.source_id) if row.source_id else None
    return _Parts(
        destination=open_destination(place),
        key=row.artifact_key,
        source=open_target_source(row.source_type, source_row, row.target),
        target=row.target,
    )


def open_target_source(source_type: str, row: SourceRow | None, target: str) -> Source:
    """Return the source that receives the database; files need no configured one.

    Raises:
        BackupError: a configured source is needed, or this version lacks the type.
        SecretError: its secrets cannot be opened.
    """
    if source_type not in BY_TYPE:
        raise BackupError(f"This version of DBackup cannot restore {source_type}. Update it first.")
    if source_type in WITHOUT_SERVER:
        return BY_TYPE[source_type]({"path": target})
    if row is None:
        raise BackupError(NO_SOURCE)
    return open_source(row)


def _facts(row: Restore) -> dict[str, Any]:
    took = (row.finished_at or clock.now()) - row.started_at
    return {
        "restore_id": row.id,
        "source": row.source_name or row.artifact_key,
        "database_type": type_label(row.source_type),
        "target": row.target,
        "artifact": row.artifact_key,
        "size": row.size,
        "seconds": max(took / timedelta(seconds=1), 0.0),
    }
