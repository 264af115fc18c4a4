"""Forgets what is older than the history that is kept, a little at a time.

Each step is one short transaction along an index, so that nobody waits for it: with many millions
of rows it takes as long as with a few.
"""

from datetime import datetime, timedelta
from typing import Any, Final, cast

from sqlalchemy import CursorResult, delete, exists, select, text
from sqlalchemy.orm import Session

from webapp.core import clock
from webapp.models.delivery import IS_UNSEEN, Delivery, EventRow
from webapp.models.run import ArtifactRow, Outcome, Run
from webapp.services.installation import installation
from webapp.services.transaction import reading, transaction

STEP: Final = 200
"""Events, or runs, that one transaction forgets."""


def keep_since() -> datetime:
    """Return from when on everything is kept."""
    return clock.now() - timedelta(days=installation().settings.history_days)


def forget_some() -> int:
    """Forget one step of each kind; return how many events and runs that were."""
    since = keep_since()
    return sum(_forget(find, since) for find in (_old_events, _old_runs))


def _forget(find: Any, since: datetime) -> int:
    with reading() as session:  # most of the time there is nothing, and no write lock is needed
        found, table = find(session, since)
    if not found:
        return 0
    with transaction() as session:
        gone = session.execute(
            delete(table).where(table.id.in_(found)).execution_options(synchronize_session=False)
        )
        return cast("CursorResult[Any]", gone).rowcount


def _old_events(session: Session, since: datetime) -> tuple[list[str], type[EventRow]]:
    """Find events whose deliveries have all ended; deliveries and attempts go with them.

    What expired stays until somebody has looked: it is listed on the overview.
    """
    open_ones = exists(
        select(Delivery.id).where(
            Delivery.event_id == EventRow.id, Delivery.next_attempt_at.is_not(None)
        )
    )
    unseen = exists(select(Delivery.id).where(Delivery.event_id == EventRow.id, text(IS_UNSEEN)))
    found = (
        select(EventRow.id)
        .where(EventRow.occurred_at < since, ~open_ones, EventRow.is_test | ~unseen)
        .order_by(EventRow.occurred_at, EventRow.id)
        .limit(STEP)
    )
    return list(session.scalars(found)), EventRow


def _old_runs(session: Session, since: datetime) -> tuple[list[int], type[Run]]:
    """Find runs that ended and of which no backup is stored any more, and not a job's latest."""
    stored = exists(select(ArtifactRow.id).where(ArtifactRow.run_id == Run.id))
    later = Run.__table__.alias("later")
    latest = ~exists(select(later.c.id).where(later.c.job_id == Run.job_id, later.c.id > Run.id))
    found = (
        select(Run.id)
        .where(
            Run.started_at < since,
            Run.outcome != Outcome.RUNNING,
            ~stored,
            ~(latest & Run.job_id.is_not(None)),
        )
        .order_by(Run.started_at)
        .limit(STEP)
    )
    return list(session.scalars(found)), Run
