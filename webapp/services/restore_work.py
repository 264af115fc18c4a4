"""Carries restores out, and records how each of them ended.

A restore that was accepted always ends in a recorded outcome. Success and failure are committed
together with their event, so no result can be stored without the message about it. What a killed
process left is found when the next one starts.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import delete, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from webapp.backup import remains, trial
from webapp.backup.destinations.base import Destination
from webapp.backup.errors import BackupError, CancelledError
from webapp.backup.replace import Replacing
from webapp.backup.restore import restore
from webapp.backup.sources import BY_TYPE
from webapp.backup.sources.base import Source
from webapp.backup.trial import Counts
from webapp.core import clock
from webapp.core.errors import AppError
from webapp.core.scrub import conceal
from webapp.models.job import DestinationRow, Job, SourceRow
from webapp.models.run import ArtifactRow, Outcome, Restore
from webapp.models.setting import Lease
from webapp.notify.events.restore_complete import RestoreComplete
from webapp.notify.events.restore_failure import RestoreFailure
from webapp.services import (
    leases,
    outbox,
    processes,
    proven,
    system_errors,
    uploads,
)
from webapp.services.artifacts import type_label
from webapp.services.destinations import open_destination
from webapp.services.installation import installation
from webapp.services.restore_watch import LEASE, RestoreWatch, lease_name
from webapp.services.sources import open_source
from webapp.services.transaction import reading, transaction

logger = logging.getLogger(__name__)

BEGIN: Final = "Start"
LOAD: Final = "Load"
SOMEBODY: Final = "Somebody"
NOT_BEGUN: Final = "It had not begun, so the target is as it was."
ONLY_A_TRIAL: Final = "It was on trial, so no database but the scratch database was touched."
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
KILLED_HALF: Final = (
    "The server ended during the restore. If the target has the table dbackup_restoring it is not "
    "whole: drop it, then start the restore again."
)


_mine: Final[set[int]] = set()
"""The restores that threads of this process have taken."""
_claiming = threading.Lock()  # a thread that loses a race must not disown the restore of the winner


@dataclass(frozen=True, kw_only=True)
class _Result:
    outcome: Outcome
    step: str = ""
    error: str | None = None
    left: str | None = None
    counts: Counts | None = None


@dataclass(frozen=True, kw_only=True)
class _Parts:
    destination: Destination
    key: str
    source: Source
    target: str
    unlock: str
    overwrite: bool
    is_trial: bool

    @property
    def secrets(self) -> tuple[str, ...]:
        return (*self.destination.secrets, *self.source.secrets, self.unlock)


def claim() -> int | None:
    """Take the oldest restore that waits for its turn; None when there is none."""
    with _claiming:
        return _claim()


def _claim() -> int | None:
    waiting = (
        select(Restore.id)
        .where(Restore.outcome == Outcome.RUNNING, Restore.owner == "")
        .order_by(Restore.id)
        .limit(1)
    )
    with reading() as session:
        restore_id = session.scalar(waiting)
    if restore_id is None:
        return None
    _mine.add(restore_id)
    with transaction() as session:
        taken = session.scalar(
            update(Restore)
            .where(Restore.id == restore_id, Restore.outcome == Outcome.RUNNING)
            .where(Restore.owner == "")
            .values(owner=processes.owner(), step=BEGIN, started_at=clock.now())
            .returning(Restore.id)
            .execution_options(synchronize_session=False)
        )
        if taken is not None:
            leases.take(session, lease_name(taken), processes.owner(), LEASE)
    if taken is None:
        _mine.discard(restore_id)
    return taken


def carry_out(restore_id: int, *, shutting_down: Callable[[], bool] = lambda: False) -> None:
    """Do what was claimed, and record its outcome; blocks until then.

    `shutting_down` says that the server stops: the restore is then broken off as interrupted.
    """
    try:
        with RestoreWatch(restore_id, shutting_down) as watch:
            result = _attempt(restore_id, watch, shutting_down)
        _insist(restore_id, result)
    finally:
        _mine.discard(restore_id)


def _insist(restore_id: int, result: _Result) -> None:
    """Record the outcome, giving a full disk or a locked database some time to recover."""
    for pause in (*RECORD_AGAIN_AFTER, None):
        try:
            with transaction() as session:
                if result.counts is not None:
                    _note_proof(session, restore_id, result.counts)
                record(
                    session,
                    restore_id,
                    result.outcome,
                    step=result.step,
                    error=result.error,
                    left=result.left,
                )
            return
        except SQLAlchemyError:
            logger.exception("outcome of a restore not stored yet", extra={"restore": restore_id})
            if pause is None:
                raise
            time.sleep(pause)


def _note_proof(session: Session, restore_id: int, counts: Counts) -> None:
    """Store what a trial counted, and that backups of the job can be restored."""
    row = session.get_one(Restore, restore_id)
    row.counts = [list(each) for each in counts]
    job = session.get(Job, row.job_id) if row.job_id else None
    if job is not None and (at := proven.since(session, row)) is not None:
        job.proven_at = at


def recover() -> int:
    """Record as interrupted what nobody carries out any more; return how many there were."""
    left = select(Restore).where(Restore.outcome == Outcome.RUNNING, Restore.owner != "")
    with reading() as session:
        dead = [row.id for row in session.scalars(left) if is_dead(session, row)]
    for restore_id in dead:
        with transaction() as session:
            row = session.get_one(Restore, restore_id)
            record(session, restore_id, Outcome.INTERRUPTED, error=killed_words(row.source_type))
    return len(dead)


def killed_words(source_type: str) -> str:
    """Return what a process that ended during the restore may have left."""
    kind = BY_TYPE.get(source_type)
    return KILLED if kind is None or kind.whole_when_named else KILLED_HALF


def is_dead(session: Session, row: Restore) -> bool:
    """Say whether nobody carries it out any more.

    Of another host it is known by the lease that nobody renews.
    """
    if not row.owner:
        return False
    if row.owner == processes.owner():
        return row.id not in _mine
    if processes.is_dead(row.owner):
        return True
    until = leases.held_until(session, lease_name(row.id))
    return until is None or until < clock.now()


def record(
    session: Session,
    restore_id: int,
    outcome: Outcome,
    *,
    step: str = "",
    error: str | None = None,
    left: str | None = None,
) -> bool:
    """Record how it ended and publish the event; return False when it had ended before.

    `left` says of a cancelled one what is in its target.
    """
    ended = session.scalar(
        update(Restore)
        .where(Restore.id == restore_id, Restore.outcome == Outcome.RUNNING)
        .values(outcome=outcome, finished_at=clock.now(), error=error, remains=left, unlock=None)
        .returning(Restore.id)
        .execution_options(synchronize_session=False)
    )
    if ended is None:
        return False
    session.execute(delete(Lease).where(Lease.name == lease_name(restore_id)))
    row = session.get_one(Restore, restore_id, populate_existing=True)
    row.step = step or row.step
    logger.info("restore ended", extra={"restore": restore_id, "outcome": outcome})
    if row.upload:
        uploads.forget(row.upload)
    if row.is_trial and outcome == Outcome.SUCCESS:
        return True  # the next backup's message says it
    if outcome == Outcome.SUCCESS:
        outbox.publish(session, RestoreComplete(**_facts(row)))
    else:
        outbox.publish(session, _failure(session, row))
    return True


def _failure(session: Session, row: Restore) -> RestoreFailure:
    job = session.get(Job, row.job_id) if row.is_trial and row.job_id is not None else None
    facts = _facts(row) | {"step": row.step or BEGIN, "trial_of": job.name if job else ""}
    if row.outcome == Outcome.CANCELLED:
        by = row.stopped_by or SOMEBODY
        return RestoreFailure(**facts, error="", stopped_by=by, remains=row.remains or "")
    return RestoreFailure(**facts, error=row.error or "It failed without a word.")


def _attempt(restore_id: int, watch: RestoreWatch, shutting_down: Callable[[], bool]) -> _Result:
    """Restore; whatever happens becomes the result."""
    secrets: tuple[str, ...] = ()
    parts: _Parts | None = None
    try:
        watch.check()
        parts = _open(restore_id)
        secrets = parts.secrets
        counts = _carry_out(parts, watch)
    except CancelledError:
        if shutting_down():
            return _Result(outcome=Outcome.INTERRUPTED, step=watch.name, error=STOPPED)
        left = _remains(parts, watch.name)
        return _Result(outcome=Outcome.CANCELLED, step=watch.name, left=left)
    except BackupError as error:
        return _failed(error.step or watch.name, str(error), secrets)
    except AppError as error:
        return _failed(watch.name, str(error), secrets)
    except Exception as error:
        logger.exception("restore failed by a fault of ours", extra={"restore": restore_id})
        system_errors.report("Restore", error)
        return _failed(watch.name, system_errors.describe(error), secrets)
    return _Result(outcome=Outcome.SUCCESS, step=watch.name, counts=counts)


def _remains(parts: _Parts | None, step: str) -> str:
    """Say what a restore that was cancelled in this step has left."""
    if parts is not None and parts.is_trial:
        return ONLY_A_TRIAL
    if parts is None or step != LOAD:
        return remains.UNTOUCHED
    return remains.look(parts.source, parts.target, overwrite=parts.overwrite)


def _carry_out(parts: _Parts, watch: RestoreWatch) -> Counts | None:
    """Restore, or restore on trial and return the rows of each table."""
    if parts.is_trial:
        return trial.prove(
            parts.destination,
            parts.key,
            source=parts.source,
            progress=watch,
            unlock=parts.unlock,
        )
    restore(
        parts.destination,
        parts.key,
        source=Replacing(parts.source) if parts.overwrite else parts.source,
        target=parts.target,
        progress=watch,
        unlock=parts.unlock,
    )
    return None


def _failed(step: str, error: str, secrets: Iterable[str]) -> _Result:
    return _Result(outcome=Outcome.FAILURE, step=step or BEGIN, error=conceal(error, secrets))


def _open(restore_id: int) -> _Parts:
    with reading() as session:
        row = session.get_one(Restore, restore_id)
        artifact = row.artifact_id and session.get(ArtifactRow, row.artifact_id)
        if not artifact and not row.upload:
            raise BackupError(NO_ARTIFACT)
        place = session.get_one(DestinationRow, artifact.destination_id) if artifact else None
        source_row = session.get(SourceRow, row.source_id) if row.source_id else None
    return _Parts(
        destination=open_destination(place) if place else uploads.shelf(),
        key=row.upload or row.artifact_key,
        source=open_target_source(row.source_type, source_row, row.target, row.database),
        target=row.target,
        unlock=installation().sealer.open(row.unlock)["unlock"] if row.unlock else "",
        overwrite=row.overwrite,
        is_trial=row.is_trial,
    )


def seal_unlock(unlock: str) -> str:
    """Return what opens an artifact as it is stored until the restore has ended."""
    return installation().sealer.seal({"unlock": unlock})


def open_target_source(
    source_type: str, row: SourceRow | None, target: str, database: str = ""
) -> Source:
    """Return the source that receives the database; files need no configured one.

    `database` is the one that was backed up.

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
    return open_source(row, database)


def _facts(row: Restore) -> dict[str, Any]:
    took = (row.finished_at or clock.now()) - row.started_at
    return {
        "restore_id": row.id,
        "source": row.source_name or row.artifact_key,
        "database_type": type_label(row.source_type),
        "database": row.database,
        "target": row.target,
        "artifact": row.artifact_key,
        "size": row.size,
        "seconds": max(took / timedelta(seconds=1), 0.0),
    }
