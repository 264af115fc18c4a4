"""Restores as people see them: asked for, listed, watched and stopped.

What happens in between is in services/restore_work.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.backup import encryption, replace
from webapp.backup.errors import BackupError
from webapp.backup.sources import BY_TYPE
from webapp.core import clock
from webapp.core.errors import ConflictError, InvalidError, NotFoundError, SecretError
from webapp.models.job import SourceRow
from webapp.models.run import Outcome, Restore
from webapp.services import artifacts, bells, own_places, restore_work
from webapp.services.artifacts import Artifact, type_label
from webapp.services.transaction import reading, transaction
from webapp.services.uploads import Upload

PAGE_SIZE: Final = 50
STEPS: Final = ("Fetch", "Verify", "Load")
TRIAL_STEPS: Final = (*STEPS, "Count")
SCRATCH: Final = "a scratch database"
GONE: Final = "This restore does not exist (any more)."


@dataclass(frozen=True, kw_only=True)
class Draft:
    """What the form of a new restore offers."""

    artifact: Artifact
    target_label: str
    target_hint: str
    suggestion: str
    """A name that is not taken as far as one can tell without asking."""
    sources: tuple[tuple[int, str], ...]
    """Sources whose server can receive it; empty for databases that are files."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step as the page shows it."""

    name: str
    state: str
    """done, current, failed or waiting."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A restore as pages show it."""

    row: Restore
    database_type: str
    steps: tuple[Step, ...]
    took: timedelta

    @property
    def is_running(self) -> bool:
        """Say whether it has not ended."""
        return self.row.outcome == Outcome.RUNNING

    @property
    def is_waiting(self) -> bool:
        """Say whether it has not begun."""
        return self.is_running and not self.row.owner

    @property
    def percent(self) -> int | None:
        """How far the present step is; None: nobody knows."""
        if not self.row.bytes_total:
            return None
        return min(100 * self.row.bytes_done // self.row.bytes_total, 100)


@dataclass(frozen=True, kw_only=True)
class RestorePage:
    """One page of the list, newest first."""

    restores: tuple[Progress, ...]
    newer: int | None
    older: int | None


def draft(artifact_id: int) -> Draft:
    """Return what can be chosen for this artifact.

    Raises:
        NotFoundError: it is not listed.
        ConflictError: this version cannot restore it.
    """
    with reading() as session:
        artifact = artifacts.load(session, artifact_id)
        receivers = _receivers(session, artifact.source_type, artifact.source_id)
    if artifact.source_type not in BY_TYPE:
        raise ConflictError("This version of DBackup does not know this type of database.")
    kind = BY_TYPE[artifact.source_type]
    return Draft(
        artifact=artifact,
        target_label=kind.target_label,
        target_hint=kind.target_hint,
        suggestion=_suggestion(artifact, receivers),
        sources=tuple((row.id, row.name) for row in receivers),
    )


def request(
    artifact_id: int,
    *,
    target: str,
    source_id: int | None,
    requested_by: str,
    unlock: str = "",
    overwrite: bool = False,
    confirm: str = "",
) -> int:
    """Accept a restore, to be carried out in the background; return its id.

    `unlock` is the passphrase or private key of an encrypted artifact. With `overwrite` a target
    that exists is replaced; `confirm` must then be its name once more.

    Raises:
        InvalidError: the target cannot be used or exists already, a source must be chosen, or
            what was entered does not open the artifact.
        NotFoundError: the artifact is not listed.
    """
    target = target.strip()
    with reading() as session:
        artifact = artifacts.load(session, artifact_id)
        source = _receiver(session, artifact, source_id)
    _check_unlock(artifact.encryption, unlock)
    check_target(artifact.source_type, source, target, overwrite=overwrite, confirm=confirm)
    with transaction() as session:
        artifacts.load(session, artifact_id)  # it may have been deleted while we asked the server
        row = Restore(
            artifact_id=artifact.id,
            artifact_key=artifact.key,
            destination_name=artifact.destination_name,
            source_id=source.id if source else None,
            source_name=artifact.source_name or artifact.job_name,
            source_type=artifact.source_type,
            database=artifact.database,
            target=target,
            size=artifact.size,
            requested_by=requested_by,
            overwrite=overwrite,
            unlock=restore_work.seal_unlock(unlock) if artifact.encryption else None,
        )
        session.add(row)
        session.flush()
    bells.run_waiting.ring()
    return row.id


def request_upload(
    upload: Upload,
    *,
    target: str,
    source_id: int | None,
    requested_by: str,
    unlock: str = "",
    overwrite: bool = False,
    confirm: str = "",
) -> int:
    """Accept the restore of an uploaded file; return its id. The file goes when it has ended.

    Raises:
        InvalidError: as `request`.
    """
    target = target.strip()
    with reading() as session:
        source = receiver(session, upload.source_type, source_id)
    _check_unlock(upload.encryption, unlock)
    check_target(upload.source_type, source, target, overwrite=overwrite, confirm=confirm)
    with transaction() as session:
        row = Restore(
            artifact_key=upload.file_name,
            destination_name="Uploaded",
            source_id=source.id if source else None,
            source_type=upload.source_type,
            database=upload.database,
            target=target,
            size=upload.size,
            requested_by=requested_by,
            upload=upload.key,
            overwrite=overwrite,
            unlock=restore_work.seal_unlock(unlock) if upload.encryption else None,
        )
        session.add(row)
        session.flush()
    bells.run_waiting.ring()
    return row.id


def prove(artifact_id: int, *, requested_by: str, unlock: str = "") -> int:
    """Restore an artifact on trial, in the background; return the restore's id.

    Raises:
        InvalidError: there is no server to try it on, or `unlock` does not open the artifact.
        NotFoundError: the artifact is not listed.
    """
    with reading() as session:
        artifact = artifacts.load(session, artifact_id)
    _check_unlock(artifact.encryption, unlock)
    with transaction() as session:
        restore_id = add_trial(session, artifacts.load(session, artifact_id), requested_by, unlock)
    bells.run_waiting.ring()
    return restore_id


def add_trial(session: Session, artifact: Artifact, requested_by: str, unlock: str = "") -> int:
    """Add a trial in the caller's transaction; ring `run_waiting` after it."""
    receivers = _receivers(session, artifact.source_type, artifact.source_id)
    if not receivers and artifact.source_type not in restore_work.WITHOUT_SERVER:
        raise InvalidError(_no_receiver(artifact.source_type), "source")
    row = Restore(
        artifact_id=artifact.id,
        artifact_key=artifact.key,
        destination_name=artifact.destination_name,
        source_id=receivers[0].id if receivers else None,
        source_name=artifact.source_name or artifact.job_name,
        source_type=artifact.source_type,
        database=artifact.database,
        target=SCRATCH,
        size=artifact.size,
        requested_by=requested_by,
        is_trial=True,
        job_id=artifact.job_id,
        unlock=restore_work.seal_unlock(unlock) if artifact.encryption else None,
    )
    session.add(row)
    session.flush()
    return row.id


def get(restore_id: int) -> Progress:
    """Return one restore.

    Raises:
        NotFoundError: there is none.
    """
    with reading() as session:
        row = session.get(Restore, restore_id)
    if row is None:
        raise NotFoundError(GONE)
    return _progress(row)


def page(*, before: int = 0, after: int = 0) -> RestorePage:
    """Return the newest restores, or those older or newer than an id."""
    with reading() as session:
        rows, newer, older = _page(session, before, after)
    return RestorePage(
        restores=tuple(_progress(row) for row in rows),
        newer=rows[0].id if newer and rows else None,
        older=rows[-1].id if older and rows else None,
    )


def stop(restore_id: int, by: str) -> Progress:
    """Stop a restore: at once while it waits, else within moments. Its end says what is left.

    Raises:
        ConflictError: it has ended.
        NotFoundError: there is none.
    """
    with transaction() as session:
        row = session.get(Restore, restore_id, with_for_update=True)
        if row is None:
            raise NotFoundError(GONE)
        if row.outcome != Outcome.RUNNING:
            raise ConflictError("The restore has ended already, so there is nothing to stop.")
        row.stop_requested, row.stopped_by = True, row.stopped_by or by
        session.flush()
        if not row.owner:
            left = restore_work.NOT_BEGUN
            restore_work.record(session, restore_id, Outcome.CANCELLED, left=left)
        elif restore_work.is_dead(session, row):
            left = restore_work.killed_words(row.source_type)
            restore_work.record(session, restore_id, Outcome.CANCELLED, left=left)
    return _progress(row)


def receivers_of(source_type: str) -> tuple[tuple[int, str], ...]:
    """Return the sources whose server can receive this type; none for databases that are files."""
    with reading() as session:
        return tuple((row.id, row.name) for row in _receivers(session, source_type, None))


def _receivers(session: Session, source_type: str, own_id: int | None) -> list[SourceRow]:
    """Return the sources that can receive it, its own one first."""
    if source_type in restore_work.WITHOUT_SERVER:
        return []
    rows = session.scalars(
        select(SourceRow).where(SourceRow.type == source_type).order_by(SourceRow.name)
    )
    return sorted(rows, key=lambda row: row.id != own_id)


def _receiver(session: Session, artifact: Artifact, source_id: int | None) -> SourceRow | None:
    if artifact.source_type in restore_work.WITHOUT_SERVER:
        return session.get(SourceRow, artifact.source_id) if artifact.source_id else None
    return receiver(session, artifact.source_type, source_id)


def receiver(session: Session, source_type: str, source_id: int | None) -> SourceRow | None:
    """Return the source that was chosen; None for databases that are files.

    Raises:
        InvalidError: none was chosen, or there is none.
    """
    if source_type in restore_work.WITHOUT_SERVER:
        return None
    known = {row.id: row for row in _receivers(session, source_type, None)}
    if not known:
        raise InvalidError(_no_receiver(source_type), "source")
    if source_id not in known:
        raise InvalidError("Choose the source whose server receives the database.", "source")
    return known[source_id]


def _no_receiver(source_type: str) -> str:
    return (
        f"There is no {type_label(source_type)} source whose server could receive it. "
        "Add one under Sources first."
    )


def _check_unlock(facts: Mapping[str, Any] | None, unlock: str) -> None:
    if facts:
        try:
            encryption.identities(facts, unlock)
        except BackupError as error:
            raise InvalidError(str(error), "unlock") from error


def check_target(
    source_type: str, source: SourceRow | None, target: str, *, overwrite: bool, confirm: str
) -> None:
    """Refuse a target that cannot be used.

    Raises:
        InvalidError: `field` names what is wrong.
    """
    if overwrite and confirm.strip() != target:
        raise InvalidError(
            "Enter the target once more, exactly as above: it is replaced by the backup.",
            "confirm",
        )
    try:
        opened = restore_work.open_target_source(source_type, source, target)
        if overwrite:
            replace.check(opened, target)
        else:
            opened.check_target(target)
        own_places.refuse(opened, target)
    except SecretError as error:
        raise InvalidError(str(error), "source") from error
    except BackupError as error:
        raise InvalidError(str(error), "target") from error


def _suggestion(artifact: Artifact, receivers: list[SourceRow]) -> str:
    """Return a database name made of the one it was; for files nobody knows a good directory."""
    if not receivers:
        return ""
    words = (artifact.database or artifact.source_name or "database").lower()
    name = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in words)
    return f"{name[:40]}_{artifact.created_at:%Y%m%d_%H%M}"


def _page(session: Session, before: int, after: int) -> tuple[list[Restore], bool, bool]:
    rows = select(Restore)
    if after:
        upwards = rows.where(Restore.id > after).order_by(Restore.id).limit(PAGE_SIZE + 1)
        found = list(session.scalars(upwards))
        if len(found) > PAGE_SIZE:
            return found[PAGE_SIZE - 1 :: -1], True, True
    elif before:
        rows = rows.where(Restore.id < before)
    found = list(session.scalars(rows.order_by(Restore.id.desc()).limit(PAGE_SIZE + 1)))
    return found[:PAGE_SIZE], bool(before) and not after, len(found) > PAGE_SIZE


def _progress(row: Restore) -> Progress:
    return Progress(
        row=row,
        database_type=type_label(row.source_type),
        steps=_steps(row),
        took=(row.finished_at or clock.now()) - row.started_at,
    )


def _steps(row: Restore) -> tuple[Step, ...]:
    names = TRIAL_STEPS if row.is_trial else STEPS
    reached = names.index(row.step) if row.step in names else -1
    if row.outcome == Outcome.SUCCESS:
        return tuple(Step(name=name, state="done") for name in names)
    here = "current" if row.outcome == Outcome.RUNNING else "failed"
    return tuple(
        Step(
            name=name,
            state="done" if index < reached else here if index == reached else "waiting",
        )
        for index, name in enumerate(names)
    )
