"""All about one delivery: its attempts, the message as it left, what else became of its event."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.models.delivery import Attempt, Delivery, EventRow, State
from webapp.models.job import Job
from webapp.notify import channels as registry
from webapp.notify.channels.base import Preview
from webapp.services import delivery_lines, rates
from webapp.services.delivery_lines import COLUMNS, Line
from webapp.services.delivery_relations import Relation, not_chosen, relations
from webapp.services.transaction import reading

logger = logging.getLogger(__name__)

MOST: Final = 100  # attempts, and other deliveries of the event


@dataclass(frozen=True, kw_only=True)
class Try:
    """One attempt as the log shows it."""

    number: int
    started_at: datetime
    took: timedelta
    outcome: str
    status: str | None
    message: str
    excerpt: str
    advice: str


@dataclass(frozen=True, kw_only=True)
class Sent:
    """The message as it left, secrets masked."""

    raw: str
    content_type: str
    preview: Preview | None
    """None: this version cannot draw it."""


@dataclass(frozen=True, kw_only=True)
class Detail:
    """All about one delivery."""

    line: Line
    tries: tuple[Try, ...]
    """Latest first."""
    others: tuple[Line, ...]
    """The event's other deliveries, those that were skipped included."""
    message: Sent | None
    occurred_at: datetime
    expires_at: datetime | None
    finished_at: datetime | None
    job_id: int | None
    job_name: str
    run_id: int | None
    resend_of: str | None
    resent_as: str | None
    relations: tuple[Relation, ...]
    not_chosen: tuple[str, ...]
    """Channels that there were, and that were not selected for the event."""
    rests_until: datetime | None = None
    """Until when a waiting message waits because its service asked for a pause."""

    @property
    def mark(self) -> str:
        """Change whenever what is shown changes; a poll that finds it unchanged swaps nothing."""
        rests = "" if self.rests_until is None else ".rests"
        return f"{self.line.state}.{self.line.attempts}.{len(self.others)}{rests}"

    @property
    def next_try_at(self) -> datetime | None:
        """When it is tried next, as far as that is known."""
        moments = (self.line.next_attempt_at, self.rests_until)
        return max((moment for moment in moments if moment is not None), default=None)


def detail(delivery_id: str, *, with_message: bool) -> Detail:
    """Return all about one delivery; the message itself only when asked for.

    Raises:
        NotFoundError: it is not in the log.
    """
    with reading() as session:
        shown = delivery_lines.one(session, delivery_id)
        row = session.execute(
            select(
                Delivery.expires_at,
                Delivery.finished_at,
                Delivery.resend_of,
                Delivery.fallback_for,
                Delivery.bundle_id,
                EventRow.occurred_at,
                EventRow.job_id,
                EventRow.run_id,
                Job.name.label("job_name"),
                *([Delivery.rendered] if with_message else []),
            )
            .join(EventRow, EventRow.id == Delivery.event_id)
            .outerjoin(Job, Job.id == EventRow.job_id)
            .where(Delivery.id == delivery_id)
        ).one()
        siblings = session.execute(
            COLUMNS.where(Delivery.event_id == shown.event_id, Delivery.id != delivery_id)
            .order_by(Delivery.id)
            .limit(MOST)
        ).all()
        resent_as = session.scalar(
            select(Delivery.id)
            .where(Delivery.event_id == shown.event_id, Delivery.resend_of == delivery_id)
            .order_by(Delivery.id.desc())
            .limit(1)
        )
        return Detail(
            line=shown,
            tries=_tries(session, delivery_id),
            others=delivery_lines.lines(session, siblings),
            message=_message(shown.channel_type, row.rendered) if with_message else None,
            occurred_at=row.occurred_at,
            expires_at=row.expires_at,
            finished_at=row.finished_at,
            job_id=row.job_id,
            job_name=row.job_name or "",
            run_id=row.run_id,
            resend_of=row.resend_of,
            resent_as=resent_as,
            relations=relations(
                session, delivery_id, fallback_for=row.fallback_for, bundle_id=row.bundle_id
            ),
            not_chosen=(
                () if shown.is_test else not_chosen(session, shown.event_id, row.occurred_at)
            ),
            rests_until=_rests_until(session, shown),
        )


def _rests_until(session: Session, shown: Line) -> datetime | None:
    if shown.channel_id is None or shown.state not in {State.QUEUED, State.RETRYING}:
        return None
    until = rates.resting(session).get(shown.channel_id)
    due = shown.next_attempt_at
    return None if until is None or (due is not None and until <= due) else until


def _tries(session: Session, delivery_id: str) -> tuple[Try, ...]:
    rows = session.execute(
        select(
            Attempt.number,
            Attempt.started_at,
            Attempt.duration_ms,
            Attempt.outcome,
            Attempt.status,
            Attempt.message,
            Attempt.excerpt,
            Attempt.advice,
        )
        .where(Attempt.delivery_id == delivery_id)
        .order_by(Attempt.number.desc())
        .limit(MOST)
    )
    return tuple(
        Try(
            number=row.number,
            started_at=row.started_at,
            took=timedelta(milliseconds=row.duration_ms),
            outcome=row.outcome,
            status=row.status,
            message=row.message,
            excerpt=row.excerpt,
            advice=row.advice,
        )
        for row in rows
    )


def _message(channel_type: str, rendered: Mapping[str, Any] | None) -> Sent | None:
    if not rendered:
        return None
    body, content_type = str(rendered.get("body", "")), str(rendered.get("content_type", ""))
    kind = registry.BY_TYPE.get(channel_type)
    preview = None
    if kind is not None:
        try:
            preview = kind.preview(body, content_type)
        except (ValueError, LookupError, TypeError, AttributeError):  # made by another version
            logger.info("stored message cannot be drawn", extra={"channel_type": channel_type})
    return Sent(raw=body, content_type=content_type, preview=preview)
