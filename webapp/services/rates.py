"""How many messages each target takes now: token buckets in the database.

Buckets belong to targets and not to channels: two channels with the same address share one. They
are shared by all processes and kept over restarts, so that a crash loop floods nobody.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache, lru_cache
from typing import Any, Final

from sqlalchemy import Connection, Insert, bindparam, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from webapp.core import buckets, clock
from webapp.core.buckets import Bucket, Rate
from webapp.core.errors import AppError
from webapp.models.channel import ChannelRow
from webapp.models.setting import RateBucket
from webapp.services import channels
from webapp.services.channels import ChannelCopy, StoredChannel

UNLIMITED: Final = 1_000_000  # more than is ever claimed at once


@dataclass(frozen=True)
class Allowance:
    """How many messages a channel was granted, and when there will be one more."""

    granted: int
    next_at: datetime


def admit(
    connection: Connection, wanted: Iterable[tuple[StoredChannel, int]]
) -> dict[int, Allowance]:
    """Take messages from the buckets of channels, at most as many as each wants.

    Channels without a limit are not in the answer: they get what they want.
    """
    wishes = [(row, count, _keys(row)) for row, count in wanted]
    now = clock.now()
    stored = _stored(connection, {key: rate for _, _, pairs in wishes for key, rate in pairs}, now)
    return {
        row.id: _grant(connection, limited, stored, count, now)
        for row, count, pairs in wishes
        if (limited := [(key, rate) for key, rate in pairs if rate or key in stored])
    }


def _grant(
    connection: Connection,
    pairs: Sequence[tuple[str, Rate | None]],
    stored: dict[str, Bucket],
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
            stored[key] = bucket
            _store(connection, key, bucket)
    return Allowance(granted, next_at)


def block(connection: Connection, row: StoredChannel, until: datetime) -> None:
    """Let a channel's targets rest: the service itself asked for it."""
    pairs = _keys(row)
    now = clock.now()
    stored = _stored(connection, dict(pairs), now)
    for key, rate in pairs:
        bucket = _bucket(stored.get(key), rate, now)
        longest = max(until, bucket.blocked_until or until)
        _store(connection, key, Bucket(bucket.tokens, now, longest))


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


def _bucket(stored: Bucket | None, rate: Rate | None, now: datetime) -> Bucket:
    rate = rate or _BOUNDLESS
    return buckets.full(now, rate) if stored is None else stored.at(now, rate)


def _stored(
    connection: Connection, rates: Mapping[str, Rate | None], now: datetime
) -> dict[str, Bucket]:
    """Return the buckets of these targets, locked; those with a rate are made when they are new."""
    if not rates:
        return {}
    stored = _by_key(connection, rates)
    fresh = {
        key: buckets.full(now, rate) for key, rate in rates.items() if rate and key not in stored
    }
    if not fresh:
        return stored
    # two processes may meet a target at the same time: the second waits for the first one's row
    missing = [_values(key, fresh[key]) for key in sorted(fresh)]
    connection.execute(_add(connection.dialect.name), missing)
    return _by_key(connection, rates)


def _store(connection: Connection, key: str, bucket: Bucket) -> None:
    connection.execute(_put(connection.dialect.name), _values(key, bucket))


def _values(key: str, bucket: Bucket) -> dict[str, Any]:
    return {"key": key} | asdict(bucket)


@cache
def _add(dialect: str) -> Insert:
    statement: Insert = _dialect(dialect).insert(RateBucket).on_conflict_do_nothing()
    return statement


@cache
def _put(dialect: str) -> Insert:
    insert = _dialect(dialect).insert(RateBucket)
    changed = {name: insert.excluded[name] for name in ("tokens", "updated_at", "blocked_until")}
    statement: Insert = insert.on_conflict_do_update(index_elements=["key"], set_=changed)
    return statement


def _dialect(name: str) -> Any:
    return postgresql if name == "postgresql" else sqlite


def _by_key(connection: Connection, keys: Iterable[str]) -> dict[str, Bucket]:
    found = connection.execute(_BY_KEY, {"keys": list(keys)})
    return {row.key: Bucket(row.tokens, row.updated_at, row.blocked_until) for row in found}


_BY_KEY: Final = (
    select(RateBucket.key, RateBucket.tokens, RateBucket.updated_at, RateBucket.blocked_until)
    .where(RateBucket.key.in_(bindparam("keys", expanding=True)))
    .order_by(RateBucket.key)  # in one order, or two processes would wait for each other
    .with_for_update()
)


def _keys(row: StoredChannel) -> tuple[tuple[str, Rate | None], ...]:
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
    channel = channels.open_channel(ChannelCopy(0, channel_type, "", sealed))
    pairs: list[tuple[str, Rate | None]] = [*channel.buckets] or [(channel.target, None)]
    return tuple((hashlib.sha256(target.encode()).hexdigest(), rate) for target, rate in pairs)
