"""A file of 16 MB that is given up first when the disk is full, so that messages still go out."""

import contextlib
import os
from functools import lru_cache
from pathlib import Path
from typing import Final

MEGABYTE: Final = 1024 * 1024
SIZE: Final = 16 * MEGABYTE
LOW: Final = 4 * MEGABYTE
"""With less than this left the ballast goes: a transaction and its log must still fit."""
ROOM: Final = SIZE + 2 * LOW
"""It is made (again) when so much is free; what is left then is well above LOW."""
NAME: Final = "ballast"


@lru_cache(maxsize=8)
def beside(database: str) -> Path:
    """Return where the ballast of a database file lies: on the same disk."""
    return Path(database).absolute().parent / NAME


def free_bytes(directory: Path | str) -> int:
    """Return how much this user may still write there."""
    state = os.statvfs(directory)
    return state.f_bavail * state.f_frsize


def is_there(path: Path) -> bool:
    """Say whether the ballast is there in its full size."""
    try:
        return path.stat().st_size == SIZE
    except OSError:
        return False


def keep(path: Path) -> bool:
    """Make the ballast if it is missing and there is room; say whether it is there."""
    if is_there(path):
        return True
    if free_bytes(path.parent) < ROOM:
        return False
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.posix_fallocate(handle, 0, SIZE)  # takes the blocks, also where zeros are not stored
        finally:
            os.close(handle)
    except OSError:
        give_up(path)
        return False
    return True


def give_up(path: Path) -> bool:
    """Free the room; say whether there was any to free."""
    with contextlib.suppress(OSError):
        path.unlink()
        return True
    return False


def give_up_when_low(path: Path) -> bool:
    """Free the room when little is left; say whether that was done just now."""
    try:
        low = free_bytes(os.path.dirname(path)) < LOW  # a third of what Path takes
    except OSError:
        return False
    return low and give_up(path)
