"""Which backups a destination keeps."""

from webapp.backup import manifest
from webapp.backup.destinations.base import Destination
from webapp.backup.errors import BackupError


def prune(destination: Destination, prefix: str, keep_last: int) -> tuple[str, ...]:
    """Delete the older backups under the prefix; return the keys that are gone.

    Counts only good ones (with a readable manifest and the size it states), and never deletes
    the newest good one, whatever `keep_last` says. Files without a usable manifest are left
    alone: they may be somebody else's, or a backup that is being verified.
    """
    doomed = good(destination, prefix)[max(keep_last, 1) :]
    for key in doomed:
        destination.delete(key)
        destination.delete(key + manifest.SUFFIX)
    return doomed


def good(destination: Destination, prefix: str) -> tuple[str, ...]:
    """Return the keys of the whole backups under the prefix, newest first."""
    sizes = {entry.key: entry.size for entry in destination.list(prefix)}
    found: list[tuple[str, str]] = []
    for key in map(manifest.artifact_of, filter(manifest.is_manifest, sizes)):
        try:
            stated = manifest.read(destination, key)
        except BackupError:
            continue
        if stated.size == sizes.get(key):
            found.append((stated.created_at, key))
    return tuple(key for _, key in sorted(found, reverse=True))
