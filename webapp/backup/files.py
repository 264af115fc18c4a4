"""Small things about files that sources and destinations share."""

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from webapp.backup.errors import BackupError, os_words

CHUNK: Final = 1 << 20  # bytes at a time; larger ones are not faster, and memory stays flat
KEPT_FREE: Final = 64 << 20  # bytes; more than the ballast needs to come back
LEFT_AFTER_SECONDS: Final = 60  # a file is made a moment before it is locked


@contextmanager
def words(doing: str) -> Iterator[None]:
    """Turn errors of the operating system into a BackupError: "Cannot <doing>: …"."""
    try:
        yield
    except OSError as error:
        raise BackupError(f"Cannot {doing}: {os_words(error)}") from error


def private(path: str, flags: int) -> int:
    """Open a file that only its owner may read: a backup holds all that the database holds."""
    return os.open(path, flags, 0o600)


def write_all(handle: int, data: bytes) -> int:
    """Write all of the data; the system may take it in parts."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest) :]
    return len(data)


def require_room(handle: int, size: int) -> None:
    """Refuse to take the last room of a disk, which others need to say what goes wrong.

    Raises:
        OSError: the disk would be full (ENOSPC).
    """
    disk = os.fstatvfs(handle)
    if disk.f_bavail * disk.f_frsize < size + KEPT_FREE:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def sync(handle: int) -> None:
    """Put a file on the disk, and out of the cache, so that reading it back means the disk."""
    os.fsync(handle)
    with contextlib.suppress(OSError):
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)


def sync_directory(directory: Path) -> None:
    """Put the names in a directory on the disk, where the file system knows how to."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:
            raise
    finally:
        os.close(handle)


def mark_in_use(handle: int) -> None:
    """Lock the file as long as this process holds it open, where the file system knows how to."""
    with contextlib.suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX)


def is_left_over(path: Path) -> bool:
    """Say whether the process that made this file or directory is gone."""
    try:
        if time.time() - path.stat().st_mtime < LEFT_AFTER_SECONDS:
            return False
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def is_locked(path: Path) -> bool:
    """Say whether a process has marked this file as in use; one that is not there is not.

    Raises:
        OSError: it cannot be opened.
    """
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # the file system knows no locks
        return False
    finally:
        os.close(handle)
    return False
