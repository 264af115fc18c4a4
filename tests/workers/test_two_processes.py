"""Two processes on one database, SQLite and PostgreSQL: nothing twice while both live, and one
takes over when the other is killed.
"""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import func, select

from tests.conftest import make_postgres, make_settings
from tests.factories import make_channel, make_job
from tests.servers.http import Peer, Received
from webapp.app import create_app
from webapp.core import clock
from webapp.core.settings import Settings
from webapp.models import db
from webapp.models.channel import ChannelRow
from webapp.models.delivery import Delivery, State
from webapp.models.run import Run
from webapp.models.setting import Lease
from webapp.notify.events import BY_TYPE
from webapp.services import outbox
from webapp.services.installation import installation
from webapp.services.routing import Target
from webapp.services.transaction import reading, transaction
from webapp.workers.dispatcher import POLL

pytestmark = pytest.mark.crash

# An owner of another host is never "certainly dead": its lease has to end, as between machines.
# The clock is as far ahead as a file says, which the test may change at any time.
SCRIPT = """
import datetime, pathlib, signal, sys
from webapp.core import clock
from webapp.services import processes
processes._host = lambda: sys.argv[1]
right, ahead = clock.now, pathlib.Path(sys.argv[2])
clock.now = lambda: right() + datetime.timedelta(seconds=float(ahead.read_text()))
from webapp.app import create_app
from webapp.workers import runtime
app = create_app()
running = runtime.start(app)
stop = lambda *_: (running.stop(20), sys.exit(0))
signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
while True:
    signal.pause()
"""

BEFORE = 3.0  # seconds before the first lease ends


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Flask]:
    """An application on a database that processes can share."""
    if request.param == "sqlite":
        yield from _on(make_settings(tmp_path))
        return
    with make_postgres() as url:
        yield from _on(make_settings(tmp_path, database_url=url))


def _on(settings: Settings) -> Iterator[Flask]:
    app = create_app(settings)
    with app.app_context():
        db.create_all()
        yield app
        db.session.remove()
        db.engine.dispose()


@contextmanager
def worker(host: str) -> Iterator[subprocess.Popen[str]]:
    """A process that works, and believes that it runs on a host of that name."""
    settings = installation().settings
    set_ahead(host, 0)
    environ = os.environ | {
        "DBACKUP_INSTANCE_PATH": str(settings.instance_path),
        "DBACKUP_SECRET_KEY": settings.secret_key,
        "DBACKUP_ENCRYPTION_KEYS": " ".join(settings.encryption_keys),
        "DBACKUP_DATABASE_URL": settings.database_url,
    }
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, host, str(_ahead(host))],
        env=environ,
        stdout=subprocess.PIPE,
        text=True,
    ) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == "ready\n"
        try:
            yield started
        finally:
            started.kill()


def set_ahead(host: str, seconds: float) -> None:
    """Set the clock of that process; it reads either the old or the new figure."""
    fresh = _ahead(host).with_suffix(".new")
    fresh.write_text(str(seconds))
    fresh.replace(_ahead(host))


def _ahead(host: str) -> Path:
    return installation().settings.instance_path / f"{host}.ahead"


def publish(rows: list[ChannelRow], count: int) -> None:
    targets = [
        Target(channel_id=row.id, channel_name=row.name, channel_type=row.type) for row in rows
    ]
    for _ in range(count):
        with transaction() as session:
            outbox.write(session, BY_TYPE["restore_failure"].sample(), targets)


def states() -> Counter[str]:
    with reading() as session:
        return Counter(session.scalars(select(Delivery.state)).all())


def until_all(state: State, count: int, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while states() != {state: count}:
        assert time.monotonic() < deadline, states()
        time.sleep(0.05)


def until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def hooks(peer: Peer, count: int) -> list[ChannelRow]:
    return [
        make_channel(config={"url": f"{peer.url}/{number}", "method": "POST"})
        for number in range(count)
    ]


def test_nothing_is_sent_twice_while_both_live(shared: Flask, peer: Peer) -> None:
    rows = hooks(peer, 20)
    with worker("one"), worker("two"):
        publish(rows, 15)
        until_all(State.SENT, 300, 60)
        time.sleep(0.3)
    ids = Counter(request.headers["webhook-id"] for request in peer.requests)
    assert len(ids) == 300
    assert set(ids.values()) == {1}


def test_when_one_is_killed_the_other_takes_over_within_60_seconds(
    shared: Flask, peer: Peer
) -> None:
    """The clock of the other is moved to just before the leases end; it does the rest itself."""
    rows = hooks(peer, 5)
    with worker("one") as first:

        def hold(_received: Received) -> None:
            while first.poll() is None:
                time.sleep(0.05)

        peer.before_answer = hold
        publish(rows, 2)
        peer.wait(5)
        until_all(State.SENDING, 10, 10)
        until(lambda: schedulers() == ["one"], 10)
        with worker("two"):
            time.sleep(POLL + 0.5)
            assert len(peer.requests) == 5, "what a living process leased is left alone"
            assert schedulers() == ["one"]
            first.send_signal(signal.SIGKILL)
            first.wait(10)
            killed, in_flight = time.time(), {r.headers["webhook-id"] for r in peer.requests}
            assert len(in_flight) == 5
            first_end, last_end = lease_ends()
            assert last_end - killed <= 45

            ahead = first_end - killed - BEFORE
            set_ahead("two", ahead)
            time.sleep(BEFORE / 2)
            assert len(peer.requests) == 5, "what another machine leased is left alone until then"
            until_all(State.SENT, 10, 15)
            until(lambda: schedulers() == ["two"], 10)
    again = peer.requests[5:]
    waits = [request.at + ahead - killed for request in again]
    assert first_end - killed <= min(waits)
    assert max(waits) <= 60, waits
    assert len({request.headers["webhook-id"] for request in again}) == len(again) == 10
    assert {request.headers["webhook-id"] for request in again} >= in_flight


def lease_ends() -> tuple[float, float]:
    """Return when the first and the last lease of deliveries end, in seconds since 1970."""
    with reading() as session:
        found = session.scalars(select(Delivery.leased_until)).all()
    ends = [moment.timestamp() for moment in found if moment is not None]
    return min(ends), max(ends)


def schedulers() -> list[str]:
    """Return the host of the process that has the right to schedule."""
    with reading() as session:
        owners = session.scalars(select(Lease.owner).where(Lease.name == "scheduler"))
        return [owner.split(":")[0] for owner in owners]


def test_schedules_fire_once(shared: Flask) -> None:
    """Both look at a job that is due every minute; moving what was served makes it due."""
    job = make_job(schedule="* * * * *", timezone="UTC", enabled=True)
    with transaction() as session:
        session.merge(job).served_until = clock.now() - timedelta(seconds=61)
    with worker("one"), worker("two"):
        deadline = time.monotonic() + 20
        while _runs() < 1:
            assert time.monotonic() < deadline, "nobody started it"
            time.sleep(0.1)
        time.sleep(3.5)  # one more look of both
        with reading() as session:
            started = session.scalars(select(Run.started_at).order_by(Run.id)).all()
            owner = session.scalar(select(Lease.owner).where(Lease.name == "scheduler"))
    assert owner is not None
    minutes = Counter(moment.replace(second=0, microsecond=0) for moment in started)
    assert set(minutes.values()) == {1}, started


def _runs() -> int:
    with reading() as session:
        return session.scalar(select(func.count()).select_from(Run)) or 0
