"""The heartbeat's thread: a call each minute while all is well. Its waits move the clock."""

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from flask import Flask
from sqlalchemy import delete

from tests.servers.http import Peer, Received
from tests.services.test_health import waiting
from webapp.core import clock
from webapp.models.delivery import Delivery
from webapp.services import heartbeat
from webapp.services.transaction import transaction
from webapp.workers.heartbeat import Heartbeat

JITTER = 0.5  # seconds


class Time(threading.Event):
    """A wait takes no time and moves the clock instead; after some of them it is time to stop."""

    def __init__(self, waits: int, then: Callable[[int], None] = lambda _waits: None) -> None:
        super().__init__()
        self._waits, self._then = waits, then
        self._waited = 0
        self.passed = timedelta(0)
        self.is_over = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.passed += timedelta(seconds=timeout)
        self._waited += 1
        self._then(self._waited)
        if self._waited == self._waits:
            self.set()
            self.is_over.set()
        return self.is_set()


def calls(app: Flask, peer: Peer, moved: Time, monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """Let the thread beat until its time is over; return when the address was called."""
    right, heard = clock.now, []
    monkeypatch.setattr(clock, "now", lambda: right() + moved.passed)
    slowness = peer.before_answer

    def hear(received: Received) -> None:
        heard.append(clock.now())
        if slowness is not None:
            slowness(received)

    peer.before_answer = hear
    heartbeat.save(f"{peer.url}/ping")
    beating = Heartbeat(app, moved)
    beating.start()
    assert moved.is_over.wait(20)
    assert beating.stop(5)
    return heard


def gaps(heard: list[datetime]) -> list[float]:
    return [(later - earlier).total_seconds() for earlier, later in pairwise(heard)]


def test_the_address_is_called_each_minute(
    app: Flask, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = calls(app, peer, Time(10), monkeypatch)
    assert len(heard) == 10
    assert gaps(heard) == pytest.approx([60.0] * 9, abs=JITTER)


def test_an_address_that_is_slow_to_answer_is_called_each_minute_as_well(
    app: Flask, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer.before_answer = lambda _received: time.sleep(1.0)
    heard = calls(app, peer, Time(3), monkeypatch)
    assert gaps(heard) == pytest.approx([60.0] * 2, abs=JITTER)


def test_it_falls_silent_within_a_minute_and_is_back_within_a_minute(
    app: Flask, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting(timedelta(minutes=5, seconds=30))  # 10 minutes are over after 4.5 more

    def mend(waits: int) -> None:
        if waits == 9:
            with app.app_context(), transaction() as session:
                session.execute(delete(Delivery))

    began = clock.now()
    heard = calls(app, peer, Time(15, mend), monkeypatch)
    minutes = [round((moment - began) / timedelta(minutes=1)) for moment in heard]
    assert minutes == [0, 1, 2, 3, 4, 9, 10, 11, 12, 13, 14]
