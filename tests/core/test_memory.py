"""Memory that was freed goes back to the system."""

import subprocess
import sys

import pytest

SCRIPT = """
import sys, threading
from webapp.core import memory

def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) // 1024

def work(barrier):
    blocks = [bytes(size) for size in range(4_000_000, 12_000_000, 1_000_000)]
    held = [bytearray(100_000) for _ in range(20)]
    barrier.wait()
    del blocks, held
    barrier.wait()
    rests.wait()

if sys.argv[1] == "low":
    memory.keep_low()
before = resident()
barrier, rests = threading.Barrier(8), threading.Event()
threads = [threading.Thread(target=work, args=(barrier,)) for _ in range(8)]
for _ in range(3):
    barrier, rests = threading.Barrier(8), threading.Event()
    threads = [threading.Thread(target=work, args=(barrier,)) for _ in range(8)]
    [thread.start() for thread in threads]
    rests.set()
    [thread.join() for thread in threads]
print(resident() - before)
"""


def kept(how: str) -> int:
    """Return how many MB a process keeps of what its threads freed."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, how], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a matter of glibc")
def test_what_threads_freed_is_given_back() -> None:
    assert kept("low") < 60  # of 350 and more
