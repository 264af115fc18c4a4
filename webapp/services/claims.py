"""Leases deliveries that are due to this process, for a while.

A claim counts the attempt; `next_attempt_at` of a claimed row is the end of its lease, so a row
whose holder died becomes due by itself. Many rows are claimed in one transaction, since the price
of a transaction is its commit.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, cast

from sqlalchemy import Connection, Table, bindparam, select, text, update

from webapp.core import clock
from webapp.models.delivery import Delivery, State
from webapp.models.user import User
from webapp.services import admission, due, preferences, processes
from webapp.services.admission import Parcel
from webapp.services.channels import ChannelCopy
from webapp.services.due import DueRow
from webapp.services.preferences import Preferences
from webapp.services.transaction import RING, KeptConnection, bare_transaction, reading, transaction

LEASE: Final = timedelta(seconds=45)  # well above the 30 s after which a call is cut off


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Everything that sending one delivery needs, so that no transaction is open meanwhile."""

    delivery_id: str
    attempt: int
    is_fresh: bool
    """True: it was never tried nor held back, so nothing stands in for it."""
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
    is_direct: bool
    recipient_timezone: str | None
    progress: dict[str, Any]
    channel: ChannelCopy
    stands_in_for: str | None
    """The channel whose message this is, when this one is its fallback."""
    preferences: Preferences
    others: tuple["Claim", ...] = ()
    """Deliveries of other events that the same message names."""

    @property
    def whole(self) -> tuple["Claim", ...]:
        """This delivery and those that go with it."""
        return (self, *self.others)


@dataclass(frozen=True)
class Claimed:
    """What is to be sent now."""

    claims: list[Claim] = field(default_factory=list)
    parked: Mapping[int, datetime] = field(default_factory=dict)
    """Channels that have more but may not get it before that moment."""
    more: bool = False
    """True when there may be more that is due."""


def claim_due(
    limit: int, *, passed_over: Collection[int] = (), kept: KeptConnection | None = None
) -> Claimed:
    """Lease up to `limit` due deliveries, oldest first, except those of the given channels.

    The leases need not survive a power cut: they would end with it anyway, and the messages that
    were on the wire then are sent again either way.
    """
    with bare_transaction(kept, is_durable=False) as connection:
        return claim(connection, limit, passed_over)


def next_due(*, passed_over: Collection[int] = ()) -> datetime | None:
    """Return when the next delivery of other channels becomes due, or a lease ends."""
    with reading() as session:
        return due.next_due(session.connection(), passed_over)


def renew(claims: Iterable[Claim]) -> None:
    """Prolong the leases of claims that still wait for their turn or are being sent."""
    now = clock.now()
    with bare_transaction() as connection:
        connection.execute(
            update(Delivery)
            .where(
                Delivery.id == bindparam("of"),
                Delivery.attempts == bindparam("number"),
                Delivery.state == State.SENDING,
            )
            .values(leased_until=now + LEASE, next_attempt_at=now + LEASE),
            [{"of": one.delivery_id, "number": one.attempt} for one in _all(claims)],
        )


def release(claims: Iterable[Claim]) -> None:
    """Give back claims that were not begun; their attempt does not count."""
    rows = [
        {
            "of": one.delivery_id,
            "number": one.attempt,
            "state": State.QUEUED if one.is_fresh else State.RETRYING,
        }
        for one in _all(claims)
    ]
    if not rows:
        return
    with bare_transaction() as connection:
        connection.execute(
            text(
                "UPDATE delivery SET attempts = attempts - 1, next_attempt_at = :now,"
                " lease_owner = NULL, leased_until = NULL, state = :state"
                " WHERE id = :of AND attempts = :number AND state = 'sending'"
                " AND lease_owner = :owner"
            ).bindparams(bindparam("now", type_=Delivery.next_attempt_at.type)),
            [row | {"now": clock.now(), "owner": processes.owner()} for row in rows],
        )


def _all(claims: Iterable[Claim]) -> Iterator[Claim]:
    return (one for claim in claims for one in claim.whole)


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


def claim(connection: Connection, limit: int, passed_over: Collection[int] = ()) -> Claimed:
    """Lease up to `limit` due deliveries in the caller's transaction."""
    now = clock.now()
    rows = due.due_rows(connection, now, limit, passed_over)
    if not rows:
        return Claimed()
    admitted = admission.admit(connection, rows)
    going = [row for parcel in admitted.parcels for row in parcel.rows]
    if going:
        connection.execute(
            _LEASE,
            {
                "ids": [row.id for row in going],
                "owner": processes.owner(),
                "until": now + LEASE,
            },
        )
    return Claimed(
        claims=_claims(connection, admitted.parcels),
        parked=admitted.parked,
        more=len(rows) >= limit,
    )


_delivery: Final = cast("Table", Delivery.__table__)
_LEASE: Final = (
    update(_delivery)
    .where(_delivery.c.id.in_(bindparam("ids", expanding=True)))
    .values(
        state=State.SENDING,
        attempts=_delivery.c.attempts + 1,
        lease_owner=bindparam("owner"),
        leased_until=bindparam("until"),
        next_attempt_at=bindparam("until"),
    )
)


def _claims(connection: Connection, parcels: Sequence[Parcel]) -> list[Claim]:
    if not parcels:
        return []
    rows = [row for parcel in parcels for row in parcel.rows]
    zones = _zones(connection, {row.recipient for row in rows if row.recipient and row.is_direct})
    preferred = preferences.load(connection)
    channels = {
        channel_id: due.channel_of(row)
        for channel_id, row in {row.channel_id: row for row in rows}.items()
    }
    replaced = _replaced(connection, [row.fallback_for for row in rows if row.fallback_for])

    def made(row: DueRow, others: Iterable[DueRow] = ()) -> Claim:
        return Claim(
            delivery_id=row.id,
            attempt=row.attempts + 1,
            is_fresh=row.state == State.QUEUED and row.attempts == 0,
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
            is_direct=row.is_direct,
            recipient_timezone=zones.get((row.recipient or "").casefold()),
            progress=dict(row.progress or {}),
            channel=channels[row.channel_id],
            stands_in_for=replaced.get(row.fallback_for),
            preferences=preferred,
            others=tuple(made(other) for other in others),
        )

    return [
        made(parcel.leader, [row for row in parcel.rows if row is not parcel.leader])
        for parcel in parcels
    ]


def _replaced(connection: Connection, delivery_ids: Sequence[str]) -> dict[str | None, str]:
    """Return the names of the channels that fallback deliveries stand in for."""
    if not delivery_ids:
        return {}
    found = connection.execute(
        select(Delivery.id, Delivery.channel_name).where(Delivery.id.in_(delivery_ids))
    )
    return {row.id: row.channel_name for row in found}


def _zones(connection: Connection, addresses: Collection[str]) -> dict[str, str | None]:
    if not addresses:
        return {}
    keys = {address.casefold() for address in addresses}
    found = connection.execute(
        select(User.email_key, User.timezone).where(User.email_key.in_(keys))
    )
    return {row.email_key: row.timezone for row in found}
