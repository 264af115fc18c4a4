"""Use cases of destinations."""

from typing import Final

from sqlalchemy import select

from webapp.backup.destinations import DESTINATIONS
from webapp.backup.destinations.base import Destination
from webapp.models.job import DestinationRow, Job, JobDestination
from webapp.services.connections import Connections


def _verdict(destination: Destination) -> tuple[str, tuple[str, ...]]:
    return f"A file was written, read back and deleted. {destination.probe()}", ()


BOOK: Final[Connections[DestinationRow, Destination]] = Connections(
    DestinationRow,
    DESTINATIONS,
    noun="destination",
    users=select(JobDestination.destination_id, Job.name)
    .join(Job, Job.id == JobDestination.job_id)
    .order_by(Job.name),
    verdict=_verdict,
)


def open_destination(row: DestinationRow) -> Destination:
    """Return the configured destination, its references to secrets resolved.

    Raises:
        SecretError: the configuration or a secret it refers to cannot be opened.
        InvalidError: this version does not know the type.
    """
    return BOOK.open(row)
