"""What a machine says when it has no room for more. That passes: it is no reason to give up."""

import errno
import ssl
from typing import Final

_WORDS: Final = {
    errno.EMFILE: "too many files and connections are open",
    errno.ENFILE: "too many files and connections are open on the whole machine",
    errno.ENOMEM: "no memory is left",
    errno.ENOBUFS: "no memory is left for connections",
    errno.EAGAIN: "there is no room for another thread",
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
}


def words(error: BaseException) -> str:
    """Return what the machine lacks; "" when the error is about something else."""
    if isinstance(error, MemoryError):
        return _WORDS[errno.ENOMEM]
    if isinstance(error, RuntimeError) and str(error) == "can't start new thread":
        return _WORDS[errno.EAGAIN]
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError):
        return _WORDS.get(error.errno or 0, "")
    return ""
