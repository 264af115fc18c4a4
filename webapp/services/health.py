"""Whether DBackup can raise an alarm at this moment. The overview, /readyz and the heartbeat all
ask here, so that they say the same.
"""

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy import text as sql
from sqlalchemy.exc import SQLAlchemyError

from webapp.core import clock, text
from webapp.models.delivery import IS_OPEN, Delivery
from webapp.services import pulse, room
from webapp.services.transaction import reading

STILL_AFTER: Final = 60.0  # seconds; both threads move every few, and wait 10 for the database
OLD_AFTER: Final = timedelta(minutes=10)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something that keeps DBackup from raising an alarm, in words for anybody."""

    key: str
    """database, dispatcher, scheduler, waiting or disk."""
    words: str
    detail: str = ""
    """What only people who are signed in may read."""
    delivery_id: str | None = None


NO_DATABASE: Final = Problem(key="database", words="The database does not answer.")


def look() -> tuple[Problem, ...]:
    """Return what is wrong; nothing means that an alarm raised now would go out."""
    try:
        with reading() as session:
            oldest = session.execute(_OLDEST).one_or_none()
    except SQLAlchemyError:
        return (NO_DATABASE, *_threads())
    found = (_waiting(oldest) if oldest else None, _disk())
    return (*_threads(), *(problem for problem in found if problem is not None))


def oldest_waiting() -> timedelta:
    """Return the age of the oldest delivery that is still on its way."""
    with reading() as session:
        oldest = session.execute(_OLDEST).one_or_none()
    return max(clock.now() - oldest.created_at, timedelta(0)) if oldest else timedelta(0)


# The open ones are a small index of their own, which holds the ids; ids sort by time. lower()
# changes nothing about them and keeps planners from walking the whole log by id instead.
_OLDEST: Final = select(
    Delivery.id, Delivery.created_at, Delivery.channel_name, Delivery.reason
).where(
    Delivery.id == select(func.min(func.lower(Delivery.id))).where(sql(IS_OPEN)).scalar_subquery()
)


def _threads() -> tuple[Problem, ...]:
    beat = pulse.current()
    if beat is None:
        return ()
    now = time.monotonic()
    still = {
        "dispatcher": (now - beat.dispatcher_moved_at(), "Nothing is sent."),
        "scheduler": (now - beat.scheduler_moved_at(), "Scheduled backups do not start."),
    }
    return tuple(
        Problem(
            key=name,
            words=f"The {name} has not moved for {text.duration(timedelta(seconds=seconds))}. "
            f"{effect} Restart DBackup; its log says more.",
        )
        for name, (seconds, effect) in still.items()
        if seconds > STILL_AFTER
    )


def _waiting(row: Any) -> Problem | None:
    age = clock.now() - row.created_at
    if age <= OLD_AFTER:
        return None
    return Problem(
        key="waiting",
        words=f"A message has been waiting for {text.duration(age)}.",
        detail=f"It is for {row.channel_name}. {row.reason or ''}".strip(),
        delivery_id=row.id,
    )


def _disk() -> Problem | None:
    if room.is_given_up():
        return Problem(key="disk", words=room.WORDS)
    return None
