"""One delivery as every list shows it: the log, the other deliveries of its event, the overview."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.core.errors import NotFoundError
from webapp.models.delivery import CLOSED_STATES, Attempt, Delivery, EventRow, State
from webapp.notify.events import BY_TYPE
from webapp.notify.message import Reader
from webapp.services import preferences
from webapp.services.preferences import Preferences
from webapp.services.transaction import reading

OPEN: Final = frozenset({State.QUEUED, State.SENDING, State.RETRYING})
GONE: Final = "This delivery is not in the log (any more)."


@dataclass(frozen=True, kw_only=True)
class Line:
    """One delivery as a list shows it."""

    id: str
    event_id: str
    event_type: str
    title: str
    is_test: bool
    channel_id: int | None
    channel_name: str
    channel_type: str
    recipient: str | None
    is_direct: bool
    state: str
    reason: str | None
    needs_you: bool
    attempts: int
    created_at: datetime
    next_attempt_at: datetime | None
    took: timedelta | None
    """Duration of the latest attempt."""

    @property
    def is_open(self) -> bool:
        """Say whether it is still on its way."""
        return self.state in OPEN

    @property
    def can_resend(self) -> bool:
        """Say whether it may be sent again, or tried at once while it waits for its next try."""
        closed = self.state in CLOSED_STATES
        return not self.is_test and (closed or self.state == State.RETRYING)

    @property
    def kind(self) -> str:
        """What made it: a job, a system event or a test."""
        if self.event_type == "channel_test":
            return "Channel test"
        event = BY_TYPE.get(self.event_type)
        return "System event" if event is None or event.group else "Job notification"


COLUMNS: Final[Any] = select(
    Delivery.id,
    Delivery.event_id,
    Delivery.channel_id,
    Delivery.channel_name,
    Delivery.channel_type,
    Delivery.recipient,
    Delivery.is_direct,
    Delivery.state,
    Delivery.reason,
    Delivery.needs_you,
    Delivery.attempts,
    Delivery.created_at,
    Delivery.next_attempt_at,
    EventRow.type.label("event_type"),
    EventRow.payload,
    EventRow.is_test,
).join(EventRow, EventRow.id == Delivery.event_id)
"""What `lines` needs of a row; narrow it as you like."""


def line(delivery_id: str) -> Line:
    """Return one delivery as the list shows it.

    Raises:
        NotFoundError: it is not in the log.
    """
    with reading() as session:
        return one(session, delivery_id)


def lines_of(session: Session, delivery_ids: Sequence[str]) -> tuple[Line, ...]:
    """Return these deliveries as lists show them, newest first."""
    rows = session.execute(
        COLUMNS.where(Delivery.id.in_(delivery_ids)).order_by(Delivery.id.desc())
    )
    return lines(session, rows)


def one(session: Session, delivery_id: str) -> Line:
    """Return one delivery from the caller's look at the database.

    Raises:
        NotFoundError: it is not in the log.
    """
    row = session.execute(COLUMNS.where(Delivery.id == delivery_id)).one_or_none()
    if row is None:
        raise NotFoundError(GONE)
    return lines(session, [row])[0]


def lines(session: Session, rows: Iterable[Any]) -> tuple[Line, ...]:
    """Return rows of COLUMNS as lines."""
    rows = list(rows)
    if not rows:
        return ()
    reader = preferences.load(session.connection())
    took = dict(
        session.execute(
            select(Attempt.delivery_id, Attempt.duration_ms)
            .where(Attempt.delivery_id.in_([row.id for row in rows]))
            .order_by(Attempt.number)
        ).all()
    )
    return tuple(_line(row, reader, took.get(row.id)) for row in rows)


def _line(row: Any, preferred: Preferences, took_ms: int | None) -> Line:
    return Line(
        id=row.id,
        event_id=row.event_id,
        event_type=row.event_type,
        title=_title(row.event_type, row.payload, preferred, to_user=row.is_direct),
        is_test=row.is_test,
        channel_id=row.channel_id,
        channel_name=row.channel_name,
        channel_type=row.channel_type,
        recipient=row.recipient,
        is_direct=row.is_direct,
        state=row.state,
        reason=row.reason,
        needs_you=row.needs_you,
        attempts=row.attempts,
        created_at=row.created_at,
        next_attempt_at=row.next_attempt_at,
        took=None if took_ms is None else timedelta(milliseconds=took_ms),
    )


def _title(
    event_type: str, payload: Mapping[str, Any], preferred: Preferences, *, to_user: bool
) -> str:
    event = BY_TYPE.get(event_type)
    if event is None:
        return event_type
    reader = Reader(
        timezone=preferred.timezone,
        base_url=preferred.base_url,
        instance=preferred.instance_name,
        is_the_user=to_user,
    )
    try:
        return event.from_payload(payload).say(reader).title
    except (TypeError, ValueError):  # written by another version
        return event.label
