"""Use cases of sources."""

from typing import Final

from sqlalchemy import select

from webapp.backup.sources import SOURCES
from webapp.backup.sources.base import Source
from webapp.models.job import Job, SourceRow
from webapp.services.connections import Connections


def _verdict(source: Source) -> tuple[str, tuple[str, ...]]:
    found = source.probe()
    client = f", dumped by {found.client}" if found.client else ""
    return f"{found.version}{client}.", found.notes


BOOK: Final[Connections[SourceRow, Source]] = Connections(
    SourceRow,
    SOURCES,
    noun="source",
    users=select(Job.source_id, Job.name).order_by(Job.name),
    verdict=_verdict,
)


def open_source(row: SourceRow) -> Source:
    """Return the configured source, its references to secrets resolved.

    Raises:
        SecretError: the configuration or a secret it refers to cannot be opened.
        InvalidError: this version does not know the type.
    """
    return BOOK.open(row)
