"""Messages that were given up unsent and that nobody has looked at yet."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from webapp.core import clock
from webapp.models.delivery import IS_UNSEEN, Delivery, EventRow
from webapp.services import audit, delivery_lines
from webapp.services.delivery_lines import Line
from webapp.services.transaction import reading, transaction

SHOWN: Final = 5
MOST: Final = 100


@dataclass(frozen=True, kw_only=True)
class Unseen:
    """What the overview lists until somebody looks."""

    lines: tuple[Line, ...]
    """The newest ones."""
    count: int
    """At most MOST + 1."""

    def __bool__(self) -> bool:
        """Say whether there are any."""
        return self.count > 0


def expired() -> Unseen:
    """Return the expired messages that nobody has seen; tests do not count."""
    with reading() as session:
        ids = session.scalars(
            select(Delivery.id)
            .join(EventRow, EventRow.id == Delivery.event_id)
            .where(text(IS_UNSEEN), ~EventRow.is_test)
            .order_by(Delivery.id.desc())
            .limit(MOST + 1)
        ).all()
        return Unseen(lines=delivery_lines.lines_of(session, ids[:SHOWN]), count=len(ids))


def mark(delivery_id: str) -> None:
    """Note that somebody looked at an expired message."""
    with reading() as session:  # most are none, and need no write lock
        unseen = select(Delivery.id).where(Delivery.id == delivery_id, text(IS_UNSEEN))
        if session.scalar(unseen) is None:
            return
    with transaction() as session:
        _mark(session, Delivery.id == delivery_id)


def mark_all() -> int:
    """Note that somebody knows of all of them; return how many."""
    with transaction() as session:
        count = _mark(session)
        if count:
            audit.note(session, "deliveries.seen", after={"count": count})
        return count


def _mark(session: Session, *which: object) -> int:
    marked = session.execute(
        update(Delivery)
        .where(text(IS_UNSEEN), *which)  # type: ignore[arg-type]
        .values(seen_at=clock.now())
        .returning(Delivery.id)
        .execution_options(synchronize_session=False)
    )
    return len(marked.all())
