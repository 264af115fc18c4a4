"""Where a write transaction begins and ends. Nothing else in the product commits."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Final

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, OperationalError
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
    with _turn_to_write(db.engine), Session(db.engine, expire_on_commit=False) as session:
        session.connection(execution_options=_options(is_durable=is_durable))
        yield session
        session.commit()
    if session.info.get(RING):
        bell.ring()


class KeptConnection:
    """A connection for many short transactions of one thread, opened by the first of them.

    When it was cut meanwhile, the next transaction fails, see `was_cut`, and the one after that
    connects anew.
    """

    def __init__(self) -> None:
        self._connection: Connection | None = None

    @contextmanager
    def lent(self) -> Iterator[Connection]:
        """Give it for one transaction."""
        if self._connection is None:
            self._connection = db.engine.connect()
        yield self._connection

    def close(self) -> None:
        """Give it back to the pool."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@contextmanager
def bare_transaction(
    kept: KeptConnection | None = None, *, is_durable: bool = True
) -> Iterator[Connection]:
    """Open a write transaction for statements alone, over a kept connection or one from the pool.

    Without rows as objects it costs a third, and every message waits for one such transaction.
    Nobody is woken after it.
    """
    with (
        _turn_to_write(db.engine),
        kept.lent() if kept is not None else db.engine.connect() as connection,
    ):
        connection.execution_options(**_options(is_durable=is_durable))
        with connection.begin():
            yield connection


def _options(*, is_durable: bool) -> dict[str, str]:
    return {
        "sqlite_begin": "IMMEDIATE",
        "sqlite_synchronous": "FULL" if is_durable else "NORMAL",
    }


@contextmanager
def _turn_to_write(engine: Engine) -> Iterator[None]:
    if getattr(_state, "open", False):
        raise RuntimeError("transactions do not nest; pass the session to a helper instead")
    on_sqlite = engine.dialect.name == "sqlite"
    _state.open = True
    try:
        with (
            _one_writer if on_sqlite else nullcontext(),
            _room_on_disk(engine) if on_sqlite else nullcontext(),
        ):
            yield
    finally:
        _state.open = False


def is_conflict(error: Exception) -> bool:
    """Say whether PostgreSQL ended a transaction in favour of another one; the next try works."""
    cause = error.orig if isinstance(error, OperationalError) else None
    return getattr(cause, "sqlstate", None) in _CONFLICTS


def was_cut(error: Exception) -> bool:
    """Say whether the database closed the connection (it was restarted); the next try connects."""
    return isinstance(error, DBAPIError) and error.connection_invalidated


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
