"""The server, which publishes without pause and kills itself at a given point.

It kills itself when the point is passed for a given time; "none" never comes. Nothing in the
product knows about points: they are laid around its functions here. It says on standard output how
far it came.
"""

import functools
import importlib
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from flask import Flask
from sqlalchemy import event, select
from sqlalchemy.orm import Session

from tests.torture.points import COMMIT, POINTS, Phase
from webapp import server
from webapp.core import retry
from webapp.core.settings import Settings
from webapp.models.channel import ChannelRow
from webapp.notify.events import BY_TYPE
from webapp.notify.outbound import Outbound
from webapp.services import outbox, schema
from webapp.services.routing import Target
from webapp.services.transaction import reading, transaction
from webapp.workers import runtime
from webapp.workers.runtime import Running

BEGUN: Final = "torture: begun"
READY: Final = "torture: ready"
STOPPING: Final = "torture: stopping"
REACHED: Final = "torture: reached"
LIFE_HEADER: Final = "Torture-Life"
EVENT: Final = "restore_failure"
BURST: Final = 6  # events in quick succession, so that messages wait behind each other
PAUSE: Final = 0.08  # seconds between two bursts


def say(words: str) -> None:
    """Print a line past all buffers; a killed process does not empty them."""
    os.write(1, f"{words}\n".encode())


class Trap:
    """Counts how often the chosen point is passed and ends the process there."""

    def __init__(self, point: str, passes: int) -> None:
        self.name, _, self._side = point.partition(":")
        self._left = passes
        self._lock = threading.Lock()
        self._phase = POINTS[self.name].phase if self.name in POINTS else None
        self._armed = self._phase is Phase.START

    def begins(self, phase: Phase) -> None:
        """Count from now on what is passed in that phase."""
        self._armed = self._armed or self._phase is phase

    def passed(self, side: str) -> None:
        """Die if this was the pass to die at."""
        if side != self._side or not self._armed:
            return
        with self._lock:
            self._left -= 1
            if self._left <= 0:
                say(REACHED)
                os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(60)  # the signal comes before the next instruction of ours


def lay(trap: Trap) -> None:
    """Lay the point around its function, or around each commit."""
    if trap.name == COMMIT:
        event.listen(Session, "before_commit", lambda _session: trap.passed("before"))
        event.listen(Session, "after_commit", lambda _session: trap.passed("after"))
    elif trap.name in POINTS:
        _wrap(POINTS[trap.name].place, lambda function: _around(function, trap))


def _wrap(place: str, wrapper: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    module, _, attribute = place.partition(":")
    owner: Any = importlib.import_module(module)
    *parents, last = attribute.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    setattr(owner, last, wrapper(getattr(owner, last)))


def _around(function: Callable[..., Any], trap: Trap) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        trap.passed("before")
        result = function(*args, **kwargs)
        trap.passed("after")
        return result

    return wrapped


def mark_calls(life: str) -> None:
    """Let each request tell the peer which life it was made in."""
    request = Outbound.request

    @functools.wraps(request)
    def marked(*args: Any, headers: Any, **kwargs: Any) -> Any:
        return request(*args, headers={**headers, LIFE_HEADER: life}, **kwargs)

    Outbound.request = marked  # type: ignore[method-assign]


def arm_at_the_stop(trap: Trap) -> None:
    """Let passes of what a stop passes count from the stop on."""
    stop = Running.stop

    def armed(*args: Any, **kwargs: Any) -> bool:
        say(STOPPING)
        trap.begins(Phase.STOP)
        return stop(*args, **kwargs)

    Running.stop = armed  # type: ignore[method-assign]


def when_all_runs(then: Callable[[Flask], None]) -> None:
    """Call back once the server's threads have been started."""
    start = runtime.start

    def started(app: Flask) -> Running:
        running = start(app)
        then(app)
        return running

    runtime.start = started


def publish(app: Flask, journal: Path, stop: threading.Event) -> None:
    """Publish to every channel; write an event's id down when its commit has returned."""
    with app.app_context():
        with reading() as session:
            rows = list(session.scalars(select(ChannelRow)))
        targets = [
            Target(channel_id=row.id, channel_name=row.name, channel_type=row.type) for row in rows
        ]
        file = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        while not stop.is_set():
            for _ in range(BURST):
                with transaction() as session:
                    event_id = outbox.write(session, BY_TYPE[EVENT].sample(), targets)
                os.write(file, f"{event_id}\n".encode())
            stop.wait(PAUSE)


@dataclass(frozen=True, kw_only=True)
class Fate:
    """What a process is to do, and where it ends."""

    life: int
    point: str
    passes: int
    environ: Mapping[str, str]
    errors: Path
    """Where its standard error goes."""


def live(fate: Fate, output: Connection) -> None:
    """Serve, as `dbackup serve` does, on any free port; in a process that was made for it."""
    with fate.errors.open("wb") as errors:
        os.dup2(errors.fileno(), 2)
    os.dup2(output.fileno(), 1)
    output.close()
    os.environ.clear()
    os.environ.update(fate.environ)
    warnings.simplefilter("ignore")
    retry.STEPS = (timedelta(milliseconds=20),)  # type: ignore[misc]  # the wait is not what is tested
    if revisions := os.environ.get("TORTURE_REVISIONS"):
        schema.REVISIONS = Path(revisions)  # type: ignore[misc]  # those of a next version
    trap = Trap(fate.point, fate.passes)
    lay(trap)
    arm_at_the_stop(trap)
    mark_calls(str(fate.life))
    settings = replace(Settings.from_env(os.environ), port=0)
    stop = threading.Event()
    publishers: list[threading.Thread] = []

    def ready(app: Flask) -> None:
        if os.environ.get("TORTURE_PUBLISH") == "1":
            journal = settings.instance_path / "journal"
            publishers.append(threading.Thread(target=publish, args=(app, journal, stop)))
            publishers[0].start()
        say(READY)
        trap.begins(Phase.RUNNING)

    when_all_runs(ready)
    say(BEGUN)
    try:
        server.serve(settings)
    finally:
        stop.set()
        for publisher in publishers:
            publisher.join()
