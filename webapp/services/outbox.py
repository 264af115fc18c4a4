"""Publishes events: the event and its deliveries are written in the caller's transaction.

The fact (a run that finished, an account that was made) and the messages about it are committed
together or not at all; sending begins after the commit. That is what makes "at least once" true:
there is no moment at which the fact is stored and the message is only in memory.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import insert
from sqlalchemy.orm import Session

from webapp.core import clock, ids
from webapp.core.retry import EXPIRES_AFTER
from webapp.models.delivery import Delivery, EventRow, State
from webapp.models.job import Job
from webapp.notify.events import Event
from webapp.services import fallbacks, rates
from webapp.services.probes import PROBE_EVERY, waits_for_repair
from webapp.services.routing import Target, plan_job_event, plan_system_event
from webapp.services.transaction import RING

BROKEN_ITSELF: Final = "The event is about this very channel."

# All rows of one statement must name the same columns.
_QUEUED: Final[dict[str, Any]] = {
    "state": State.QUEUED,
    "reason": None,
    "needs_you": False,
    "next_attempt_at": None,
    "expires_at": None,
    "finished_at": None,
}
_SKIPPED: Final = _QUEUED | {"state": State.SKIPPED}
_WAITING: Final = _QUEUED | {"state": State.RETRYING, "needs_you": True}


def publish(
    session: Session,
    event: Event,
    *,
    job: Job | None = None,
    run_id: int | None = None,
    is_test: bool = False,
    test_recipient: str | None = None,
    except_channel_id: int | None = None,
) -> str:
    """Write the event and one delivery per target, skipped ones with their reason.

    `except_channel_id` is a channel that is not used because the event says that it is broken.
    Returns the event's id.
    """
    if job is None:
        targets = plan_system_event(
            session, event, test_recipient=test_recipient if is_test else None
        )
    else:
        targets = plan_job_event(session, event, job.id)
    return write(
        session,
        event,
        [_without(target, except_channel_id) for target in targets],
        job_id=None if job is None else job.id,
        run_id=run_id,
        is_test=is_test,
    )


def write(
    session: Session,
    event: Event,
    targets: Iterable[Target],
    *,
    job_id: int | None = None,
    run_id: int | None = None,
    is_test: bool = False,
) -> str:
    """Write the event and its deliveries to exactly these targets; return the event's id."""
    now = clock.now()
    event_id = ids.uuid7()
    session.execute(
        insert(EventRow),
        {
            "id": event_id,
            "type": event.type,
            "payload": event.payload(),
            "occurred_at": now,
            "job_id": job_id,
            "run_id": run_id,
            "is_test": is_test,
        },
    )
    lines = list(targets)
    session.execute(
        insert(Delivery), [_delivery(target, event_id, now, is_test=is_test) for target in lines]
    )
    session.info[RING] = True
    for channel_id in {target.channel_id for target in lines if target.broken is not None}:
        if channel_id is not None and not is_test:
            fallbacks.take_over(session, channel_id)
    for channel_id, until in ({} if is_test else rates.resting(session)).items():
        if any(target.channel_id == channel_id for target in lines):
            fallbacks.take_over_while_paused(session, channel_id, until)
    return event_id


def _delivery(target: Target, event_id: str, now: datetime, *, is_test: bool) -> dict[str, Any]:
    if target.reason is not None:
        fate: dict[str, Any] = _SKIPPED | {"reason": target.reason, "finished_at": now}
    elif target.broken is not None and not is_test:
        fate = _WAITING | {
            "reason": waits_for_repair(target.broken),
            "next_attempt_at": now + PROBE_EVERY,
            "expires_at": now + EXPIRES_AFTER,
        }
    else:
        fate = _QUEUED | {"next_attempt_at": now, "expires_at": now + EXPIRES_AFTER}
    return fate | {
        "id": ids.uuid7(),
        "event_id": event_id,
        "channel_id": target.channel_id,
        "channel_name": target.channel_name,
        "channel_type": target.channel_type,
        "recipient": target.recipient,
        "is_direct": target.is_direct,
        "created_at": now,
    }


def _without(target: Target, channel_id: int | None) -> Target:
    if channel_id is None or target.channel_id != channel_id or target.reason is not None:
        return target
    return replace(target, reason=BROKEN_ITSELF)
