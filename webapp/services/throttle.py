"""Wrong attempts on one account: after a few of them every further one has to wait.

It is kept for any email that somebody types, whether there is such an account or not, so that the
answer gives nothing away. The wait ends by itself, and whoever signs in from a browser that did so
before waits for its own attempts only: nobody can shut somebody else out (see sessions.Device).
"""

import hashlib
from contextlib import suppress
from datetime import timedelta
from typing import Final

from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from webapp.core import clock
from webapp.core.errors import TooManyError
from webapp.models.security import Throttle

FREE_FAILURES: Final = 5
FIRST_WAIT: Final = timedelta(seconds=30)
LONGEST_WAIT: Final = timedelta(minutes=15)
FORGOTTEN_AFTER: Final = timedelta(hours=24)


def attempt(session: Session, key: str) -> None:
    """Refuse while the account has to wait, also the right password; else count one attempt.

    It counts before anybody looks whether it is right, so that many at once are no more than one
    after the other; `passed` takes it back.

    Raises:
        TooManyError: with the seconds that are left. Nothing was counted.
    """
    now, row = clock.now(), _row(session, _hashed(key))
    if row.blocked_until is not None and row.blocked_until > now:
        left = row.blocked_until - now
        raise TooManyError(_words(left), left)
    if now - row.last_at > FORGOTTEN_AFTER:
        row.failures = 0
    row.failures += 1
    row.last_at = now
    row.blocked_until = now + wait(row.failures) if row.failures >= FREE_FAILURES else None
    session.flush()


def passed(session: Session, key: str) -> None:
    """Forget the attempts: this one was right."""
    session.execute(delete(Throttle).where(Throttle.key == _hashed(key)))


def wait(failures: int) -> timedelta:
    """Return how long the next attempt waits after so many wrong ones."""
    doublings = min(failures - FREE_FAILURES, 20)
    longer: timedelta = FIRST_WAIT * 2**doublings
    return min(longer, LONGEST_WAIT)


def _row(session: Session, hashed: str) -> Throttle:
    """Return the row, locked until the end of the transaction."""
    now = clock.now()
    while (row := session.get(Throttle, hashed, with_for_update=True)) is None:
        session.execute(delete(Throttle).where(Throttle.last_at < now - FORGOTTEN_AFTER))
        # another attempt may be faster, and its row be gone again because it was right
        with suppress(IntegrityError), session.begin_nested():
            session.add(Throttle(key=hashed, failures=0, last_at=now))
    return row


def _hashed(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _words(left: timedelta) -> str:
    seconds = int(left.total_seconds()) + 1
    span = f"{seconds} seconds" if seconds < 90 else f"{(seconds + 59) // 60} minutes"
    return f"Too many wrong attempts. Wait {span}, then try again."
