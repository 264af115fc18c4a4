"""Which process holds something, and whether it still lives."""

import os
import socket
from functools import cache
from pathlib import Path

_UNKNOWN = "0"


def owner() -> str:
    """Return the name of this process: host:pid:start. The start tells it from a later process
    that got the same pid.
    """
    return _name(os.getpid())


def is_dead(name: str) -> bool:
    """Say whether the process certainly no longer runs. One of another host is never "certain"."""
    host, pid, started = name.rsplit(":", 2)
    if host != _host():
        return False
    return _started(int(pid)) != started


@cache
def _name(pid: int) -> str:  # cached by pid, so a forked child gets its own
    return f"{_host()}:{pid}:{_started(pid)}"


def _host() -> str:
    return socket.gethostname()


def _started(pid: int) -> str:
    """Return the start in clock ticks since boot, with the boot's id; "" if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    except OSError:
        return _started_elsewhere(pid)
    state, *rest = stat.rpartition(")")[2].split()
    return "" if state == "Z" else f"{boot[:8]}-{rest[18]}"  # field 22 of proc(5)


def _started_elsewhere(pid: int) -> str:
    """Answer without /proc: alive or not is all that is known."""
    if Path("/proc/self/stat").exists():
        return ""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        return _UNKNOWN
    return _UNKNOWN
