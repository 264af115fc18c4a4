"""Looks for deliveries that are due, with everything that sending them needs.

The statements are built once: building one anew took as long as running it. The planner walks
ix_delivery_open and looks the other two tables up by key; a test asserts it.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final, cast

from sqlalchemy import Connection, Table, bindparam, insert, or_, select, update

from webapp.models.channel import ChannelRow
from webapp.models.delivery import Attempt, Delivery, EventRow, State
from webapp.notify.events.channel_test import ChannelTest
from webapp.services.channels import ChannelCopy
from webapp.services.routing import CHANNEL_OFF

CHANNEL_GONE: Final = "The channel was deleted."
LEASE_LOST: Final = "No result before the lease ran out: the process was stopped while sending."
EXPIRED: Final = "It could not be delivered within 24 hours."

DueRow = Any
"""A row of `DUE`, whose columns SQLAlchemy cannot type by name."""

_delivery: Final = cast("Table", Delivery.__table__)
_event: Final = cast("Table", EventRow.__table__)
_channel: Final = cast("Table", ChannelRow.__table__)
_NOT_PASSED: Final = or_(
    _delivery.c.channel_id.is_(None),
    _delivery.c.channel_id.not_in(bindparam("passed", expanding=True)),
)
_OPEN: Final = (
    select(
        _delivery.c.id,
        _delivery.c.state,
        _delivery.c.attempts,
        _delivery.c.created_at,
        _delivery.c.expires_at,
        _delivery.c.channel_id,
        _delivery.c.recipient,
        _delivery.c.is_direct,
        _delivery.c.progress,
        _delivery.c.event_id,
        _delivery.c.bundle_id,
        _delivery.c.fallback_for,
        _event.c.type.label("event_type"),
        _event.c.payload,
        _event.c.occurred_at,
        _event.c.is_test,
        _event.c.job_id,
        _channel.c.type.label("channel_type"),
        _channel.c.name.label("channel_name"),
        _channel.c.config,
        _channel.c.enabled,
    )
    .select_from(
        _delivery.join(_event, _event.c.id == _delivery.c.event_id).outerjoin(
            _channel, _channel.c.id == _delivery.c.channel_id
        )
    )
    .where(_delivery.c.next_attempt_at <= bindparam("now"))
    .order_by(_delivery.c.next_attempt_at, _delivery.c.id)
    .with_for_update(of=_delivery, skip_locked=True)
)
DUE: Final = _OPEN.where(_NOT_PASSED).limit(bindparam("limit"))
_BUNDLED: Final = _OPEN.where(_delivery.c.bundle_id.in_(bindparam("bundles", expanding=True)))
_NEXT: Final = (
    select(_delivery.c.next_attempt_at)
    .where(_delivery.c.next_attempt_at.is_not(None), _NOT_PASSED)
    .order_by(_delivery.c.next_attempt_at)
    .limit(1)
)


def due_rows(
    connection: Connection, now: datetime, limit: int, passed_over: Collection[int]
) -> list[DueRow]:
    """Return deliveries that are due, oldest first and bundles whole, locked where databases can.

    What must not be sent any more is closed on the way, with its reason.
    """
    rows = list(connection.execute(DUE, _given(passed_over) | {"now": now, "limit": limit}))
    bundles = {row.bundle_id for row in rows if row.bundle_id}
    if bundles:
        known = {row.id for row in rows}
        whole = connection.execute(_BUNDLED, {"now": now, "bundles": list(bundles)})
        rows += [row for row in whole if row.id not in known]
    return [row for row in rows if not _closed_without_attempt(connection, row, now)]


def channel_of(row: DueRow) -> ChannelCopy:
    """Return the channel of a due delivery as it is now."""
    return ChannelCopy(row.channel_id, row.channel_type, row.channel_name, row.config)


def next_due(connection: Connection, passed_over: Collection[int]) -> datetime | None:
    """Return when the next open delivery of other channels becomes due (or its lease ends)."""
    found: datetime | None = connection.scalar(_NEXT, _given(passed_over))
    return found


def _given(passed_over: Collection[int]) -> dict[str, Any]:
    return {"passed": list(passed_over)}


def _closed_without_attempt(connection: Connection, row: DueRow, now: datetime) -> bool:
    """Close a due delivery that must not be sent any more; say whether that was so."""
    if row.state == State.SENDING:
        _write_lost_attempt(connection, row, now)
    if row.state == State.SENDING and row.expires_at is not None and now >= row.expires_at:
        # others get one last try however late: the server may have been off for longer than a day
        values: dict[str, Any] = {"state": State.EXPIRED, "reason": EXPIRED}
    elif row.config is None:
        values = {"state": State.FAILED, "reason": CHANNEL_GONE}
    elif not row.enabled and row.event_type != ChannelTest.type:
        # somebody may test a channel before switching it on
        values = {"state": State.SKIPPED, "reason": CHANNEL_OFF}
    else:
        return False
    connection.execute(
        update(Delivery)
        .where(Delivery.id == row.id)
        .values(
            **values, finished_at=now, next_attempt_at=None, lease_owner=None, leased_until=None
        )
    )
    return True


def _write_lost_attempt(connection: Connection, row: DueRow, now: datetime) -> None:
    known = connection.scalar(
        select(Attempt.id).where(Attempt.delivery_id == row.id, Attempt.number == row.attempts)
    )
    if known is None:
        connection.execute(
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
