"""Use cases of destinations."""

from webapp.backup.destinations import BY_TYPE
from webapp.backup.destinations.base import Destination
from webapp.core import secrets
from webapp.models.job import DestinationRow
from webapp.services.installation import installation


def open_destination(row: DestinationRow) -> Destination:
    """Return the configured destination, its references to secrets resolved.

    Raises:
        SecretError: the configuration or a secret it refers to cannot be opened.
    """
    config = installation().sealer.open(row.config)
    resolved = {
        key: secrets.resolve(value) if secrets.is_reference(value) else value
        for key, value in config.items()
    }
    return BY_TYPE[row.type](resolved)
