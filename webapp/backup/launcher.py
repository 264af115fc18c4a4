"""Becomes another program that the system kills when the thread that started this one is gone.

Started as a script: `python -I -S launcher.py PARENT_PID PROGRAM ARGUMENT…`. It runs between fork
and exec of the real program, in a process of its own, because Python code between fork and exec of
a server with threads may deadlock.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h
NOT_STARTED = 127


def main(parent: int, command: list[str]) -> None:
    """Tie this process to its parent, then become the command."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:  # it died before it was tied
        os._exit(NOT_STARTED)
    try:
        os.execv(command[0], command)  # noqa: S606 - no shell is wanted
    except OSError as error:
        sys.stderr.write(f"{command[0]} cannot be started: {error.strerror}\n")
        os._exit(NOT_STARTED)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
