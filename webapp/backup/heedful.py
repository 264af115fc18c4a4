"""What hangs, a destination or a server, must not keep a run from being stopped.

Every call of the destination is made in a thread of its own, and whoever waits for it goes on
asking whether the run should stop. A call that hangs then is left behind; what tidies up after it
waits its turn in that thread, until the destination answers or its own time limits end the call.
"""

import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from webapp.backup.destinations.base import Destination, Entry
from webapp.backup.errors import BackupError, CancelledError
from webapp.backup.progress import Progress
from webapp.backup.sources.base import Reader, Writer

Result = TypeVar("Result")
POLL_SECONDS: Final = 0.2  # how fast a stopped run is noticed while a destination is silent
TIDY_SECONDS: Final = 3.0  # how long a destination may take to tidy up before it is left to itself
ON_THE_WAY: Final = 4  # pieces; a handover for each would cost the dump its pace on a busy machine
STILL_BUSY: Final = "The destination does not answer. What is left there is deleted when it does."


class Heedful(Destination):
    """Does what another destination does, and heeds `progress` meanwhile; `close` it."""

    def __init__(self, inner: Destination, progress: Progress) -> None:
        super().__init__(inner.config, inner.reach)
        self.journal = inner.journal
        self._inner, self._progress = inner, progress
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._is_silent = False

    @classmethod
    def summarize(cls, config: Any) -> str:
        """Say nothing: the type is another one's."""
        return ""

    def close(self) -> None:
        """Let the thread end; it first does what waits."""
        self._calls.put(None)

    def probe(self) -> str:
        """Pass on."""
        return self._done(self._inner.probe)

    @contextmanager
    def open_write(self, key: str) -> Iterator[Writer]:
        """Pass on, with a writer that heeds, too."""
        opened = self._inner.open_write(key)
        writer = self._entered(opened)
        try:
            heedful = _Writer(self._begun, self._waited, writer)
            yield heedful
            heedful.settle()
        except BaseException as error:
            why = error
            self._tidied(lambda: _left(opened, why))
            raise
        self._done(lambda: opened.__exit__(None, None, None))

    @contextmanager
    def open_read(self, key: str) -> Iterator[Reader]:
        """Pass on, with a reader that heeds, too."""
        opened = self._inner.open_read(key)
        reader = self._entered(opened)
        try:
            yield _Reader(self._done, reader)
        finally:
            self._tidied(lambda: opened.__exit__(None, None, None))

    def list(self, prefix: str = "") -> tuple[Entry, ...]:
        """Pass on."""
        return self._done(lambda: self._inner.list(prefix))

    def delete(self, key: str) -> None:
        """Pass on; it is tidying up, which also a stopped run does.

        Raises:
            BackupError: it takes long; it is done as soon as the destination answers.
        """
        if not self._tidied(lambda: self._inner.delete(key)):
            raise BackupError(STILL_BUSY)

    def size(self, key: str) -> int:
        """Pass on."""
        return self._done(lambda: self._inner.size(key))

    def discard(self, ref: str) -> None:
        """Pass on."""
        self._done(lambda: self._inner.discard(ref))

    def sweep(self) -> int:
        """Pass on."""
        return self._done(self._inner.sweep)

    def _entered(self, opened: Any) -> Any:
        """Enter; when the run is stopped meanwhile, leave again as soon as that is done."""
        future = self._begun(opened.__enter__)
        try:
            return self._waited(future)
        except CancelledError as stopped:
            why = stopped
            self._begun(lambda: None if future.exception() else _left(opened, why))
            raise

    def _done(self, call: Callable[[], Result]) -> Result:
        return self._waited(self._begun(call))

    def _waited(self, future: "Future[Result]") -> Result:
        return _waited(future, self._progress)

    def _tidied(self, call: Callable[[], object]) -> bool:
        """Wait for a moment, once; False: it is done later."""
        future = self._begun(call)
        if not wait((future,), 0 if self._is_silent else TIDY_SECONDS).done:
            self._is_silent = True
            return False
        future.result()
        return True

    def _begun(self, call: Callable[[], Result]) -> "Future[Result]":
        future: Future[Result] = Future()
        self._calls.put(lambda: _work(future, call))
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="destination", daemon=True)
            self._thread.start()
        return future

    def _run(self) -> None:
        while (work := self._calls.get()) is not None:
            work()


def heed(call: Callable[[], Result], progress: Progress) -> Result:
    """Make one call that may hang, of a server that went silent; heed `progress` meanwhile."""
    future: Future[Result] = Future()
    threading.Thread(target=_work, args=(future, call), name="heeded", daemon=True).start()
    return _waited(future, progress)


def _work(future: "Future[Result]", call: Callable[[], Result]) -> None:
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 - handed over to whoever waits
        future.set_exception(error)
    else:
        future.set_result(result)


def _waited(future: "Future[Result]", progress: Progress) -> Result:
    while not wait((future,), POLL_SECONDS).done:
        progress.check()
    return future.result()


def _left(opened: Any, error: BaseException) -> None:
    with contextlib.suppress(type(error)):
        opened.__exit__(type(error), error, error.__traceback__)


class _Writer:
    """Lets a few pieces be on their way; trouble with one is raised by a later call."""

    def __init__(
        self,
        begun: "Callable[[Callable[[], int]], Future[int]]",
        waited: "Callable[[Future[int]], int]",
        inner: Writer,
    ) -> None:
        self._begun, self._waited, self._inner = begun, waited, inner
        self._on_the_way: deque[Future[int]] = deque()

    def write(self, data: bytes, /) -> int:
        self._on_the_way.append(self._begun(lambda: self._inner.write(data)))
        while self._on_the_way[0].done() or len(self._on_the_way) > ON_THE_WAY:
            self._waited(self._on_the_way.popleft())
            if not self._on_the_way:
                break
        return len(data)

    def settle(self) -> None:
        """Wait for all of them."""
        while self._on_the_way:
            self._waited(self._on_the_way.popleft())


class _Reader:
    def __init__(self, done: Callable[[Callable[[], Any]], Any], inner: Reader) -> None:
        self._done, self._inner = done, inner

    def read(self, size: int = -1, /) -> bytes:
        return bytes(self._done(lambda: self._inner.read(size)))
