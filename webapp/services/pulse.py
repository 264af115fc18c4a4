"""When the threads of this process last moved. Workers tell it, health and metrics ask."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast

from flask import Flask, current_app

_KEY: Final = "dbackup_pulse"


@dataclass(frozen=True)
class Pulse:
    """Answers with readings of `time.monotonic`."""

    dispatcher_moved_at: Callable[[], float]
    scheduler_moved_at: Callable[[], float]


def install(app: Flask, pulse: Pulse) -> None:
    """Say who works in this process."""
    app.extensions[_KEY] = pulse


def remove(app: Flask) -> None:
    """Say that nobody works here any more."""
    app.extensions.pop(_KEY, None)


def current() -> Pulse | None:
    """Return who works in this process; None: it only serves pages or commands."""
    return cast("Pulse | None", current_app.extensions.get(_KEY))
