"""Room for a temporary copy, given back even by processes that were killed."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from webapp.backup import files
from webapp.backup.errors import BackupError
from webapp.backup.files import words
from webapp.core import text

PREFIX: Final = "dbackup-copy-"
LARGE_FILES: Final = "/var/tmp"  # noqa: S108 - made for large temporary files; /tmp may be memory


@contextmanager
def directory(needed: int) -> Iterator[Path]:
    """Make a private directory with room for so many bytes; it is gone after the block.

    Raises:
        BackupError: there is no such room.
    """
    parent = _with_room(needed)
    _sweep(parent)
    with words(f"make a temporary copy in {parent}"):
        made = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    handle = os.open(made, os.O_RDONLY)
    try:
        files.mark_in_use(handle)
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
        os.close(handle)


def sweep() -> None:
    """Remove the copies that killed processes left."""
    for parent in _parents():
        _sweep(parent)


def _parents() -> list[Path]:
    parents = [Path(tempfile.gettempdir())]
    if parents[0] == Path("/tmp") and os.access(LARGE_FILES, os.W_OK):  # noqa: S108 - compared
        parents.insert(0, Path(LARGE_FILES))
    return parents


def _with_room(needed: int) -> Path:
    candidates = _parents()
    for candidate in candidates:
        if shutil.disk_usage(candidate).free >= needed:
            return candidate
    raise BackupError(
        f"There is no room for the temporary copy: it needs {text.size(needed)}, and "
        f"{candidates[0]} has {text.size(shutil.disk_usage(candidates[0]).free)} free. Free some "
        "space there, or start the server with TMPDIR set to a directory with more room."
    )


def _sweep(parent: Path) -> None:
    for left in parent.glob(f"{PREFIX}*"):
        if files.is_left_over(left):
            shutil.rmtree(left, ignore_errors=True)
