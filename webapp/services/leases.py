"""Rights that one process holds at a time: to schedule, or to run a certain job.

A lease ends by itself when its holder stops renewing it, and at once when the holder is a process
of this host that no longer lives. Its row stays, so that the next holder knows until when it was
held.
"""

from datetime import datetime, timedelta

from sqlalchemy import update
from sqlalchemy.engine import CursorResult
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from webapp.core import clock
from webapp.models.setting import Lease
from webapp.services import processes


def take(session: Session, name: str, owner: str, length: timedelta) -> bool:
    """Take the lease unless another living process holds it; say whether it is ours now."""
    now = clock.now()
    held = session.get(Lease, name, with_for_update=True)
    if held is None:
        try:
            with session.begin_nested():
                session.add(Lease(name=name, owner=owner, leased_until=now + length))
        except IntegrityError:  # another process was faster
            return False
        return True
    if held.owner != owner and held.leased_until > now and not processes.is_dead(held.owner):
        return False
    held.owner, held.leased_until = owner, now + length
    return True


def seize(session: Session, name: str, owner: str, length: timedelta) -> None:
    """Make the lease ours, whoever holds it: the caller was given what it guards."""
    session.merge(Lease(name=name, owner=owner, leased_until=clock.now() + length))


def renew(session: Session, name: str, owner: str, length: timedelta) -> bool:
    """Hold the lease for longer; False: it is no longer ours."""
    changed = session.execute(
        update(Lease)
        .where(Lease.name == name, Lease.owner == owner)
        .values(leased_until=clock.now() + length)
    )
    return isinstance(changed, CursorResult) and changed.rowcount == 1


def release(session: Session, name: str, owner: str) -> None:
    """End the lease now if it is ours."""
    session.execute(
        update(Lease)
        .where(Lease.name == name, Lease.owner == owner)
        .values(leased_until=clock.now())
    )


def held_until(session: Session, name: str) -> datetime | None:
    """Return until when the lease is or was held; None: it never was."""
    held = session.get(Lease, name)
    return None if held is None else held.leased_until
