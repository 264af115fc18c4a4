"""Which backups a destination keeps."""

from webapp.backup.destinations.base import Destination


def prune(destination: Destination, prefix: str, keep_last: int) -> tuple[str, ...]:
    """Delete the older backups under the prefix; return the keys that are gone.

    Counts only good ones (with a readable manifest and the size it states), and never deletes
    the newest good one, whatever `keep_last` says.
    """
    raise NotImplementedError
