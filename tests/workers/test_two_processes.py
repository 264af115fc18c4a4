"""Two processes on one database, SQLite and PostgreSQL: nothing twice while both live, and one
takes over when the other is killed.
"""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from flask import Flask
from sqlalchemy import func, select, update

from tests.conftest import make_settings
from tests.factories import make_channel, make_job
from tests.servers.http import Peer, Received
from tests.services_needed import HOST, PORT, require_postgres
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

pytestmark = pytest.mark.crash

# An owner of another host is never "certainly dead": its lease has to end, as between machines.
SCRIPT = """
import signal, sys
from webapp.services import processes
processes._host = lambda: sys.argv[1]
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


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Flask]:
    """An application on a database that processes can share."""
    if request.param == "sqlite":
        yield from _on(make_settings(tmp_path))
        return
    require_postgres()
    name = f"dbackup_test_{secrets.token_hex(6)}"
    with psycopg.connect(f"host={HOST} port={PORT} user=postgres", autocommit=True) as server:
        server.execute(f'CREATE DATABASE "{name}"')
        url = f"postgresql+psycopg://postgres@{HOST}:{PORT}/{name}"
        yield from _on(make_settings(tmp_path, database_url=url))
        server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


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
    environ = os.environ | {
        "DBACKUP_INSTANCE_PATH": str(settings.instance_path),
        "DBACKUP_SECRET_KEY": settings.secret_key,
        "DBACKUP_ENCRYPTION_KEYS": " ".join(settings.encryption_keys),
        "DBACKUP_DATABASE_URL": settings.database_url,
    }
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, host], env=environ, stdout=subprocess.PIPE, text=True
    ) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == "ready\n"
        try:
            yield started
        finally:
            started.kill()


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


def test_when_one_is_killed_the_other_takes_over_as_its_leases_end(
    shared: Flask, peer: Peer
) -> None:
    rows = hooks(peer, 5)
    with worker("one") as first:

        def hold(_received: Received) -> None:
            time.sleep(60 if first.poll() is None else 0)

        peer.before_answer = hold
        publish(rows, 2)
        peer.wait(5)
        until_all(State.SENDING, 10, 10)  # what is not leased yet would go at once
        first.send_signal(signal.SIGKILL)
        first.wait(10)
    peer.before_answer = None
    in_flight = {request.headers["webhook-id"] for request in peer.requests}
    with reading() as session:
        ends = session.scalar(select(func.max(Delivery.leased_until)))
    assert ends is not None
    assert ends - clock.now() <= timedelta(seconds=45), "well within the promised 60 s"
    with worker("two"):
        time.sleep(0.5)
        assert states()[State.SENT] == 0, "what another machine leased is left alone"
        with transaction() as session:  # 45 s later
            session.execute(
                update(Delivery)
                .where(Delivery.state == State.SENDING)
                .values(leased_until=clock.now(), next_attempt_at=clock.now())
            )
        until_all(State.SENT, 10, 15)
    ids = Counter(request.headers["webhook-id"] for request in peer.requests)
    assert len(ids) == 10
    assert {key for key, times in ids.items() if times > 1} <= in_flight
    assert max(ids.values()) <= 2, "at most one duplicate of what was in flight"


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
