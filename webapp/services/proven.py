"""Which databases of a job are proven, when a source has several."""

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from webapp.core import clock
from webapp.models.run import ArtifactRow, Outcome, Restore, Run


def since(session: Session, trial: Restore) -> datetime | None:
    """Return since when all of the job is proven, now that this trial has succeeded.

    That is the oldest of the last good trials of each database; None while one has none.
    """
    now = clock.now()
    artifact = session.get(ArtifactRow, trial.artifact_id) if trial.artifact_id else None
    others = databases(session, artifact) - {trial.database} if artifact else set()
    if not others:
        return now
    last = (
        select(func.max(Restore.finished_at))
        .where(Restore.job_id == trial.job_id, Restore.is_trial, Restore.database.in_(others))
        .where(Restore.outcome == Outcome.SUCCESS)
        .group_by(Restore.database)
    )
    found = [at for at in session.scalars(last) if at is not None]
    return min(now, *found) if len(found) == len(others) else None


def newest(session: Session, job_id: int) -> list[int]:
    """Return the newest artifact of each database of the job's newest backup."""
    last = session.scalar(
        select(ArtifactRow)
        .where(ArtifactRow.job_id == job_id)
        .order_by(ArtifactRow.id.desc())
        .limit(1)
    )
    if last is None:
        return []
    names = databases(session, last)
    if len(names) < 2:
        return [last.id]
    of_each = (
        select(func.max(ArtifactRow.id))
        .where(ArtifactRow.job_id == job_id, ArtifactRow.database.in_(names))
        .group_by(ArtifactRow.database)
    )
    return sorted(session.scalars(of_each))


def databases(session: Session, artifact: ArtifactRow) -> set[str]:
    """Return the databases that the artifact's run was about, or, of an imported one, its job."""
    run = session.get(Run, artifact.run_id) if artifact.run_id else None
    if run is not None:
        return {str(each["name"]) for each in run.databases} or {artifact.database}
    if artifact.job_id is None or not artifact.database:
        return {artifact.database}
    listed = select(ArtifactRow.database).where(
        ArtifactRow.job_id == artifact.job_id, ArtifactRow.database != ""
    )
    return set(session.scalars(listed.distinct()))
