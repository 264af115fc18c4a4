"""Decides which due deliveries go now: as many messages as their targets take, one for several
when a storm outgrows that.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, update

from webapp.models.delivery import Delivery
from webapp.notify import channels as channel_types
from webapp.notify import events as event_types
from webapp.services import bundles, due, rates
from webapp.services.due import DueRow

BUNDLE_FROM: Final = 5  # fewer than that wait for their turn one by one
BUNDLE_LIMIT: Final = 50  # events that one message names


@dataclass(frozen=True)
class Parcel:
    """What goes as one message: one delivery, or several of one cause."""

    rows: tuple[DueRow, ...]

    @property
    def leader(self) -> DueRow:
        """The delivery whose id the message bears."""
        return next((row for row in self.rows if row.id == row.bundle_id), self.rows[0])


@dataclass
class Admitted:
    """What goes now, and which channels have more later."""

    parcels: list[Parcel] = field(default_factory=list)
    parked: dict[int, datetime] = field(default_factory=dict)


def admit(connection: Connection, rows: Sequence[DueRow]) -> Admitted:
    """Take what the buckets of the channels grant; the rest stays where it is."""
    waiting: dict[int, list[Parcel]] = {}
    for parcel in _parcels(rows):
        waiting.setdefault(parcel.rows[0].channel_id, []).append(parcel)
    allowed = rates.admit(
        connection,
        [(due.channel_of(parcels[0].rows[0]), len(parcels)) for parcels in waiting.values()],
    )
    admitted = Admitted()
    for channel_id, parcels in waiting.items():
        allowance = allowed.get(channel_id)
        if allowance is None or allowance.granted == len(parcels):
            admitted.parcels += parcels
            continue
        admitted.parcels += _bundled(connection, parcels, allowance.granted)
        admitted.parked[channel_id] = allowance.next_at
    return admitted


def _parcels(rows: Iterable[DueRow]) -> Iterator[Parcel]:
    bundles: dict[str, list[DueRow]] = {}
    for row in rows:
        if row.bundle_id is None:
            yield Parcel((row,))
        else:
            bundles.setdefault(row.bundle_id, []).append(row)
    for members in bundles.values():
        yield Parcel(tuple(members))


def _bundled(connection: Connection, parcels: list[Parcel], granted: int) -> list[Parcel]:
    """Return as many parcels as were granted; the last one may take others of its cause along."""
    going = parcels[:granted]
    if not going or not _may_be_bundled(going[-1]):
        return going
    last = going[-1]
    others = [
        parcel
        for parcel in parcels[granted:]
        if _may_be_bundled(parcel) and _is_alike(parcel.rows[0], last.rows[0])
    ]
    if len(others) < BUNDLE_FROM:
        return going
    rows = [last.rows[0], *(parcel.rows[0] for parcel in others[: BUNDLE_LIMIT - 1])]
    bundle = tuple(rows[: _named_by_one_message(rows)])
    if len(bundle) < 2:
        return going
    connection.execute(
        update(Delivery)
        .where(Delivery.id.in_([row.id for row in bundle]))
        .values(bundle_id=last.rows[0].id)
    )
    return [*going[:-1], Parcel(bundle)]


def _named_by_one_message(rows: Sequence[DueRow]) -> int:
    channel_type = channel_types.BY_TYPE.get(rows[0].channel_type)
    event_type = event_types.BY_TYPE.get(rows[0].event_type)
    if channel_type is None or event_type is None:
        return 1  # of another version: the sender says so, one by one
    try:
        events = [(event_type.from_payload(row.payload), row.occurred_at) for row in rows]
    except TypeError:
        return 1
    return bundles.fitting(events, channel_type.bundle_characters)


def _is_alike(row: DueRow, other: DueRow) -> bool:
    return bool(row.event_type == other.event_type and row.recipient == other.recipient)


def _may_be_bundled(parcel: Parcel) -> bool:
    """Tests, direct mail, stand-ins and what was tried before go on their own."""
    [row, *more] = parcel.rows
    return not (
        more
        or row.is_test
        or row.is_direct
        or row.fallback_for
        or row.attempts
        or row.bundle_id is not None
    )
