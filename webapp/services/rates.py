"""How many messages each target takes now: token buckets in the database.

Buckets belong to targets and not to channels: two channels with the same address share one. They
are shared by all processes and kept over restarts, so that a crash loop floods nobody.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache
from typing import Final

from sqlalchemy import Insert, bindparam, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from webapp.core import buckets, clock
from webapp.core.buckets import Bucket, Rate
from webapp.core.errors import AppError
from webapp.models.channel import ChannelRow
from webapp.models.setting import RateBucket
from webapp.services import channels

UNLIMITED: Final = 1_000_000  # more than is ever claimed at once


@dataclass(frozen=True)
class Allowance:
    """How many messages a channel was granted, and when there will be one more."""

    granted: int
    next_at: datetime


def admit(session: Session, wanted: Iterable[tuple[ChannelRow, int]]) -> dict[int, Allowance]:
    """Take messages from the buckets of channels, at most as many as each wants.

    Channels without a limit are not in the answer: they get what they want.
    """
    wishes = [(row, count, _keys(row)) for row, count in wanted]
    now = clock.now()
    stored = _stored(session, {key: rate for _, _, pairs in wishes for key, rate in pairs}, now)
    return {
        row.id: _grant(session, limited, stored, count, now)
        for row, count, pairs in wishes
        if (limited := [(key, rate) for key, rate in pairs if rate or key in stored])
    }


def _grant(
    session: Session,
    pairs: Sequence[tuple[str, Rate | None]],
    stored: dict[str, RateBucket],
    count: int,
    now: datetime,
) -> Allowance:
    present = {key: _bucket(stored.get(key), rate, now) for key, rate in pairs}
    granted = min(count, *(bucket.available() for bucket in present.values()))
    next_at = now
    for key, rate in pairs:
        bucket = present[key].take(granted)
        next_at = max(next_at, bucket.next_at(rate or _BOUNDLESS))
        if granted:
            stored[key] = _store(session, key, bucket, stored.get(key))
    return Allowance(granted, next_at)


def block(session: Session, row: ChannelRow, until: datetime) -> None:
    """Let a channel's targets rest: the service itself asked for it."""
    pairs = _keys(row)
    now = clock.now()
    stored = _stored(session, dict(pairs), now)
    for key, rate in pairs:
        bucket = _bucket(stored.get(key), rate, now)
        longest = max(until, bucket.blocked_until or until)
        _store(session, key, Bucket(bucket.tokens, now, longest), stored.get(key))


def resting(session: Session) -> dict[int, datetime]:
    """Return until when channels get nothing because their services asked for it."""
    now = clock.now()
    blocked: dict[str, datetime] = {
        row.key: row.blocked_until for row in session.execute(_BLOCKED, {"now": now})
    }
    if not blocked:
        return {}
    found = {
        row.id: max((blocked.get(key, now) for key, _ in _keys(row)), default=now)
        for row in session.scalars(select(ChannelRow))
    }
    return {channel_id: until for channel_id, until in found.items() if until > now}


_BLOCKED: Final = select(RateBucket.key, RateBucket.blocked_until).where(
    RateBucket.blocked_until > bindparam("now")
)
_BOUNDLESS: Final = Rate(seconds=0.001, burst=UNLIMITED)


def _bucket(stored: RateBucket | None, rate: Rate | None, now: datetime) -> Bucket:
    rate = rate or _BOUNDLESS
    if stored is None:
        return buckets.full(now, rate)
    return Bucket(stored.tokens, stored.updated_at, stored.blocked_until).at(now, rate)


def _store(session: Session, key: str, bucket: Bucket, stored: RateBucket | None) -> RateBucket:
    if stored is None:
        stored = RateBucket(key=key)
        session.add(stored)
    stored.tokens = bucket.tokens
    stored.updated_at = bucket.updated_at
    stored.blocked_until = bucket.blocked_until
    session.flush()
    return stored


def _stored(
    session: Session, rates: Mapping[str, Rate | None], now: datetime
) -> dict[str, RateBucket]:
    """Return the buckets of these targets, locked; those with a rate are made when they are new."""
    if not rates:
        return {}
    if not any(rates.values()):  # the usual case of the admin's own servers: none, and none is made
        known = session.connection().execute(_KNOWN, {"keys": list(rates)}).first()
        if known is None:
            return {}
    stored = _by_key(session, rates)
    fresh = [
        {"key": key, "tokens": rate.burst, "updated_at": now, "blocked_until": None}
        for key, rate in sorted(rates.items(), key=lambda pair: pair[0])
        if rate and key not in stored
    ]
    if not fresh:
        return stored
    # two processes may meet a target at the same time: the second waits for the first one's row
    session.connection().execute(_insert(session.get_bind().dialect.name), fresh)
    return _by_key(session, rates)


@cache
def _insert(dialect: str) -> Insert:
    fresh = (postgresql if dialect == "postgresql" else sqlite).insert(RateBucket)
    statement: Insert = fresh.on_conflict_do_nothing()
    return statement


def _by_key(session: Session, keys: Iterable[str]) -> dict[str, RateBucket]:
    found = session.scalars(_BY_KEY, {"keys": list(keys)})
    return {bucket.key: bucket for bucket in found}


_KNOWN: Final = (
    select(RateBucket.key).where(RateBucket.key.in_(bindparam("keys", expanding=True))).limit(1)
)
_BY_KEY: Final = (
    select(RateBucket)
    .where(RateBucket.key.in_(bindparam("keys", expanding=True)))
    .order_by(RateBucket.key)  # in one order, or two processes would wait for each other
    .with_for_update()
)


def _keys(row: ChannelRow) -> tuple[tuple[str, Rate | None], ...]:
    """Return the hashed targets of a channel with their rates (None: no limit of ours)."""
    try:
        return _keys_of(row.type, row.config)
    except AppError:  # its deliveries will say what is wrong with it
        return ()


@lru_cache(maxsize=256)
def _keys_of(channel_type: str, sealed: str) -> tuple[tuple[str, Rate | None], ...]:
    """Cached by the sealed configuration: an edit seals it anew. After the rotation of a secret
    that is kept elsewhere the old target's bucket goes on to count, which delays nobody for long.
    """
    channel = channels.open_channel(ChannelRow(type=channel_type, config=sealed))
    pairs: list[tuple[str, Rate | None]] = [*channel.buckets] or [(channel.target, None)]
    return tuple((hashlib.sha256(target.encode()).hexdigest(), rate) for target, rate in pairs)
