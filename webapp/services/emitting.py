"""Publishes events by hand, as the command line does."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import select

from webapp.core.errors import InvalidError, NotFoundError
from webapp.models.delivery import Delivery, State
from webapp.models.job import Job
from webapp.notify.events import BY_TYPE, Event
from webapp.notify.events.channel_test import ChannelTest
from webapp.services import audit, outbox
from webapp.services.transaction import transaction


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One line of what routing made of the event."""

    delivery_id: str
    channel: str
    recipient: str | None
    queued: bool
    reason: str | None


def emit(
    event_type: str, payload: Mapping[str, Any] | None = None, *, job_name: str | None = None
) -> tuple[str, tuple[Planned, ...]]:
    """Publish an event, a sample when no payload is given; return its id and its deliveries.

    Raises:
        NotFoundError: there is no such event or job.
        InvalidError: the payload lacks fields or has unknown ones, or a job is needed or is not.
    """
    event = _event(event_type, payload)
    if (event.group is None) != (job_name is not None):
        raise InvalidError(
            f"{event.type} belongs to a job: name it with --job."
            if event.group is None
            else f"{event.type} is a system event and belongs to no job."
        )
    with transaction() as session:
        job = session.scalar(select(Job).where(Job.name == job_name)) if job_name else None
        if job_name and job is None:
            raise NotFoundError(f"There is no job “{job_name}”.")
        event_id = outbox.publish(session, event, job=job)
        audit.note(session, "event.published", event.label, after={"event": event_id})
        rows = session.scalars(
            select(Delivery).where(Delivery.event_id == event_id).order_by(Delivery.id)
        ).all()
    return event_id, tuple(
        Planned(
            delivery_id=row.id,
            channel=row.channel_name,
            recipient=row.recipient,
            queued=row.state == State.QUEUED,
            reason=row.reason,
        )
        for row in rows
    )


def _event(event_type: str, payload: Mapping[str, Any] | None) -> Event:
    kind = BY_TYPE.get(event_type)
    if kind is None or kind is ChannelTest:
        raise NotFoundError(f"There is no event “{event_type}”. List them: dbackup events list")
    if payload is None:
        return kind.sample()
    unknown = sorted(set(payload) - {field.name for field in fields(kind)})
    if unknown:
        raise InvalidError(f"{event_type} has no field {', '.join(unknown)}.")
    try:
        return kind.from_payload(payload)
    except TypeError as error:
        names = ", ".join(field.name for field in fields(kind))
        raise InvalidError(f"{event_type} needs more fields; it has {names}.") from error
