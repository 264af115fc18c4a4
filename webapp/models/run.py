"""Runs of jobs, the artifacts they left, and restores."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from webapp.core import clock
from webapp.models.base import Base


class Outcome(StrEnum):
    """How a run or a restore stands or ended."""

    RUNNING = "running"
    SUCCESS = "success"
    PARTIAL = "partial"
    FAILURE = "failure"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    MISSED = "missed"


class Trigger(StrEnum):
    """What started a run."""

    MANUAL = "manual"
    SCHEDULE = "schedule"
    CLI = "cli"


class Run(Base):
    """One run of a job. Its name and source stay readable after the job is gone."""

    __tablename__ = "run"
    __table_args__ = (
        Index("ix_run_job_id_id", "job_id", "id"),
        Index("ix_run_outcome_id", "outcome", "id"),
        Index("ix_run_started_at_outcome_size", "started_at", "outcome", "size"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[int | None] = mapped_column(ForeignKey("job.id", ondelete="SET NULL"))
    job_name: Mapped[str] = mapped_column(String(100))
    source_name: Mapped[str] = mapped_column(String(60), default="")
    trigger: Mapped[str] = mapped_column(String(12))
    """One of `Trigger`."""
    requested_by: Mapped[str] = mapped_column(String(100), default="")
    """The person who started it; "" for the schedule."""
    stopped_by: Mapped[str | None] = mapped_column(String(100))
    """The person who asked it to stop."""
    outcome: Mapped[str] = mapped_column(String(12), default=Outcome.RUNNING)
    started_at: Mapped[datetime] = mapped_column(default=clock.now)
    finished_at: Mapped[datetime | None]
    owner: Mapped[str] = mapped_column(String(120), default="")
    """The process that runs it (services/processes.py); "" while it waits for its turn."""
    attempt: Mapped[int] = mapped_column(default=1)
    """Which attempt it is; more than one when the job tries again after a failure."""
    attempts_allowed: Mapped[int] = mapped_column(default=1)
    not_before: Mapped[datetime | None]
    """When the next attempt may begin."""
    step: Mapped[str] = mapped_column(String(40), default="")
    steps: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)
    """Each step: name, state, started_at, seconds, detail."""
    bytes_done: Mapped[int] = mapped_column(BigInteger, default=0)
    bytes_total: Mapped[int | None] = mapped_column(BigInteger)
    size: Mapped[int | None] = mapped_column(BigInteger)
    error: Mapped[str | None] = mapped_column(Text)
    destinations: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)
    """Each destination: id, name, stored (bool), detail."""
    databases: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list, server_default="[]")
    """Of a source of several, each database: name, stored (bool), size, detail, and what became of
    it at each place. Else empty."""


class RunLine(Base):
    """One line of a run's log."""

    __tablename__ = "run_line"
    __table_args__ = (Index("ix_run_line_run_id_id", "run_id", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"))
    at: Mapped[datetime] = mapped_column(default=clock.now)
    level: Mapped[str] = mapped_column(String(8), default="info")
    text: Mapped[str] = mapped_column(Text)


class Unfinished(Base):
    """Something that a run has begun to write at a destination, and not ended."""

    __tablename__ = "unfinished"
    __table_args__ = (Index("ix_unfinished_run_id_destination_id", "run_id", "destination_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"))
    destination_id: Mapped[int] = mapped_column(
        ForeignKey("destination.id", ondelete="CASCADE"), index=True
    )
    ref: Mapped[str] = mapped_column(Text)
    """What the destination's `discard` takes."""


class ArtifactRow(Base):
    """A stored backup at one destination."""

    __tablename__ = "artifact"
    __table_args__ = (
        Index("ix_artifact_destination_id_key", "destination_id", "key", unique=True),
        Index("ix_artifact_destination_id_id", "destination_id", "id"),
        Index("ix_artifact_size", "size"),  # covers the sum of all
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int | None] = mapped_column(ForeignKey("run.id", ondelete="SET NULL"))
    job_id: Mapped[int | None] = mapped_column(
        ForeignKey("job.id", ondelete="SET NULL"), index=True
    )
    destination_id: Mapped[int] = mapped_column(ForeignKey("destination.id", ondelete="CASCADE"))
    key: Mapped[str] = mapped_column(String(400))
    """Name at the destination, with slashes, relative to its root."""
    source_type: Mapped[str] = mapped_column(String(20))
    database: Mapped[str] = mapped_column(String(64), default="", server_default="")
    """The database that was dumped, as its manifest says; "" when it says none."""
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    manifest: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)


class Restore(Base):
    """One restore of an artifact into a database."""

    __tablename__ = "restore"
    __table_args__ = (Index("ix_restore_outcome_id", "outcome", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    artifact_id: Mapped[int | None] = mapped_column(ForeignKey("artifact.id", ondelete="SET NULL"))
    artifact_key: Mapped[str] = mapped_column(String(400))
    destination_name: Mapped[str] = mapped_column(String(60), default="")
    source_id: Mapped[int | None] = mapped_column(ForeignKey("source.id", ondelete="SET NULL"))
    """The source whose server receives the restored database."""
    source_name: Mapped[str] = mapped_column(String(60), default="")
    source_type: Mapped[str] = mapped_column(String(20))
    database: Mapped[str] = mapped_column(String(64), default="", server_default="")
    """The database that was backed up; "" when nobody knows."""
    target: Mapped[str] = mapped_column(String(400))
    """A database name, or the path of a SQLite file; "" for a trial."""
    overwrite: Mapped[bool] = mapped_column(default=False)
    """The target may exist: it is replaced."""
    upload: Mapped[str | None] = mapped_column(String(400))
    """Key in the uploads of this installation; then there is no artifact."""
    is_trial: Mapped[bool] = mapped_column(default=False)
    """Restored into a scratch database, counted, and dropped: proves the backup."""
    job_id: Mapped[int | None] = mapped_column(ForeignKey("job.id", ondelete="SET NULL"))
    counts: Mapped[list[list[Any]] | None] = mapped_column(JSON)
    """Of a trial: name and rows of each table."""
    size: Mapped[int] = mapped_column(BigInteger, default=0)
    requested_by: Mapped[str] = mapped_column(String(100), default="")
    outcome: Mapped[str] = mapped_column(String(12), default=Outcome.RUNNING)
    started_at: Mapped[datetime] = mapped_column(default=clock.now)
    finished_at: Mapped[datetime | None]
    owner: Mapped[str] = mapped_column(String(120), default="")
    """The process that carries it out; see services/processes.py."""
    unlock: Mapped[str | None] = mapped_column(Text)
    """What opens an encrypted artifact, sealed; gone when the restore has ended."""
    stop_requested: Mapped[bool] = mapped_column(default=False)
    stopped_by: Mapped[str | None] = mapped_column(String(100))
    """The person who asked it to stop."""
    remains: Mapped[str | None] = mapped_column(Text)
    """Of a cancelled one: what is in its target now, as a sentence."""
    step: Mapped[str] = mapped_column(String(40), default="")
    """Where it is, and where it stopped; "" while it waits for its turn."""
    bytes_done: Mapped[int] = mapped_column(BigInteger, default=0)
    bytes_total: Mapped[int | None] = mapped_column(BigInteger)
    error: Mapped[str | None] = mapped_column(Text)
