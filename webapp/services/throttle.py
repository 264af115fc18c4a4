"""Wrong attempts on one account: after a few of them every further one has to wait.

It is kept for any email that somebody types, whether there is such an account or not, so that the
answer gives nothing away. The wait ends by itself: nobody can shut somebody else out for good.
"""

import hashlib
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from webapp.core import clock
from webapp.core.errors import TooManyError
from webapp.models.security import Throttle

FREE_FAILURES: Final = 5
FIRST_WAIT: Final = timedelta(seconds=30)
LONGEST_WAIT: Final = timedelta(minutes=15)
FORGOTTEN_AFTER: Final = timedelta(hours=24)


def check(session: Session, key: str) -> None:
    """Refuse while the account has to wait; also the right password is refused then.

    Raises:
        TooManyError: with the seconds that are left.
    """
    until = session.scalar(select(Throttle.blocked_until).where(Throttle.key == _hashed(key)))
    now = clock.now()
    if until is not None and until > now:
        raise TooManyError(_words(until - now), until - now)


def failed(session: Session, key: str) -> datetime | None:
    """Count one wrong attempt; return until when the next one has to wait, if it has to."""
    now = clock.now()
    row = session.get(Throttle, _hashed(key), with_for_update=True)
    if row is None:
        session.execute(delete(Throttle).where(Throttle.last_at < now - FORGOTTEN_AFTER))
        row = Throttle(key=_hashed(key), failures=0, last_at=now)
        session.add(row)
    if now - row.last_at > FORGOTTEN_AFTER:
        row.failures = 0
    row.failures += 1
    row.last_at = now
    row.blocked_until = now + wait(row.failures) if row.failures >= FREE_FAILURES else None
    session.flush()
    return row.blocked_until


def passed(session: Session, key: str) -> None:
    """Forget the wrong attempts: this one was right."""
    session.execute(delete(Throttle).where(Throttle.key == _hashed(key)))


def wait(failures: int) -> timedelta:
    """Return how long the next attempt waits after so many wrong ones."""
    doublings = min(failures - FREE_FAILURES, 20)
    longer: timedelta = FIRST_WAIT * 2**doublings
    return min(longer, LONGEST_WAIT)


def _hashed(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _words(left: timedelta) -> str:
    seconds = int(left.total_seconds()) + 1
    span = f"{seconds} seconds" if seconds < 90 else f"{(seconds + 59) // 60} minutes"
    return f"Too many wrong attempts. Wait {span}, then try again."
