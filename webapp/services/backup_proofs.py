"""Trials by schedule: the newest backup of each database of a job is restored into a scratch
database.
"""

import logging
from datetime import timedelta
from typing import Final

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from webapp.core import clock
from webapp.core.errors import InvalidError
from webapp.models.job import Job
from webapp.models.run import Outcome, Restore
from webapp.services import artifacts, bells, proven, restores
from webapp.services.transaction import reading, transaction

logger = logging.getLogger(__name__)

PERIODS: Final = {"weekly": timedelta(days=7), "monthly": timedelta(days=30)}


def begin_due() -> list[int]:
    """Begin the trials that are due; return their ids."""
    with reading() as session:
        due = _due(session)
    begun = [made for job_id in due for made in _begin(job_id)]
    if begun:
        bells.run_waiting.ring()
    return begun


def _due(session: Session) -> list[int]:
    now = clock.now()
    parts = [
        (Job.prove_every == name)
        & or_(Job.proof_tried_at.is_(None), Job.proof_tried_at <= now - period)
        for name, period in PERIODS.items()
    ]
    return list(session.scalars(select(Job.id).where(or_(*parts))))


def _begin(job_id: int) -> list[int]:
    with transaction() as session:
        job = session.get(Job, job_id, with_for_update=True)
        newest = proven.newest(session, job_id)
        if job is None or not newest or job_id not in _due(session):
            return []
        going = select(Restore.id).where(
            Restore.job_id == job_id, Restore.is_trial, Restore.outcome == Outcome.RUNNING
        )
        if session.scalar(going.limit(1)) is not None:
            return []
        found = [artifacts.load(session, artifact_id) for artifact_id in newest]
        # encrypted ones were made before the job's encryption was switched off
        clear = [artifact for artifact in found if not artifact.encryption]
        if not clear:
            return []
        job.proof_tried_at = clock.now()
        try:
            return [restores.add_trial(session, artifact, "") for artifact in clear]
        except InvalidError:
            logger.exception("trial not begun", extra={"job": job_id})
            return []
