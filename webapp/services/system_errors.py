"""Announces unexpected errors: the first at once, repetitions within the hour as one follow-up."""

import hashlib
import logging
import traceback
from datetime import timedelta
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.exc import SQLAlchemyError

from webapp.core import clock
from webapp.core.errors import AppError
from webapp.core.scrub import scrub
from webapp.models.setting import ErrorReport
from webapp.notify.events.system_error import SystemError
from webapp.services import outbox
from webapp.services.transaction import reading, transaction

logger = logging.getLogger(__name__)

QUIET_FOR: Final = timedelta(hours=1)
TEXT_LIMIT: Final = 4000


def report(component: str, error: BaseException) -> None:
    """Publish `system_error`, or count it when the same one was announced within the hour.

    Never raises: who reports an error has enough trouble. Call it outside of transactions.
    """
    try:
        _report(component, error)
    except (SQLAlchemyError, RuntimeError):
        logger.exception("an error could not be reported", extra={"component": component})


def _report(component: str, error: BaseException) -> None:
    now = clock.now()
    text = describe(error)
    fingerprint = _fingerprint(component, error)
    with transaction() as session:
        known = session.get(ErrorReport, fingerprint)
        if known is not None and now - known.announced_at < QUIET_FOR:
            known.times += 1
            known.error = text
            return
        session.merge(
            ErrorReport(
                fingerprint=fingerprint,
                component=component,
                error=text,
                first_seen_at=now,
                announced_at=now,
                times=1,
            )
        )
        outbox.publish(
            session,
            SystemError(component=component, error=text, first_seen=now.isoformat()),
        )


def follow_up() -> None:
    """Announce the count of errors that were repeated within their hour; forget the others."""
    due = ErrorReport.announced_at <= clock.now() - QUIET_FOR
    with reading() as session:
        if session.scalar(select(ErrorReport.fingerprint).where(due).limit(1)) is None:
            return
    with transaction() as session:
        for known in session.scalars(select(ErrorReport).where(due, ErrorReport.times > 1)):
            outbox.publish(
                session,
                SystemError(
                    component=known.component,
                    error=known.error,
                    first_seen=known.first_seen_at.isoformat(),
                    times_seen=known.times,
                ),
            )
            known.times = 1
            known.announced_at = clock.now()
        session.execute(delete(ErrorReport).where(due, ErrorReport.times == 1))


def describe(error: BaseException) -> str:
    """Return an error in words for a message, without SQL parameters and credentials.

    Our own errors are sentences that say what to do; others need their kind to be understood.
    """
    if isinstance(error, AppError):
        return scrub(str(error))[:TEXT_LIMIT]
    if isinstance(error, SQLAlchemyError):
        cause = getattr(error, "orig", None)
        return scrub(f"{type(error).__name__}: {cause or type(error).__name__}")[:TEXT_LIMIT]
    return scrub(f"{type(error).__name__}: {error}")[:TEXT_LIMIT]


def _fingerprint(component: str, error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename}:{frames[-1].name}" if frames else ""
    return hashlib.sha256(f"{component}|{type(error).__name__}|{place}".encode()).hexdigest()
