"""Identifiers of events and deliveries: UUID version 7, so that they sort by time of creation."""

import os
import threading
import time
import uuid

_lock = threading.Lock()
_last = 0


def uuid7() -> str:
    """Return a new UUIDv7 (RFC 9562, 5.7) as 36 characters of text.

    Ids made by one process increase strictly: the 74 random bits are counted up when two ids
    share a millisecond, so "order by id" is the order of creation there.
    """
    global _last
    with _lock:
        fresh = (time.time_ns() // 1_000_000) << 74 | int.from_bytes(os.urandom(10)) >> 6
        _last = fresh if fresh > _last else _last + 1
        value = _last
    millis, rand_a, rand_b = value >> 74, value >> 62 & 0xFFF, value & ((1 << 62) - 1)
    return str(uuid.UUID(int=millis << 80 | 0x7 << 76 | rand_a << 64 | 0b10 << 62 | rand_b))


def short(identifier: str) -> str:
    """Return the last 8 characters, which is how an id is shown to people."""
    return identifier[-8:]
