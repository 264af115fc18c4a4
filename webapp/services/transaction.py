"""Where a write transaction begins and ends. Nothing else in the product commits."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Final

from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from webapp.core import ballast, bell
from webapp.models import db

RING: Final = "ring"  # key in Session.info: there is something new for the dispatcher

_CONFLICTS: Final = frozenset({"40001", "40P01"})  # serialization_failure, deadlock_detected

# SQLite has one writer. Threads that wait here wake in turn; threads that wait inside SQLite
# sleep and poll, which took the 99th percentile of a toggle under load from 44 to 250 ms.
_one_writer = threading.Lock()
_state = threading.local()

logger = logging.getLogger(__name__)


@contextmanager
def transaction(*, is_durable: bool = True) -> Iterator[Session]:
    """Open a write transaction (BEGIN IMMEDIATE on SQLite); commit it, or roll back on an error.

    Rows stay readable after the commit. When something was published, the dispatcher is woken
    after the commit. Transactions do not nest.

    A transaction that is not durable survives the end of the process, but perhaps no power cut
    until the next durable one is committed (SQLite); its commit does not wait for the disk.

    Raises:
        RuntimeError: this thread is in a transaction already. A use case calls helpers that take
            a session, not other use cases.
    """
    if getattr(_state, "open", False):
        raise RuntimeError("transactions do not nest; pass the session to a helper instead")
    engine = db.engine
    on_sqlite = engine.dialect.name == "sqlite"
    _state.open = True
    try:
        with (
            _one_writer if on_sqlite else nullcontext(),
            _room_on_disk(engine) if on_sqlite else nullcontext(),
            Session(engine, expire_on_commit=False) as session,
        ):
            session.connection(
                execution_options={
                    "sqlite_begin": "IMMEDIATE",
                    "sqlite_synchronous": "FULL" if is_durable else "NORMAL",
                }
            )
            yield session
            session.commit()
    finally:
        _state.open = False
    if session.info.get(RING):
        bell.ring()


def is_conflict(error: Exception) -> bool:
    """Say whether PostgreSQL ended a transaction in favour of another one; the next try works."""
    cause = error.orig if isinstance(error, OperationalError) else None
    return getattr(cause, "sqlstate", None) in _CONFLICTS


@contextmanager
def _room_on_disk(engine: Engine) -> Iterator[None]:
    """Give up the ballast rather than fail: before the transaction when little room is left, or
    after a failure when a quota hid that, so that the next try succeeds.
    """
    path = ballast.beside(engine.url.database or "")
    if ballast.give_up_when_low(path):
        logger.error("the disk is almost full; the ballast was given up")
    try:
        yield
    except OperationalError as error:
        if "disk is full" in str(error.orig) and ballast.give_up(path):
            logger.error("the disk is full; the ballast was given up")
        raise


@contextmanager
def reading() -> Iterator[Session]:
    """Open a read-only look at the database; rows stay readable afterwards, changes are lost."""
    with Session(db.engine, expire_on_commit=False, autoflush=False) as session:
        yield session
