"""Client programs as child processes: streamed, watched, and never left behind."""

import contextlib
import fcntl
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Final

from webapp.backup import launcher
from webapp.backup.errors import BackupError
from webapp.backup.files import CHUNK
from webapp.backup.progress import Progress

GATHERED: Final = 1 << 18  # bytes; each piece costs the links behind it some work
WIDE: Final = 1 << 19  # bytes; a pipe of less would be full while we sleep
LET_IT_FILL: Final = 0.002
"""Seconds. mariadb-dump writes a few kilobytes at a time, and waking up for each took a quarter of
a processor from the other programs; at 250 MB/s a pipe of 1 MB is half full after that time."""
TAIL_LINES: Final = 20
TAIL_LINE_LIMIT: Final = 500  # characters
POLL_SECONDS: Final = 0.2  # how fast a cancelled run is noticed while the program is silent
GRACE_SECONDS: Final = 3.0  # for a program to tell its server that it stops
BARE: Final = {"PATH": os.defpath, "LC_ALL": "C.UTF-8"}
"""All that a program gets to know of our environment, which may hold our own keys."""
TIME_LIMIT_SECONDS: Final = 24 * 3600.0


class ChildError(BackupError):
    """A client program failed; `tail` is the end of what it complained about."""

    def __init__(self, message: str, *, tail: str) -> None:
        super().__init__(message)
        self.tail = tail


class Child:
    """A running program in its own process group; leaving the block ends it in any case.

    The group is killed when the run is cancelled or over its time limit; the system kills the
    program when the server dies (see launcher.py).
    """

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        *,
        progress: Progress,
        reads: bool = False,
        time_limit_seconds: float = TIME_LIMIT_SECONDS,
    ) -> None:
        """`reads`: the program is fed through its standard input, else its output is read."""
        self.name = Path(command[0]).name
        self._progress = progress
        self._deadline = time.monotonic() + time_limit_seconds
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._process = subprocess.Popen(  # noqa: S603 - a program that we found, no shell
            [sys.executable, "-I", "-S", launcher.__file__, str(os.getpid()), *command],
            stdin=subprocess.PIPE if reads else subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if reads else subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(env),
            process_group=0,
            bufsize=0,
        )
        for pipe in (self._process.stdin, self._process.stdout):
            _widen(pipe)
        self._listener = threading.Thread(target=self._listen, name=f"{self.name} errors")
        self._listener.start()

    def __enter__(self) -> "Child":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(GRACE_SECONDS)
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._listener.join()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def output(self) -> Iterator[bytes]:
        """Yield what the program writes, until it ends well.

        Raises:
            ChildError: it did not end well.
        """
        pipe = _pipe(self._process.stdout)
        room = memoryview(bytearray(CHUNK))
        gathered = 0
        is_wide = _capacity(pipe) >= WIDE
        poll = _poll(pipe, select.POLLIN)
        at_end = False
        while not at_end:
            is_ready = self._is_ready(poll)
            if is_ready:
                count = os.readv(pipe, [room[gathered:]])
                gathered += count
                at_end = not count
                if is_wide and 0 < count < GATHERED:
                    time.sleep(LET_IT_FILL)
            if gathered and (at_end or not is_ready or gathered >= GATHERED):
                yield bytes(room[:gathered])  # whoever gets it may keep it
                gathered = 0
        self._finish()

    def feed(self, data: bytes) -> None:
        """Write all of the data to the program.

        Raises:
            ChildError: it ended instead of reading.
        """
        pipe = _pipe(self._process.stdin)
        os.set_blocking(pipe, False)
        poll = _poll(pipe, select.POLLOUT)
        rest = memoryview(data)
        while rest:
            if not self._is_ready(poll):
                continue
            try:
                rest = rest[os.write(pipe, rest) :]
            except BlockingIOError:
                continue
            except BrokenPipeError as error:
                self._finish()
                raise ChildError(f"{self.name} stopped reading.", tail=self.tail) from error

    def end(self) -> None:
        """Close the program's input and wait for it to end well."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._finish()

    @property
    def tail(self) -> str:
        """Return the last lines of what the program complained about."""
        return "\n".join(self._tail)

    def _finish(self) -> None:
        while True:
            self._check()
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = self._process.wait(POLL_SECONDS)
                break
        self._listener.join()
        if code < 0:
            raise ChildError(
                f"{self.name} was killed ({_signal_name(-code)}). When nobody did that, the "
                "server may have run out of memory: look into the system's log.",
                tail=self.tail,
            )
        if code > 0:
            raise ChildError(f"{self.name} ended with status {code}.", tail=self.tail)

    def _is_ready(self, poll: select.poll) -> bool:
        self._check()
        return bool(poll.poll(POLL_SECONDS * 1000))

    def _check(self) -> None:
        self._progress.check()
        if time.monotonic() > self._deadline:
            raise ChildError(f"{self.name} took too long and was stopped.", tail=self.tail)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _listen(self) -> None:
        assert self._process.stderr is not None  # noqa: S101 - narrows the type
        rest = b""
        while chunk := self._process.stderr.read(65_536):
            *lines, rest = (rest + chunk).split(b"\n")
            self._tail.extend(_shown(line) for line in lines)
            rest = rest[: 4 * TAIL_LINE_LIMIT]
        if rest:
            self._tail.append(_shown(rest))


def _shown(line: bytes) -> str:
    return line.decode("utf-8", "replace")[:TAIL_LINE_LIMIT]


def _poll(pipe: int, what: int) -> select.poll:
    poll = select.poll()  # select() cannot take file numbers from 1024 on
    poll.register(pipe, what)
    return poll


def _pipe(pipe: IO[bytes] | None) -> int:
    if pipe is None:
        raise RuntimeError("the program was started the other way round")
    return pipe.fileno()


def _capacity(pipe: int) -> int:
    if not hasattr(fcntl, "F_GETPIPE_SZ"):
        return 0
    return fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ)


def _widen(pipe: IO[bytes] | None) -> None:
    """Let more fit into the pipe: some programs write in small pieces, and wait for each."""
    if pipe is not None and hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(OSError):  # beyond what the system allows
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, CHUNK)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
