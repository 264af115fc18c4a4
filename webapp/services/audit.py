"""Writes the audit log: who did what, from where, in the transaction that did it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy.orm import Session

from webapp.core import clock
from webapp.core.text import one_line
from webapp.models.audit import AuditEntry
from webapp.services.transaction import transaction

CHANGED: Final = "changed"
"""Stands for a secret's value."""
NAME_LIMIT: Final = 120
OBJECT_LIMIT: Final = 300
ADDRESS_LIMIT: Final = 60

# of the table, not the class: it runs on every click, and nobody needs the row
_INSERT: Final = AuditEntry.__table__.insert()  # type: ignore[attr-defined]

Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Actor:
    """Who is acting; without an id it is no account of ours."""

    name: str
    user_id: int | None = None
    ip_address: str = ""


SYSTEM: Final = Actor("system")
"""DBackup itself: schedules, the dispatcher, whatever nobody asked for."""
_who: ContextVar[Callable[[], Actor] | None] = ContextVar("actor", default=None)


def act_as(who: Callable[[], Actor] | None) -> None:
    """Attribute what this thread does from now on; `who` is asked only when something is noted."""
    _who.set(who)


@contextmanager
def acting(actor: Actor) -> Iterator[None]:
    """Attribute what happens inside to somebody."""
    before = _who.get()
    act_as(lambda: actor)
    try:
        yield
    finally:
        act_as(before)


def actor() -> Actor:
    """Return who is acting in this thread."""
    who = _who.get()
    return SYSTEM if who is None else who()


def note(
    session: Session,
    action: str,
    object: str = "",
    *,
    before: Facts | None = None,
    after: Facts | None = None,
    by: Actor | None = None,
) -> None:
    """Write one entry in this transaction. Secrets must be `CHANGED` in both mappings already."""
    who = by or actor()
    session.connection().execute(
        _INSERT,
        {
            "at": clock.now(),
            "user_id": who.user_id,
            "user_name": one_line(who.name)[:NAME_LIMIT],
            "ip_address": who.ip_address[:ADDRESS_LIMIT],
            "action": action,
            "object": one_line(object)[:OBJECT_LIMIT],
            "before": dict(before) if before else None,
            "after": dict(after) if after else None,
        },
    )


def note_change(session: Session, action: str, object: str, before: Facts, after: Facts) -> None:
    """Write an entry with only the fields that differ; nothing when none does."""
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    if names:
        note(
            session,
            action,
            object,
            before={name: before.get(name) for name in names},
            after={name: after.get(name) for name in names},
        )


def note_alone(action: str, object: str = "", *, after: Facts | None = None) -> None:
    """Write one entry for something that changed nothing of ours: a download."""
    with transaction() as session:
        note(session, action, object, after=after)
