"""A token bucket as a value: how many messages may go now, and when the next one may."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta


@dataclass(frozen=True)
class Rate:
    """One message per `seconds`, `burst` at once."""

    seconds: float
    burst: int


@dataclass(frozen=True)
class Bucket:
    """A bucket at a moment. Tokens grow with time up to the burst."""

    tokens: float
    updated_at: datetime
    blocked_until: datetime | None = None
    """Set by the service's own "too many requests"."""

    def at(self, now: datetime, rate: Rate) -> "Bucket":
        """Return the bucket as it is now. A clock that went back adds nothing."""
        passed = max((now - self.updated_at).total_seconds(), 0.0)
        tokens = min(self.tokens + passed / rate.seconds, float(rate.burst))
        blocked = self.blocked_until if self.blocked_until and self.blocked_until > now else None
        return Bucket(tokens, now, blocked)

    def available(self) -> int:
        """Return how many messages may go now."""
        return 0 if self.blocked_until else int(self.tokens + 1e-9)

    def take(self, count: int) -> "Bucket":
        """Return the bucket after so many messages."""
        return replace(self, tokens=self.tokens - count)

    def next_at(self, rate: Rate) -> datetime:
        """Return when the next message may go."""
        missing = max(1.0 - self.tokens, 0.0)
        refilled = self.updated_at + timedelta(seconds=missing * rate.seconds)
        return max(refilled, self.blocked_until or refilled)


def full(now: datetime, rate: Rate) -> Bucket:
    """Return a bucket that nobody took from yet."""
    return Bucket(float(rate.burst), now)
