"""Figures for Prometheus.

Sending pays nothing for them: counters are brought up to date from the log when somebody asks,
each row read once. They count what happened since this process started, whoever did it; gauges
are asked of small indexes each time. Labels hold only names that this program knows.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, cast

from flask import Flask, current_app
from sqlalchemy import func, select
from sqlalchemy import text as sql
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from webapp.models.channel import ChannelRow
from webapp.models.delivery import OPEN_STATES, Attempt, Delivery, EventRow, State
from webapp.notify.channels import BY_TYPE as CHANNELS
from webapp.notify.events import BY_TYPE as EVENTS
from webapp.services import health, unseen
from webapp.services.transaction import reading

OTHER: Final = "other"
BATCH: Final = 2000
OVERLAP: Final = 500
"""Rows read again: on PostgreSQL a row may be committed after others with a higher number."""
PROBLEMS: Final = ("database", "dispatcher", "scheduler", "waiting", "disk")
OPEN: Final = (State.QUEUED, State.SENDING, State.RETRYING)
OUTCOMES: Final = ("sent", "transient", "permanent", "lost")
_CALL_SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_DELIVERY_SECONDS: Final = (
    *(0.005, 0.01, 0.05, 0.1, 0.5, 1, 5),
    *(30, 60, 300, 600, 3600, 21_600, 86_400),
)
_KEY: Final = "dbackup_metrics"


@dataclass
class _Reader:
    """Which rows of a growing table were counted."""

    last: Any
    counted: "OrderedDict[Any, None]" = field(default_factory=OrderedDict)

    def fresh(self, rows: Sequence[Any]) -> list[Any]:
        """Return the rows that were not counted yet, and remember them."""
        new = [row for row in rows if row.id not in self.counted]
        self.counted.update((row.id, None) for row in new)
        while len(self.counted) > 4 * OVERLAP + BATCH:
            self.counted.popitem(last=False)
        if new:
            self.last = max(self.last, new[-1].id)
        return new


class Metrics:
    """The figures of one process."""

    def __init__(self) -> None:
        """Begin to count: what is in the log by now was before our time."""
        self._lock = threading.Lock()
        with reading() as session:
            self._attempts = _Reader(session.scalar(select(func.max(Attempt.id))) or 0)
            self._events = _Reader(session.scalar(select(func.max(EventRow.id))) or "")
            for reader, column in ((self._attempts, Attempt.id), (self._events, EventRow.id)):
                latest = session.scalars(select(column).order_by(column.desc()).limit(OVERLAP))
                reader.counted.update((key, None) for key in reversed(latest.all()))
        self._made: _Figures | None = None

    def text(self) -> bytes:
        """Return the figures as they are now."""
        from prometheus_client import generate_latest

        with self._lock:
            self._made = self._made or _Figures()
            # a database that does not answer is a figure, too
            with suppress(SQLAlchemyError), reading() as session:
                self._count_events(session, self._made)
                self._count_attempts(session, self._made)
                self._made.ask(session)
            self._made.ask_health()
            return generate_latest(self._made.registry)

    def _count_events(self, session: Session, figures: "_Figures") -> None:
        overlap = list(self._events.counted)[-OVERLAP:]
        after = min(overlap, default=self._events.last)
        while True:
            found = select(EventRow.id, EventRow.type).where(EventRow.id >= after)
            rows = session.execute(found.order_by(EventRow.id).limit(BATCH)).all()
            for row in self._events.fresh(rows):
                figures.events.labels(_event_type(row.type)).inc()
            if len(rows) < BATCH:
                return
            after = rows[-1].id

    def _count_attempts(self, session: Session, figures: "_Figures") -> None:
        after = self._attempts.last - OVERLAP
        while True:
            rows = session.execute(_ATTEMPTS.where(Attempt.id > after).limit(BATCH)).all()
            for row in self._attempts.fresh(rows):
                figures.count(row)
            if len(rows) < BATCH:
                return
            after = rows[-1].id


_ATTEMPTS: Final = (
    select(
        Attempt.id,
        Attempt.number,
        Attempt.started_at,
        Attempt.duration_ms,
        Attempt.outcome,
        Attempt.status,
        Delivery.state,
        Delivery.attempts,
        Delivery.channel_type,
        Delivery.created_at,
    )
    .join(Delivery, Delivery.id == Attempt.delivery_id)
    .order_by(Attempt.id)
)


class _Figures:
    """The figures by name; the library is loaded when the first of them is made."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self.registry = CollectorRegistry()
        self.events = Counter(
            "dbackup_events", "Events published.", ["type"], registry=self.registry
        )
        self.attempts = Counter(
            "dbackup_attempts",
            "Attempts to deliver, by what became of them.",
            ["channel_type", "outcome", "reason"],
            registry=self.registry,
        )
        self.sent = Counter(
            "dbackup_sent", "Deliveries that arrived.", ["channel_type"], registry=self.registry
        )
        self.failed = Counter(
            "dbackup_failed",
            "Deliveries given up with their last attempt, by its reason.",
            ["channel_type", "reason"],
            registry=self.registry,
        )
        self.call_seconds = Histogram(
            "dbackup_attempt_seconds",
            "How long one attempt took.",
            ["channel_type"],
            buckets=_CALL_SECONDS,
            registry=self.registry,
        )
        self.delivery_seconds = Histogram(
            "dbackup_delivery_seconds",
            "From the commit of an event to the answer of the service that took it.",
            ["channel_type"],
            buckets=_DELIVERY_SECONDS,
            registry=self.registry,
        )
        self.open = Gauge(
            "dbackup_queued",
            "Deliveries on their way, by where they stand.",
            ["channel_type", "state"],
            registry=self.registry,
        )
        self.oldest = Gauge(
            "dbackup_oldest_waiting_seconds",
            "Age of the oldest delivery on its way.",
            registry=self.registry,
        )
        self.broken = Gauge(
            "dbackup_channels_broken", "Broken channels.", ["channel_type"], registry=self.registry
        )
        self.expired = Gauge(
            "dbackup_expired_unseen",
            "Expired messages that nobody looked at, up to 101.",
            registry=self.registry,
        )
        self.problem = Gauge(
            "dbackup_problem",
            "1 while this keeps an alarm from going out.",
            ["kind"],
            registry=self.registry,
        )

    def count(self, row: Any) -> None:
        """Count one attempt."""
        kind, why = _channel_type(row.channel_type), reason(row.outcome, row.status)
        outcome = row.outcome if row.outcome in OUTCOMES else OTHER
        self.attempts.labels(kind, outcome, why).inc()
        took = row.duration_ms / 1000
        if outcome != "lost":
            self.call_seconds.labels(kind).observe(took)
        if outcome == "sent":
            self.sent.labels(kind).inc()
            arrived = row.started_at + timedelta(seconds=took)
            waited = (arrived - row.created_at).total_seconds()
            self.delivery_seconds.labels(kind).observe(max(waited, 0.0))
        elif row.state in {State.FAILED, State.EXPIRED} and row.number == row.attempts:
            self.failed.labels(kind, why).inc()

    def ask(self, session: Session) -> None:
        """Bring the gauges of the database up to date; only open deliveries are looked at."""
        self.open.clear()
        for kind in CHANNELS:
            for state in OPEN:
                self.open.labels(kind, state.value).set(0)
        found = select(Delivery.channel_type, Delivery.state, func.count()).where(sql(OPEN_STATES))
        waiting = found.where(Delivery.next_attempt_at.is_not(None))
        by_both = waiting.group_by(Delivery.channel_type, Delivery.state)
        for kind, stands, count in session.execute(by_both):
            self.open.labels(_channel_type(kind), stands).inc(count)
        self.broken.clear()
        broken = select(ChannelRow.type, func.count()).where(ChannelRow.broken_at.is_not(None))
        for kind, count in session.execute(broken.group_by(ChannelRow.type)):
            self.broken.labels(_channel_type(kind)).inc(count)

    def ask_health(self) -> None:
        """Bring what the overview says up to date."""
        wrong = {problem.key for problem in health.look()}
        for key in PROBLEMS:
            self.problem.labels(key).set(key in wrong)
        if "database" in wrong:
            return
        self.oldest.set(health.oldest_waiting().total_seconds())
        self.expired.set(unseen.expired().count)


def reason(outcome: str, status: str | None) -> str:
    """Return the class of a result: its kind of status, never anybody's words."""
    if outcome in {"sent", "lost"}:
        return "none" if outcome == "sent" else "lost"
    code = (status or "").partition(" ")[0]
    if not code:
        return "no_answer"
    if code == "429":
        return "429"
    if len(code) == 3 and code.isascii() and code.isdigit():
        return f"{code[0]}xx"
    return OTHER


def _channel_type(name: str) -> str:
    return name if name in CHANNELS else OTHER


def _event_type(name: str) -> str:
    return name if name in EVENTS else OTHER


def begin(app: Flask) -> None:
    """Count from now on."""
    app.extensions[_KEY] = Metrics()


def text() -> bytes:
    """Return the figures in the text format of Prometheus."""
    if _KEY not in current_app.extensions:
        begin(current_app)
    return cast("Metrics", current_app.extensions[_KEY]).text()
