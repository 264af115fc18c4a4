"""Sources, destinations, and the jobs that join them."""

import re
import secrets
from datetime import datetime
from typing import Any, Final

from sqlalchemy import JSON, ForeignKey, String, Text
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.orm import Mapped, mapped_column

from webapp.core import clock
from webapp.models.base import Base

DEFAULT_PATTERN: Final = "{date}T{time}Z"


class SourceRow(Base):
    """A database to back up. `config` is sealed as a whole; `summary` may be shown."""

    __tablename__ = "source"

    id: Mapped[int] = mapped_column(primary_key=True)
    type: Mapped[str] = mapped_column(String(20))
    name: Mapped[str] = mapped_column(String(60), unique=True)
    config: Mapped[str] = mapped_column(Text)
    summary: Mapped[str] = mapped_column(String(200), default="")
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)


class DestinationRow(Base):
    """A place where artifacts are kept. `config` is sealed as a whole; `summary` may be shown."""

    __tablename__ = "destination"

    id: Mapped[int] = mapped_column(primary_key=True)
    type: Mapped[str] = mapped_column(String(20))
    name: Mapped[str] = mapped_column(String(60), unique=True)
    config: Mapped[str] = mapped_column(Text)
    summary: Mapped[str] = mapped_column(String(200), default="")
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)


def _folder(context: DefaultExecutionContext) -> str:
    """Name the job's place at its destinations: readable, and nobody else's."""
    values = context.get_current_parameters()  # type: ignore[no-untyped-call]
    name = str(values["name"]).lower()
    slug = re.sub(r"[^a-z0-9]+", "-", name).strip("-")[:40].strip("-")
    return f"{slug or 'job'}-{secrets.token_hex(3)}"


class Job(Base):
    """What to back up, where to, and when."""

    __tablename__ = "job"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    folder: Mapped[str] = mapped_column(String(60), unique=True, default=_folder)
    """Its artifacts lie under this name at each destination. It outlives a rename, so "keep the
    last N" goes on counting the same files."""
    source_id: Mapped[int] = mapped_column(ForeignKey("source.id", ondelete="RESTRICT"), index=True)
    enabled: Mapped[bool] = mapped_column(default=True)
    schedule: Mapped[str | None] = mapped_column(String(100))
    """A cron expression of five fields; None: only by hand."""
    timezone: Mapped[str] = mapped_column(String(64), default="UTC")
    compression: Mapped[str] = mapped_column(String(10), default="gzip")
    encryption: Mapped[str] = mapped_column(String(12), default="none")
    """"none", "recipients" or "passphrase"; see backup/encryption.py."""
    recipients: Mapped[str] = mapped_column(Text, default="")
    """Public keys, one a line; in passphrase mode the one that was generated."""
    identity: Mapped[str] = mapped_column(Text, default="")
    """In passphrase mode: the private key, which only the passphrase opens."""
    keep_last: Mapped[int | None]
    """How many artifacts each destination keeps that has no rules of its own; None: all."""
    name_pattern: Mapped[str] = mapped_column(String(100), default=DEFAULT_PATTERN)
    """Names of the artifacts; see services/artifact_names.py."""
    time_limit: Mapped[int | None]
    """Minutes that one attempt may take."""
    retries: Mapped[int] = mapped_column(default=0)
    """How often a failed run is tried again before the failure is announced."""
    retry_pause: Mapped[int] = mapped_column(default=5)
    """Minutes between two attempts."""
    prove_every: Mapped[str] = mapped_column(String(10), default="")
    """How often its newest backup is restored on trial: "weekly", "monthly" or ""."""
    proven_at: Mapped[datetime | None]
    """When a backup of this job was last restored on trial without a fault."""
    proof_tried_at: Mapped[datetime | None]
    """When that was last begun by the schedule."""
    served_until: Mapped[datetime] = mapped_column(default=clock.now)
    """Up to here every time of the schedule was started, or recorded as missed."""
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)


class JobDestination(Base):
    """One destination of a job."""

    __tablename__ = "job_destination"

    job_id: Mapped[int] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"), primary_key=True)
    destination_id: Mapped[int] = mapped_column(
        ForeignKey("destination.id", ondelete="RESTRICT"), primary_key=True
    )
    position: Mapped[int]
    rules: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    """What this destination keeps (backup/retention.py); None: as the job says."""
