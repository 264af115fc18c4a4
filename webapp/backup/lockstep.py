"""Runs code that reads and writes by itself in step with a caller that feeds it.

Some libraries want a file to read from and a file to write to, and return only at the end. Here
such code runs in a thread that moves only while its caller waits for it: nothing piles up, and all
that the caller does (reading from a server, asking whether the run is cancelled) stays in the
caller's thread.
"""

import threading
from collections.abc import Callable

from webapp.backup.sources.base import Reader, Writer


class _AbandonedError(Exception):
    """The caller is gone."""


class Lockstep:
    """`work(reader, writer)` in a thread; `feed` it, `finish` it, and `close` it in any case."""

    def __init__(self, work: "Callable[[Reader, Writer], None]", name: str) -> None:
        self._work = work
        self._input = memoryview(b"")
        self._output: list[bytes] = []
        self._at_end = self._is_closed = self._is_done = False
        self._error: BaseException | None = None
        self._its_turn, self._our_turn = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def feed(self, data: bytes) -> list[bytes]:
        """Give it data to read; return what it wrote until it wanted more."""
        self._input = memoryview(data)
        return self._step()

    def finish(self) -> list[bytes]:
        """Let it read the end; return what it wrote last."""
        self._at_end = True
        return self._step()

    def close(self) -> None:
        """End the thread, wherever it is."""
        self._is_closed = True
        self._its_turn.release()
        self._thread.join()

    def read(self, size: int = -1, /) -> bytes:
        """Called by the work: wait for data."""
        while not self._input and not self._at_end:
            self._our_turn.release()
            self._its_turn.acquire()
            if self._is_closed:
                raise _AbandonedError
        data = bytes(self._input if size < 0 else self._input[:size])
        self._input = self._input[len(data) :]
        return data

    def write(self, data: bytes, /) -> int:
        """Called by the work."""
        self._output.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Called by the work."""

    def _step(self) -> list[bytes]:
        if not self._is_done:
            self._its_turn.release()
            self._our_turn.acquire()
        if self._error is not None:
            raise self._error
        output, self._output = self._output, []
        return output

    def _run(self) -> None:
        self._its_turn.acquire()
        try:
            if not self._is_closed:
                self._work(self, self)
        except BaseException as error:  # noqa: BLE001 - handed over to the caller
            self._error = error
        self._is_done = True
        self._our_turn.release()
