"""Leases deliveries that are due to this process, for a while.

A claim counts the attempt; `next_attempt_at` of a claimed row is the end of its lease, so a row
whose holder died becomes due by itself. Many rows are claimed in one transaction, since the price
of a transaction is its commit.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, cast

from sqlalchemy import Table, bindparam, insert, or_, select, text, update
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

_Row = Any
"""A row of `_DUE`, whose columns SQLAlchemy cannot type by name."""


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
    """Lease up to `limit` due deliveries, oldest first, except those of the given channels."""
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
    with reading() as session:
        found: datetime | None = session.connection().scalar(_NEXT, {"full": list(full_lanes)})
        return found


def claim(session: Session, limit: int, full_lanes: Collection[int] = ()) -> list[Claim]:
    """Lease up to `limit` due deliveries in the caller's transaction."""
    now = clock.now()
    due = session.connection().execute(_DUE, {"now": now, "limit": limit, "full": list(full_lanes)})
    takers = [row for row in due.all() if not _closed_without_attempt(session, row, now)]
    if not takers:
        return []
    session.connection().execute(
        _LEASE,
        {
            "ids": [row.id for row in takers],
            "owner": processes.owner(),
            "until": now + LEASE,
        },
    )
    return _claims(session, takers)


# The statements are built once: building one anew took as long as running it. The planner walks
# ix_delivery_open and looks the other two tables up by key; a test asserts it.
_d: Final = cast("Table", Delivery.__table__)
_e: Final = cast("Table", EventRow.__table__)
_c: Final = cast("Table", ChannelRow.__table__)
_NOT_FULL: Final = or_(
    _d.c.channel_id.is_(None), _d.c.channel_id.not_in(bindparam("full", expanding=True))
)
_NEXT: Final = (
    select(_d.c.next_attempt_at)
    .where(_d.c.next_attempt_at.is_not(None), _NOT_FULL)
    .order_by(_d.c.next_attempt_at)
    .limit(1)
)
_DUE: Final = (
    select(
        _d.c.id,
        _d.c.state,
        _d.c.attempts,
        _d.c.created_at,
        _d.c.expires_at,
        _d.c.channel_id,
        _d.c.recipient,
        _d.c.progress,
        _d.c.event_id,
        _e.c.type.label("event_type"),
        _e.c.payload,
        _e.c.occurred_at,
        _e.c.is_test,
        _e.c.job_id,
        _c.c.type.label("channel_type"),
        _c.c.name.label("channel_name"),
        _c.c.config,
        _c.c.enabled,
    )
    .select_from(_d.join(_e, _e.c.id == _d.c.event_id).outerjoin(_c, _c.c.id == _d.c.channel_id))
    .where(_d.c.next_attempt_at <= bindparam("now"), _NOT_FULL)
    .order_by(_d.c.next_attempt_at, _d.c.id)
    .limit(bindparam("limit"))
    .with_for_update(of=_d, skip_locked=True)
)
_LEASE: Final = (
    update(_d)
    .where(_d.c.id.in_(bindparam("ids", expanding=True)))
    .values(
        state=State.SENDING,
        attempts=_d.c.attempts + 1,
        lease_owner=bindparam("owner"),
        leased_until=bindparam("until"),
        next_attempt_at=bindparam("until"),
    )
)


def _closed_without_attempt(session: Session, row: _Row, now: datetime) -> bool:
    """Close a due delivery that must not be sent any more; say whether that was so."""
    if row.state == State.SENDING:
        _write_lost_attempt(session, row, now)
    if row.expires_at is not None and now >= row.expires_at:
        values: dict[str, Any] = {"state": State.EXPIRED, "reason": EXPIRED}
    elif row.config is None:
        values = {"state": State.FAILED, "reason": CHANNEL_GONE}
    elif not row.enabled and row.event_type != ChannelTest.type:
        # somebody may test a channel before switching it on
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


def _write_lost_attempt(session: Session, row: _Row, now: datetime) -> None:
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


def _claims(session: Session, rows: Sequence[_Row]) -> list[Claim]:
    zones = _zones(session, {row.recipient for row in rows if row.recipient})
    preferred = preferences.load(session)
    channels = {row.channel_id: _channel(row) for row in rows}
    return [
        Claim(
            delivery_id=row.id,
            attempt=row.attempts + 1,
            lease_lost=row.state == State.SENDING,
            first_attempt_at=row.created_at,
            expires_at=row.expires_at,
            event_id=row.event_id,
            event_type=row.event_type,
            payload=row.payload,
            occurred_at=row.occurred_at,
            is_test=row.is_test,
            job_id=row.job_id,
            recipient=row.recipient,
            recipient_timezone=zones.get((row.recipient or "").casefold()),
            progress=dict(row.progress or {}),
            channel=channels[row.channel_id],
            preferences=preferred,
        )
        for row in rows
    ]


def _channel(row: _Row) -> ChannelRow:
    """Return the channel as it is now, in no session."""
    return ChannelRow(
        id=row.channel_id,
        type=row.channel_type,
        name=row.channel_name,
        config=row.config,
        enabled=row.enabled,
    )


def _zones(session: Session, addresses: Collection[str]) -> dict[str, str | None]:
    if not addresses:
        return {}
    keys = {address.casefold() for address in addresses}
    found = session.execute(select(User.email_key, User.timezone).where(User.email_key.in_(keys)))
    return {row.email_key: row.timezone for row in found}
