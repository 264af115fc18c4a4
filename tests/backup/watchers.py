"""A watcher of a backup that remembers what it was told and may cancel."""

from collections.abc import Callable
from typing import Any

from webapp.backup.errors import CancelledError


class Watcher:
    """A Progress. `cancel_when` is asked at each check with the watcher itself."""

    def __init__(self, cancel_when: "Callable[[Watcher], bool] | None" = None) -> None:
        self.steps: list[str] = []
        self.lines: list[tuple[str, str]] = []
        self.done = 0
        self.total: int | None = None
        self.checks = 0
        self._cancel_when = cancel_when

    def step(self, name: str) -> None:
        self.steps.append(name)

    def advance(self, done: int, total: int | None) -> None:
        self.done, self.total = done, total

    def line(self, level: str, text: str) -> None:
        self.lines.append((level, text))

    def check(self) -> None:
        self.checks += 1
        if self._cancel_when and self._cancel_when(self):
            raise CancelledError("Stopped.")


class Collected:
    """A writer that keeps what it is given."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes, /) -> int:
        self.data += data
        return len(data)


def manifest_facts() -> dict[str, Any]:
    return {"job": "Nightly", "run_id": 7}
