"""Which errors are about the machine and pass."""

import errno
import ssl
import threading

import pytest

from tests.shortages import no_more_files, no_new_threads
from webapp.core import shortage


def test_a_machine_that_has_no_room_is_told_from_a_fault() -> None:
    with no_more_files(), pytest.raises(OSError, match="Too many open files") as files:
        open("/dev/null")  # noqa: SIM115 - it cannot be opened
    with no_new_threads(), pytest.raises(RuntimeError) as threads:
        threading.Thread(target=print).start()
    with pytest.raises(MemoryError) as memory:
        bytearray(1 << 60)
    assert shortage.words(files.value) == "too many files and connections are open"
    assert shortage.words(threads.value) == "there is no room for another thread"
    assert shortage.words(memory.value) == "no memory is left"


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "no such file"),
        PermissionError(errno.EACCES, "denied"),
        ssl.SSLError(errno.ENOMEM, "[X509] a number of its own"),
        RuntimeError("generator raised StopIteration"),
        ValueError("24"),
    ],
)
def test_anything_else_is_no_shortage(error: Exception) -> None:
    assert not shortage.words(error)
