"""A server that publishes without pause and kills itself at a given point.

Usage: python -m tests.torture.victim POINT NUMBER
It kills itself when the point is passed for the NUMBERth time; "none" never comes. Nothing in the
product knows about points: they are laid around its functions here.
"""

import functools
import importlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sqlalchemy import event, select
from sqlalchemy.orm import Session

from tests.torture.points import POINTS
from webapp.app import create_app
from webapp.core import retry
from webapp.core.settings import Settings
from webapp.models.channel import ChannelRow
from webapp.notify.events import BY_TYPE
from webapp.services import outbox, schema
from webapp.services.routing import Target
from webapp.services.transaction import reading, transaction
from webapp.workers import runtime

retry.STEPS = (timedelta(milliseconds=20),)  # type: ignore[misc]  # what a retry waits is not what is tested
PUBLISH_EVERY = 0.004  # seconds


class Trap:
    """Counts how often the chosen point is passed and ends the process there."""

    def __init__(self, point: str, number: int) -> None:
        self._point, self._left = point, number
        self._lock = threading.Lock()

    def passed(self, point: str) -> None:
        if point != self._point:
            return
        with self._lock:
            self._left -= 1
            if self._left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(60)  # the signal comes before the next instruction of ours


def lay(trap: Trap) -> None:
    """Lay a point before and after each function, and around each commit."""
    for name, place in POINTS.items():
        module, _, attribute = place.partition(":")
        owner: Any = importlib.import_module(module)
        *parents, last = attribute.split(".")
        for parent in parents:
            owner = getattr(owner, parent)
        setattr(owner, last, _around(getattr(owner, last), name, trap))
    event.listen(Session, "before_commit", lambda _session: trap.passed("commit:before"))
    event.listen(Session, "after_commit", lambda _session: trap.passed("commit:after"))


def _around(function: Callable[..., Any], name: str, trap: Trap) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        trap.passed(f"{name}:before")
        result = function(*args, **kwargs)
        trap.passed(f"{name}:after")
        return result

    return wrapped


def publish(journal: int, stop: threading.Event) -> None:
    """Publish to every channel; write the event's id down when its commit has returned."""
    with reading() as session:
        rows = list(session.scalars(select(ChannelRow)))
    targets = [
        Target(channel_id=row.id, channel_name=row.name, channel_type=row.type) for row in rows
    ]
    while not stop.is_set():
        with transaction() as session:
            event_id = outbox.write(session, BY_TYPE["restore_failure"].sample(), targets)
        os.write(journal, f"{event_id}\n".encode())
        time.sleep(PUBLISH_EVERY)


def main() -> None:
    point, number = sys.argv[1], int(sys.argv[2])
    lay(Trap(point, number))
    settings = Settings.from_env(os.environ)
    app = create_app(settings)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with app.app_context():
        schema.upgrade()
        running = runtime.start(app)
        print("ready", flush=True)
        if os.environ.get("TORTURE_PUBLISH") == "1":
            journal = os.open(
                settings.instance_path / "journal", os.O_WRONLY | os.O_APPEND | os.O_CREAT
            )
            publish(journal, stop)
        else:
            stop.wait()
    running.stop(10)


if __name__ == "__main__":
    main()
