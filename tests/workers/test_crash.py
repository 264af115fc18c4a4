"""The server is killed while it sends; nothing is lost, and a duplicate says that it is one."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from flask import Flask
from sqlalchemy import select

from tests.factories import make_channel
from tests.servers.http import Peer, Received
from webapp.core.settings import Settings
from webapp.models.delivery import Attempt, Delivery, State
from webapp.notify.events import BY_TYPE
from webapp.services import outbox
from webapp.services.routing import Target
from webapp.services.transaction import reading, transaction

pytestmark = pytest.mark.crash

SCRIPT = """
import signal
from webapp.app import create_app
from webapp.workers import runtime
app = create_app()
runtime.start(app)
print("ready", flush=True)
signal.pause()
"""


@contextmanager
def process(settings: Settings) -> Iterator[subprocess.Popen[str]]:
    """A process that does nothing but dispatch."""
    environ = os.environ | {
        "DBACKUP_INSTANCE_PATH": str(settings.instance_path),
        "DBACKUP_SECRET_KEY": settings.secret_key,
        "DBACKUP_ENCRYPTION_KEYS": " ".join(settings.encryption_keys),
    }
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT], env=environ, stdout=subprocess.PIPE, text=True
    ) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == "ready\n"
        try:
            yield started
        finally:
            started.kill()


def test_ten_events_in_flight_survive_kill_9(app: Flask, settings: Settings, peer: Peer) -> None:
    channels = [
        make_channel(config={"url": f"{peer.url}/{number}", "method": "POST"})
        for number in range(10)
    ]
    victim: list[subprocess.Popen[str]] = []

    def kill_when_all_are_in_flight(_received: Received) -> None:
        if len(peer.requests) >= 10:
            victim[0].send_signal(signal.SIGKILL)
        time.sleep(60 if victim[0].poll() is None else 0)

    peer.before_answer = kill_when_all_are_in_flight
    with process(settings) as first:
        victim.append(first)
        with transaction() as session:
            for row in channels:
                target = Target(channel_id=row.id, channel_name=row.name, channel_type=row.type)
                outbox.write(session, BY_TYPE["restore_failure"].sample(), [target])
        assert first.wait(30) == -signal.SIGKILL
    in_flight = {request.headers["webhook-id"] for request in peer.requests}
    assert len(in_flight) == 10

    peer.before_answer = None
    peer.clear()
    with process(settings):
        again = peer.wait(10, seconds=10)
        deadline = time.monotonic() + 10
        while _states() != [State.SENT] * 10:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert sorted(request.headers["webhook-id"] for request in again) == sorted(in_flight)
    with reading() as session:
        attempts = select(Attempt.outcome).order_by(Attempt.number)
        assert session.scalars(attempts).all() == ["lost"] * 10 + ["sent"] * 10


def _states() -> list[str]:
    with reading() as session:
        return list(session.scalars(select(Delivery.state)))
