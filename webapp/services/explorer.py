"""What lies at a destination, as the destination itself says, beside what is listed here."""

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from webapp.backup import manifest, retention
from webapp.backup.destinations.base import Destination, Entry
from webapp.backup.encryption import IDENTITY_NAME
from webapp.backup.errors import BackupError
from webapp.backup.manifest import Manifest
from webapp.backup.retention import LOCK
from webapp.core.errors import AppError, ConflictError, InvalidError, NotFoundError
from webapp.models.job import DestinationRow, Job
from webapp.models.run import ArtifactRow, Outcome, Restore
from webapp.services import audit
from webapp.services.artifacts import type_label
from webapp.services.destinations import open_destination
from webapp.services.transaction import reading, transaction

logger = logging.getLogger(__name__)

PAGE_SIZE: Final = 50
WHOLE: Final = "whole"
DIFFERS: Final = "differs"
BARE: Final = "bare"
MISSING: Final = "missing"
NOT_HERE: Final = "This file is not at the destination (any more)."


@dataclass(frozen=True, kw_only=True)
class Found:
    """A file at a destination, or a listed backup that should be there."""

    key: str
    size: int
    at: datetime
    state: str
    """WHOLE: as its manifest says; DIFFERS: in size; BARE: without a manifest; MISSING."""
    locked: bool
    artifact_id: int | None
    """None: it is not listed here."""
    job: str
    database_type: str
    database: str
    """The database that was dumped; "" when the manifest does not say."""

    @property
    def file_name(self) -> str:
        """The last part of the key."""
        return self.key.rpartition("/")[2]


@dataclass(frozen=True, kw_only=True)
class Look:
    """One page of a destination, newest first."""

    place: DestinationRow
    found: tuple[Found, ...]
    total: int
    size: int
    """Bytes of all files there, manifests included."""
    page: int
    pages: int
    unlisted: int
    """Files with a manifest that are not listed here, on all pages."""
    problem: str = ""


def look(destination_id: int, page: int = 1) -> Look:
    """Ask the destination what is there; a destination that does not answer is said.

    Raises:
        NotFoundError: there is no such destination.
    """
    with reading() as session:
        place = _place(session, destination_id)
        rows = _rows(session, destination_id)
    try:
        destination = open_destination(place)
        entries = destination.list()
    except AppError as error:
        return Look(
            place=place, found=(), total=0, size=0, page=1, pages=1, unlisted=0, problem=str(error)
        )
    known = {entry.key: entry for entry in entries}
    shown = sorted(
        [(entry.modified_at, key) for key, entry in known.items() if _is_backup(key, known)]
        + [(row.created_at, key) for key, row in rows.items() if key not in known],
        reverse=True,
    )
    pages = max(-(-len(shown) // PAGE_SIZE), 1)
    page = min(max(page, 1), pages)
    part = shown[(page - 1) * PAGE_SIZE : page * PAGE_SIZE]
    return Look(
        place=place,
        found=tuple(_found(destination, key, at, known, rows) for at, key in part),
        total=len(shown),
        size=sum(entry.size for entry in entries),
        page=page,
        pages=pages,
        unlisted=sum(key not in rows and _stated(key, known) for _, key in shown),
    )


def import_(destination_id: int, key: str | None = None) -> tuple[int, ...]:
    """List what the manifests at the destination describe and is not listed; return the new ids.

    With a key only that one. What belongs to a job of this installation is joined to it.

    Raises:
        NotFoundError: there is no such destination or file.
        BackupError: the destination does not answer, or the manifest of this key is no good.
    """
    with reading() as session:
        place = _place(session, destination_id)
        rows = _rows(session, destination_id)
    destination = open_destination(place)
    known = {entry.key: entry for entry in destination.list(key or "")}
    wanted = [key] if key else [each for each in known if _is_backup(each, known)]
    found: list[tuple[str, Manifest]] = []
    for each in wanted:
        if each in rows:
            continue
        if each not in known:
            raise NotFoundError(NOT_HERE)
        try:
            found.append((each, manifest.read(destination, each)))
        except BackupError:
            if key:
                raise
    with transaction() as session:
        made = [_add(session, destination_id, each, stated) for each, stated in found]
        session.flush()
        for row in made:
            audit.note(session, "artifact.imported", row.key, after={"destination": place.name})
        return tuple(row.id for row in made)


def set_locked(destination_id: int, key: str, locked: bool) -> None:
    """Lock a backup against pruning and deleting, or unlock it; the lock lies at the destination.

    Raises:
        NotFoundError: it is not there.
        BackupError: the destination does not do it.
    """
    destination, known = _open(destination_id, key)
    if locked and key + LOCK not in known:
        with destination.open_write(key + LOCK) as writer:
            writer.write(b"This backup is locked: DBackup does not delete it.\n")
    elif not locked:
        destination.delete(key + LOCK)
    audit.note_alone("artifact.locked" if locked else "artifact.unlocked", key)


def remove(destination_id: int, key: str, typed: str) -> None:
    """Delete a backup at the destination, with its manifest, for good.

    Raises:
        InvalidError: the typed name is not that of the file.
        ConflictError: it is locked, or a restore is reading it.
        NotFoundError: there is no such file and no such entry.
        BackupError: the destination does not do it.
    """
    if typed.strip() != key.rpartition("/")[2]:
        raise InvalidError("Enter the name of the file exactly as it is shown.", "typed")
    with reading() as session:
        row = _rows(session, destination_id).get(key)
        reads = select(Restore.id).where(
            Restore.outcome == Outcome.RUNNING,
            Restore.artifact_id == (row.id if row else None),
        )
        if row is not None and session.scalar(reads.limit(1)) is not None:
            raise ConflictError("A restore is reading this backup. Wait until it has ended.")
    destination, known = _open(destination_id, key, listed=row is not None)
    if key + LOCK in known:
        raise ConflictError("This backup is locked. Unlock it first.")
    retention.delete(destination, key)
    with transaction() as session:
        session.execute(
            delete(ArtifactRow).where(
                ArtifactRow.destination_id == destination_id, ArtifactRow.key == key
            )
        )
        audit.note(session, "artifact.deleted", key, before={"destination": destination_id})
    logger.info("backup deleted by hand", extra={"destination": destination_id, "key": key})


def one(destination_id: int, key: str) -> Found:
    """Return one backup of the destination.

    Raises:
        NotFoundError: it is neither there nor listed.
        BackupError: the destination does not answer.
    """
    with reading() as session:
        rows = _rows(session, destination_id)
    destination, known = _open(destination_id, key, listed=key in rows)
    at = known[key].modified_at if key in known else rows[key].created_at
    return _found(destination, key, at, known, rows)


def place(destination_id: int) -> DestinationRow:
    """Return the destination.

    Raises:
        NotFoundError: there is none.
    """
    with reading() as session:
        return _place(session, destination_id)


def _open(
    destination_id: int, key: str, *, listed: bool = False
) -> tuple[Destination, dict[str, Entry]]:
    destination = open_destination(place(destination_id))
    known = {entry.key: entry for entry in destination.list(key)}
    if not listed and not _is_backup(key, known):
        raise NotFoundError(NOT_HERE)
    return destination, known


def _place(session: Session, destination_id: int) -> DestinationRow:
    row = session.get(DestinationRow, destination_id)
    if row is None:
        raise NotFoundError("This destination does not exist (any more).")
    return row


def _rows(session: Session, destination_id: int) -> dict[str, ArtifactRow]:
    found = select(ArtifactRow).where(ArtifactRow.destination_id == destination_id)
    return {row.key: row for row in session.scalars(found)}


def _is_backup(key: str, known: dict[str, Entry]) -> bool:
    """Say whether it is a backup: no manifest, lock or key that only accompanies one."""
    if key not in known or key.rpartition("/")[2].startswith(IDENTITY_NAME):
        return False
    base = key.removesuffix(manifest.SUFFIX).removesuffix(LOCK)
    return base == key or base not in known


def _stated(key: str, known: dict[str, Entry]) -> bool:
    return key in known and key + manifest.SUFFIX in known


def _found(
    destination: Destination,
    key: str,
    at: datetime,
    known: dict[str, Entry],
    rows: dict[str, ArtifactRow],
) -> Found:
    row, entry = rows.get(key), known.get(key)
    values = row.manifest if row is not None else _manifest(destination, key, known)
    size = entry.size if entry is not None else row.size if row is not None else 0
    if entry is None:
        state = MISSING
    elif not values:
        state = BARE
    else:
        state = WHOLE if int(values.get("size", -1)) == size else DIFFERS
    source = values.get("source") or {}
    source_type = str(source.get("type") or "")
    return Found(
        key=key,
        size=size,
        at=at,
        state=state,
        locked=key + LOCK in known,
        artifact_id=None if row is None else row.id,
        job=str(values.get("job") or ""),
        database_type=type_label(source_type) if source_type else "",
        database=str(source.get("database") or ""),
    )


def _manifest(destination: Destination, key: str, known: dict[str, Entry]) -> dict[str, Any]:
    if not _stated(key, known):
        return {}
    try:
        return manifest.read(destination, key).values
    except BackupError:
        return {}


def _add(session: Session, destination_id: int, key: str, stated: Manifest) -> ArtifactRow:
    job = select(Job.id).where(Job.folder == key.partition("/")[0])
    row = ArtifactRow(
        job_id=session.scalar(job),
        destination_id=destination_id,
        key=key,
        source_type=stated.source_type,
        database=stated.database,
        size=stated.size,
        sha256=stated.sha256,
        manifest=stated.values,
        created_at=stated.created_at,
    )
    session.add(row)
    return row
