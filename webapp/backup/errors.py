"""What can go wrong with a backup or a restore, in words for the admin."""

import errno
from typing import Final

from webapp.core.errors import AppError
from webapp.core.scrub import scrub

_OS_WORDS: Final = {
    errno.ENOSPC: "The disk is full. Free some space there, then try again.",
    errno.EDQUOT: "The disk quota is used up. Free some space there, then try again.",
    errno.EACCES: "Permission denied. Allow the server's user to read and write there.",
    errno.EPERM: "The operation is not permitted there for the server's user.",
    errno.EROFS: "The file system is read-only. Mount it writable, or choose another place.",
    errno.ENOENT: "It does not exist. Check the path.",
    errno.ENOTDIR: "A part of the path is not a directory. Check the path.",
    errno.ENAMETOOLONG: "The path is too long for this file system.",
    errno.EIO: "The disk reports a read or write error. Check the disk.",
    errno.EMFILE: "Too many files are open. Raise the server's limit of open files.",
}


class BackupError(AppError):
    """A backup or a restore failed; `step` names where ("Dump"), "" while nobody has said it.

    It often quotes a server or a program, and ends in pages, forms and command lines as well as in
    runs: so it loses credentials here, and no reader of it has to think of that.
    """

    def __init__(self, message: str, *, step: str = "") -> None:
        super().__init__(scrub(message))
        self.step = step


class CancelledError(AppError):
    """Somebody stopped the run."""


def os_words(error: OSError) -> str:
    """Return what an operating system error means and what to do, without paths."""
    words = _OS_WORDS.get(error.errno or 0)
    return words or f"{error.strerror or type(error).__name__}."
