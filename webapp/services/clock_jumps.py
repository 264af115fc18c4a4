"""Puts moments right after the wall clock was set: nothing waits for ever, nothing goes twice as
often.

A clock set forward needs no help here: what waits becomes due, as it should. A clock set back
would make everything wait until it has caught up.
"""

from datetime import timedelta
from typing import Final

from sqlalchemy import case, select, text, update
from sqlalchemy.orm import Session

from webapp.core import clock
from webapp.core.retry import LONGEST_HINT
from webapp.models.delivery import OPEN_STATES, Attempt, Delivery
from webapp.models.setting import ErrorReport, Lease, RateBucket
from webapp.services.claims import LEASE
from webapp.services.transaction import RING, transaction

SLACK: Final = timedelta(seconds=10)
LONGEST_LEASE: Final = timedelta(minutes=2)
"""No right is held for longer without being renewed."""


def settle(back_by: timedelta = timedelta(0)) -> int:
    """Put right what lies further ahead than it can; return how many deliveries were moved.

    `back_by` is how far the clock is known to have been set back; what the log holds from the
    future counts, too, so that a start after such a change knows. Retries come that much earlier.
    """
    with transaction() as session:
        moved = _deliveries(session, max(back_by, _lead_of_the_log(session)))
        _buckets(session)
        _reports(session)
        now = clock.now()
        session.execute(
            update(Lease)
            .where(Lease.leased_until > now + LONGEST_LEASE)
            .values(leased_until=now + LONGEST_LEASE)
        )
        session.info[RING] = True
    return moved


def _lead_of_the_log(session: Session) -> timedelta:
    """Return how far ahead of the clock the latest attempt began, if it did."""
    latest = session.scalar(select(Attempt.started_at).order_by(Attempt.id.desc()).limit(1))
    lead = latest - clock.now() if latest is not None else timedelta(0)
    return lead if lead > SLACK else timedelta(0)


def _deliveries(session: Session, back_by: timedelta) -> int:
    now = clock.now()
    rows = session.execute(
        select(Delivery.id, Delivery.state, Delivery.next_attempt_at)
        .where(text(OPEN_STATES), Delivery.next_attempt_at > now + SLACK)
        .with_for_update()
    ).all()
    moved = 0
    for row in rows:
        if row.state == "queued":
            wanted = now
        elif row.state == "sending":
            wanted = min(row.next_attempt_at, now + LEASE)
        else:
            wanted = min(max(row.next_attempt_at - back_by, now), now + LONGEST_HINT)
        if wanted != row.next_attempt_at:
            moved += 1
            session.execute(
                update(Delivery)
                .where(Delivery.id == row.id)
                .values(
                    next_attempt_at=wanted,
                    leased_until=case((text("state = 'sending'"), wanted), else_=None),
                )
                .execution_options(synchronize_session=False)
            )
    return moved


def _buckets(session: Session) -> None:
    """A bucket of the future would not fill until then; what a service asked for stays."""
    now = clock.now()
    for bucket in session.scalars(select(RateBucket).where(RateBucket.updated_at > now)):
        if bucket.blocked_until is not None:
            bucket.blocked_until = now + min(
                max(bucket.blocked_until - bucket.updated_at, timedelta(0)), LONGEST_HINT
            )
        bucket.updated_at = now


def _reports(session: Session) -> None:
    """An error that was announced in the future would be silent until then."""
    now = clock.now()
    session.execute(
        update(ErrorReport).where(ErrorReport.announced_at > now).values(announced_at=now)
    )
