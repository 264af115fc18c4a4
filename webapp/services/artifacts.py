"""The storage explorer: stored backups by destination, and their way out as a download."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.backup.sources import BY_TYPE
from webapp.backup.sources.base import Reader
from webapp.core.errors import NotFoundError
from webapp.models.job import DestinationRow, Job, SourceRow
from webapp.models.run import ArtifactRow, Run
from webapp.services import audit
from webapp.services.destinations import open_destination
from webapp.services.transaction import reading

PAGE_SIZE: Final = 50
CHUNK: Final = 256 * 1024  # bytes per piece of a download


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A stored backup as lists show it."""

    id: int
    key: str
    destination_id: int
    destination_name: str
    job_id: int | None
    job_name: str
    """Name of the job now, or as it was when it ran; "" when nobody knows."""
    source_id: int | None
    source_name: str
    source_type: str
    database: str
    """The database that was dumped; "" when the backup does not say."""
    size: int
    sha256: str
    created_at: datetime
    run_id: int | None
    encryption: dict[str, Any] | None = None
    """What the manifest says about it; None: it is not encrypted."""

    @property
    def file_name(self) -> str:
        """The last part of the key."""
        return self.key.rpartition("/")[2]

    @property
    def database_type(self) -> str:
        """The type of the database in words."""
        return type_label(self.source_type)


@dataclass(frozen=True, kw_only=True)
class Place:
    """A destination as the explorer offers it."""

    id: int
    name: str
    summary: str


@dataclass(frozen=True, kw_only=True)
class Listing:
    """One page of one destination, newest first."""

    places: tuple[Place, ...]
    place: Place | None
    """The destination that is shown; None when there is none at all."""
    artifacts: tuple[Artifact, ...]
    newer: int | None
    """Id to list after; None: this is the newest page."""
    older: int | None
    """Id to list before; None: this is the oldest page."""


class Chunks(Iterator[bytes]):
    """Reads to the end and closes; closing early is fine, and so is never beginning."""

    def __init__(self, reader: Reader, opened: ExitStack) -> None:
        self._reader, self._opened = reader, opened

    def __next__(self) -> bytes:
        data = self._reader.read(CHUNK)
        if not data:
            self.close()
            raise StopIteration
        return data

    def close(self) -> None:
        """Close the file; more than once is fine."""
        self._opened.close()


@dataclass(frozen=True, kw_only=True)
class Download:
    """An opened artifact. Whoever does not read `chunks` to the end closes it."""

    name: str
    size: int
    chunks: Chunks


def listing(destination_id: int | None = None, *, before: int = 0, after: int = 0) -> Listing:
    """Return a page of the destination's artifacts; by default where the newest one is.

    Raises:
        NotFoundError: there is no such destination.
    """
    with reading() as session:
        places = tuple(
            Place(id=row.id, name=row.name, summary=row.summary)
            for row in session.scalars(select(DestinationRow).order_by(DestinationRow.name))
        )
        place = _chosen(places, destination_id or _latest(session))
        if place is None:
            return Listing(places=(), place=None, artifacts=(), newer=None, older=None)
        rows, newer, older = _page(session, place.id, before, after)
    found = tuple(_artifact(row) for row in rows)
    return Listing(
        places=places,
        place=place,
        artifacts=found,
        newer=found[0].id if newer and found else None,
        older=found[-1].id if older and found else None,
    )


def get(artifact_id: int) -> Artifact:
    """Return one artifact.

    Raises:
        NotFoundError: it is not listed (any more).
    """
    with reading() as session:
        return load(session, artifact_id)


def load(session: Session, artifact_id: int) -> Artifact:
    """Return one artifact; NotFoundError when it is not listed."""
    row = session.execute(_COLUMNS.where(ArtifactRow.id == artifact_id)).one_or_none()
    if row is None:
        raise NotFoundError("This backup is not listed any more. It was deleted or replaced.")
    return _artifact(row)


def download(artifact_id: int) -> Download:
    """Open an artifact at its destination, to be read piece by piece.

    Raises:
        NotFoundError: it is not listed.
        BackupError: the destination does not give it; the text says why.
        SecretError: the destination's secrets cannot be opened.
    """
    with reading() as session:
        artifact = load(session, artifact_id)
        row = session.get_one(DestinationRow, artifact.destination_id)
    destination = open_destination(row)
    size = destination.size(artifact.key)
    with ExitStack() as opened:
        reader = opened.enter_context(destination.open_read(artifact.key))
        audit.note_alone("artifact.downloaded", artifact.key, after={"size": size})
        kept = opened.pop_all()
    return Download(name=artifact.file_name, size=size, chunks=Chunks(reader, kept))


def type_label(source_type: str) -> str:
    """Return the name of a database type; one that this version lacks keeps its id."""
    return BY_TYPE[source_type].label if source_type in BY_TYPE else source_type


# An artifact knows its job while that exists; the run and the manifest remember its name.
_COLUMNS: Final[Any] = (
    select(
        ArtifactRow.id,
        ArtifactRow.key,
        ArtifactRow.destination_id,
        ArtifactRow.job_id,
        ArtifactRow.run_id,
        ArtifactRow.source_type,
        ArtifactRow.database,
        ArtifactRow.size,
        ArtifactRow.sha256,
        ArtifactRow.created_at,
        ArtifactRow.manifest,
        DestinationRow.name.label("destination_name"),
        Job.name.label("job_name"),
        Job.source_id,
        SourceRow.name.label("source_name"),
        Run.job_name.label("run_job_name"),
        Run.source_name.label("run_source_name"),
    )
    .join(DestinationRow, DestinationRow.id == ArtifactRow.destination_id)
    .outerjoin(Job, Job.id == ArtifactRow.job_id)
    .outerjoin(SourceRow, SourceRow.id == Job.source_id)
    .outerjoin(Run, Run.id == ArtifactRow.run_id)
)


def _page(
    session: Session, destination_id: int, before: int, after: int
) -> tuple[Sequence[Any], bool, bool]:
    """Return the rows, and whether there are newer and older ones."""
    here = _COLUMNS.where(ArtifactRow.destination_id == destination_id)
    if after:
        upwards = here.where(ArtifactRow.id > after).order_by(ArtifactRow.id)
        found = session.execute(upwards.limit(PAGE_SIZE + 1)).all()
        if len(found) > PAGE_SIZE:
            return found[PAGE_SIZE - 1 :: -1], True, True
    elif before:
        here = here.where(ArtifactRow.id < before)
    downwards = here.order_by(ArtifactRow.id.desc()).limit(PAGE_SIZE + 1)
    found = session.execute(downwards).all()
    return found[:PAGE_SIZE], bool(before) and not after, len(found) > PAGE_SIZE


def _latest(session: Session) -> int | None:
    newest = select(ArtifactRow.destination_id).order_by(ArtifactRow.id.desc()).limit(1)
    return session.scalar(newest)


def _chosen(places: tuple[Place, ...], destination_id: int | None) -> Place | None:
    if destination_id is None:
        return places[0] if places else None
    for place in places:
        if place.id == destination_id:
            return place
    raise NotFoundError("This destination does not exist (any more).")


def _artifact(row: Any) -> Artifact:
    return Artifact(
        id=row.id,
        key=row.key,
        destination_id=row.destination_id,
        destination_name=row.destination_name,
        job_id=row.job_id,
        job_name=row.job_name or row.run_job_name or "",
        source_id=row.source_id,
        source_name=row.source_name or row.run_source_name or "",
        source_type=row.source_type,
        database=row.database,
        size=row.size,
        sha256=row.sha256,
        created_at=row.created_at,
        run_id=row.run_id,
        encryption=row.manifest.get("encryption"),
    )
