"""The way back: fetch an artifact, verify it, load it into something new."""

from webapp.backup.destinations.base import Destination
from webapp.backup.progress import Progress
from webapp.backup.sources.base import Source


def restore(
    destination: Destination, key: str, *, source: Source, target: str, progress: Progress
) -> None:
    """Load the artifact into the new database or file `target`, on the source's server.

    The steps are "Fetch" (read the manifest), "Verify" (size and checksum of every byte, before
    anything is loaded) and "Load".

    Raises:
        BackupError: with the step that failed.
        CancelledError: it was stopped; nothing of the target stays.
    """
    raise NotImplementedError
