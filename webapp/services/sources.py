"""Use cases of sources."""

from webapp.backup.sources import BY_TYPE
from webapp.backup.sources.base import Source
from webapp.core import secrets
from webapp.models.job import SourceRow
from webapp.services.installation import installation


def open_source(row: SourceRow) -> Source:
    """Return the configured source, its references to secrets resolved.

    Raises:
        SecretError: the configuration or a secret it refers to cannot be opened.
    """
    config = installation().sealer.open(row.config)
    resolved = {
        key: secrets.resolve(value) if secrets.is_reference(value) else value
        for key, value in config.items()
    }
    return BY_TYPE[row.type](resolved)
