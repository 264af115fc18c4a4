"""Leases deliveries that are due to this process, for a while.

A claim counts the attempt; `next_attempt_at` of a claimed row is the end of its lease, so a row
whose holder died becomes due by itself. Many rows are claimed in one transaction, since the price
of a transaction is its commit.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Row, bindparam, insert, or_, select, text, update
from sqlalchemy.orm import Session

from webapp.core import clock
from webapp.models.channel import ChannelRow
from webapp.models.delivery import Attempt, Delivery, EventRow, State
from webapp.models.user import User
from webapp.notify.events.channel_test import ChannelTest
from webapp.services import preferences, processes
from webapp.services.preferences import Preferences
from webapp.services.routing import CHANNEL_OFF
from webapp.services.transaction import RING, reading, transaction

LEASE: Final = timedelta(seconds=45)  # well above the 30 s after which a call is cut off
CHANNEL_GONE: Final = "The channel was deleted."
LEASE_LOST: Final = "No result before the lease ran out: the process was stopped while sending."
EXPIRED: Final = "It could not be delivered within 24 hours."


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Everything that sending one delivery needs, so that no transaction is open meanwhile."""

    delivery_id: str
    attempt: int
    lease_lost: bool
    """True when the attempt before this one ended without a result."""
    first_attempt_at: datetime
    expires_at: datetime | None
    event_id: str
    event_type: str
    payload: Mapping[str, Any]
    occurred_at: datetime
    is_test: bool
    job_id: int | None
    recipient: str | None
    recipient_timezone: str | None
    progress: dict[str, Any]
    channel: ChannelRow
    preferences: Preferences


def claim_due(limit: int, *, full_lanes: Collection[int] = ()) -> list[Claim]:
    """Lease up to `limit` due deliveries, oldest first, except those of the given channels.

    Looks before it takes the write lock: the usual answer is "nothing".
    """
    with reading() as session:
        if not session.execute(_due(1, full_lanes)).first():
            return []
    with transaction() as session:
        return claim(session, limit, full_lanes)


def renew(claims: Iterable[Claim]) -> None:
    """Prolong the leases of claims that still wait for their turn or are being sent."""
    now = clock.now()
    with transaction() as session:
        session.connection().execute(
            update(Delivery)
            .where(
                Delivery.id == bindparam("of"),
                Delivery.attempts == bindparam("number"),
                Delivery.state == State.SENDING,
            )
            .values(leased_until=now + LEASE, next_attempt_at=now + LEASE),
            [{"of": claim.delivery_id, "number": claim.attempt} for claim in claims],
        )


def release(claims: Iterable[Claim]) -> None:
    """Give back claims that were not begun; their attempt does not count."""
    rows = [{"of": claim.delivery_id, "number": claim.attempt} for claim in claims]
    if not rows:
        return
    with transaction() as session:
        session.connection().execute(
            text(
                "UPDATE delivery SET attempts = attempts - 1, next_attempt_at = :now,"
                " lease_owner = NULL, leased_until = NULL,"
                " state = CASE WHEN attempts > 1 THEN 'retrying' ELSE 'queued' END"
                " WHERE id = :of AND attempts = :number AND state = 'sending'"
            ).bindparams(bindparam("now", type_=Delivery.next_attempt_at.type)),
            [row | {"now": clock.now()} for row in rows],
        )


def release_dead_leases() -> int:
    """Make deliveries of dead processes of this host due at once; return how many."""
    with reading() as session:
        owners = session.scalars(
            select(Delivery.lease_owner).where(text("state = 'sending'")).distinct()
        ).all()
    dead = [owner for owner in owners if owner and processes.is_dead(owner)]
    if not dead:
        return 0
    with transaction() as session:
        freed = session.execute(
            update(Delivery)
            .where(Delivery.lease_owner.in_(dead), text("state = 'sending'"))
            .values(next_attempt_at=clock.now(), leased_until=None)
            .returning(Delivery.id)
            .execution_options(synchronize_session=False)
        ).all()
        session.info[RING] = True
    return len(freed)


def next_due(*, full_lanes: Collection[int] = ()) -> datetime | None:
    """Return when the next open delivery of other channels becomes due (or its lease ends)."""
    nearest = (
        select(Delivery.next_attempt_at)
        .where(Delivery.next_attempt_at.is_not(None))
        .order_by(Delivery.next_attempt_at)
        .limit(1)
    )
    with reading() as session:
        found: datetime | None = session.scalar(_not_in(nearest, full_lanes))
        return found


def _due(limit: int, full_lanes: Collection[int]) -> Any:
    due = (
        select(Delivery.id)
        .where(Delivery.next_attempt_at <= clock.now())
        .order_by(Delivery.next_attempt_at, Delivery.id)
        .limit(limit)
    )
    return _not_in(due, full_lanes)


def _not_in(rows: Any, full_lanes: Collection[int]) -> Any:
    if not full_lanes:
        return rows
    return rows.where(or_(Delivery.channel_id.is_(None), Delivery.channel_id.not_in(full_lanes)))


def claim(session: Session, limit: int, full_lanes: Collection[int] = ()) -> list[Claim]:
    """Lease up to `limit` due deliveries in the caller's transaction."""
    now = clock.now()
    rows = session.execute(
        _due(limit, full_lanes)
        .add_columns(
            Delivery.state,
            Delivery.attempts,
            Delivery.created_at,
            Delivery.expires_at,
            Delivery.channel_id,
            Delivery.recipient,
            Delivery.progress,
            Delivery.event_id,
        )
        .with_for_update(skip_locked=True)
    ).all()
    if not rows:
        return []
    channels = _channels(session, rows)
    takers = []
    for row in rows:
        if not _closed_without_attempt(session, row, channels.get(row.channel_id), now):
            takers.append(row)
    if not takers:
        return []
    _lease(session, takers, now)
    return _claims(session, takers, channels)


def _channels(session: Session, rows: Sequence[Row[Any]]) -> dict[int | None, ChannelRow]:
    wanted = {row.channel_id for row in rows}
    found = session.scalars(select(ChannelRow).where(ChannelRow.id.in_(wanted)))
    return {row.id: row for row in found}


def _closed_without_attempt(
    session: Session, row: Row[Any], channel: ChannelRow | None, now: datetime
) -> bool:
    """Close a due delivery that must not be sent any more; say whether that was so."""
    if row.state == State.SENDING:
        _write_lost_attempt(session, row, now)
    if row.expires_at is not None and now >= row.expires_at:
        values: dict[str, Any] = {"state": State.EXPIRED, "reason": EXPIRED}
    elif channel is None:
        values = {"state": State.FAILED, "reason": CHANNEL_GONE}
    elif not channel.enabled and not _is_channel_test(session, row.event_id):
        values = {"state": State.SKIPPED, "reason": CHANNEL_OFF}
    else:
        return False
    session.execute(
        update(Delivery)
        .where(Delivery.id == row.id)
        .values(
            **values, finished_at=now, next_attempt_at=None, lease_owner=None, leased_until=None
        )
        .execution_options(synchronize_session=False)
    )
    return True


def _is_channel_test(session: Session, event_id: str) -> bool:
    """Say whether somebody tests this very channel, which is done before switching it on."""
    found = session.scalar(select(EventRow.type).where(EventRow.id == event_id))
    return found == ChannelTest.type


def _write_lost_attempt(session: Session, row: Row[Any], now: datetime) -> None:
    known = session.scalar(
        select(Attempt.id).where(Attempt.delivery_id == row.id, Attempt.number == row.attempts)
    )
    if known is None:
        session.execute(
            insert(Attempt),
            {
                "delivery_id": row.id,
                "number": row.attempts,
                "started_at": now,
                "duration_ms": 0,
                "outcome": "lost",
                "message": LEASE_LOST,
                "excerpt": "",
                "advice": "It may have arrived all the same; a copy bears the same delivery id.",
            },
        )


def _lease(session: Session, rows: Sequence[Row[Any]], now: datetime) -> None:
    session.execute(
        update(Delivery)
        .where(Delivery.id.in_([row.id for row in rows]))
        .values(
            state=State.SENDING,
            attempts=Delivery.attempts + 1,
            lease_owner=processes.owner(),
            leased_until=now + LEASE,
            next_attempt_at=now + LEASE,
        )
        .execution_options(synchronize_session=False)
    )


def _claims(
    session: Session, rows: Sequence[Row[Any]], channels: Mapping[int | None, ChannelRow]
) -> list[Claim]:
    wanted = {row.event_id for row in rows}
    events = {
        event.id: event
        for event in session.execute(
            select(
                EventRow.id,
                EventRow.type,
                EventRow.payload,
                EventRow.occurred_at,
                EventRow.is_test,
                EventRow.job_id,
            ).where(EventRow.id.in_(wanted))
        )
    }
    zones = _zones(session, {row.recipient for row in rows if row.recipient})
    preferred = preferences.load(session)
    claims = []
    for row in rows:
        event = events[row.event_id]
        claims.append(
            Claim(
                delivery_id=row.id,
                attempt=row.attempts + 1,
                lease_lost=row.state == State.SENDING,
                first_attempt_at=row.created_at,
                expires_at=row.expires_at,
                event_id=event.id,
                event_type=event.type,
                payload=event.payload,
                occurred_at=event.occurred_at,
                is_test=event.is_test,
                job_id=event.job_id,
                recipient=row.recipient,
                recipient_timezone=zones.get((row.recipient or "").casefold()),
                progress=dict(row.progress or {}),
                channel=channels[row.channel_id],
                preferences=preferred,
            )
        )
    return claims


def _zones(session: Session, addresses: Collection[str]) -> dict[str, str | None]:
    if not addresses:
        return {}
    keys = {address.casefold() for address in addresses}
    found = session.execute(select(User.email_key, User.timezone).where(User.email_key.in_(keys)))
    return {row.email_key: row.timezone for row in found}
