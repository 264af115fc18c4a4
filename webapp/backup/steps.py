"""Says where a pipeline is, and where it failed."""

from collections.abc import Iterator
from contextlib import contextmanager

from webapp.backup.errors import BackupError
from webapp.backup.progress import Progress


@contextmanager
def step(name: str, progress: Progress) -> Iterator[None]:
    """Announce the step, and put its name on a BackupError that has none yet."""
    progress.check()
    progress.step(name)
    try:
        yield
    except BackupError as error:
        error.step = error.step or name
        raise
