"""The dispatcher when the machine itself is in trouble: no lock, no thread, no time."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select, update

from tests.servers.http import Peer, Received
from tests.shortages import no_more_files, no_new_threads
from tests.workers.test_dispatcher import queue, stored, until, webhook
from webapp.core import clock
from webapp.core.errors import TransientError
from webapp.models import db
from webapp.models.channel import ChannelRow
from webapp.models.delivery import Attempt, Delivery, State
from webapp.notify import outbound
from webapp.services import claims, sending
from webapp.services.installation import installation
from webapp.services.transaction import reading, transaction
from webapp.workers import dispatcher as module
from webapp.workers.dispatcher import Dispatcher


@contextmanager
def locked(app: Flask) -> Iterator[None]:
    """Hold the write lock of the database as another program would."""
    path = Path(app.instance_path) / "dbackup.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def channel(row: ChannelRow) -> ChannelRow:
    with reading() as session:
        return session.get_one(ChannelRow, row.id)


def held_up(peer: Peer) -> tuple[threading.Event, threading.Event]:
    """Let the peer answer only later; return what says that it was asked, and lets it go on."""
    asked, go_on = threading.Event(), threading.Event()

    def hold(_received: Received) -> None:
        asked.set()
        go_on.wait(10)

    peer.before_answer = hold
    return asked, go_on


def test_a_result_survives_that_what_waits_behind_it_cannot_be_given_back(
    app: Flask, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webapp.models.base.BUSY_TIMEOUT_MS", 200)
    monkeypatch.setattr(module, "REST_AFTER_ERROR", 0.05)
    db.engine.dispose()  # connections are made anew, with less patience
    row = webhook(peer)
    ids = [queue(row)[0] for _ in range(3)]
    asked, go_on = held_up(peer)
    peer.answer(401)
    dispatcher = Dispatcher(app, most_threads=4)
    dispatcher.start()
    assert asked.wait(10)
    with locked(app):
        go_on.set()
        time.sleep(1.0)  # several rounds that could not write
    until(lambda: channel(row).broken_at is not None)
    until(lambda: [stored(each).state for each in ids] == [State.RETRYING] * 3)
    assert dispatcher.stop(10)
    assert len(peer.requests) == 1
    with reading() as session:
        found = session.scalars(select(Attempt.outcome).where(Attempt.delivery_id.in_(ids))).all()
    assert found == ["permanent"]


def test_messages_go_out_once_threads_can_be_started_again(
    app: Flask, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REST_AFTER_ERROR", 0.05)
    dispatcher = Dispatcher(app, most_threads=4)
    dispatcher.start()
    time.sleep(0.2)
    with no_new_threads():
        rows = [webhook(peer, f"/{number}") for number in range(3)]
        ids = queue(*rows)
        until(lambda: all(stored(each).state == State.SENDING for each in ids))
        time.sleep(0.3)
        assert not peer.requests
    until(lambda: all(stored(each).state == State.SENT for each in ids))
    assert dispatcher.stop(10)
    assert len(peer.requests) == 3


def test_nothing_is_begun_on_a_lease_that_may_have_ended(
    app: Flask, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process takes over what this one could not renew; this one then leaves it alone."""
    row = webhook(peer)
    ids = [queue(row)[0] for _ in range(4)]
    asked, go_on = held_up(peer)
    frozen = Dispatcher(app, most_threads=4)
    frozen.start()
    assert asked.wait(10)
    until(lambda: all(stored(each).state == State.SENDING for each in ids))
    with transaction() as session:  # the leases ended, and another process was there first
        session.execute(update(Delivery).values(next_attempt_at=clock.now()))
        taken_over = claims.claim(session.connection(), 10).claims
    assert [claim.delivery_id for claim in taken_over] == ids
    later = clock.now() + module.CERTAIN_FOR + timedelta(seconds=1)
    monkeypatch.setattr(clock, "now", lambda: later)
    go_on.set()
    until(lambda: not frozen._lanes)
    assert frozen.stop(10)
    assert [request.headers["webhook-id"] for request in peer.requests] == ids[:1]
    assert [stored(each).attempts for each in ids] == [2] * 4


def test_what_is_claimed_again_after_a_sleep_is_sent_once(
    app: Flask, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = webhook(peer)
    ids = [queue(row)[0] for _ in range(4)]
    asked, go_on = held_up(peer)
    sleeper = Dispatcher(app, most_threads=4)
    sleeper.start()
    assert asked.wait(10)
    until(lambda: all(stored(each).state == State.SENDING for each in ids))
    later = clock.now() + claims.LEASE + timedelta(seconds=1)
    monkeypatch.setattr(clock, "now", lambda: later)  # the machine slept: the leases have ended
    until(lambda: all(stored(each).attempts == 2 for each in ids))
    go_on.set()
    until(lambda: all(stored(each).state == State.SENT for each in ids))
    assert sleeper.stop(10)
    sent = [request.headers["webhook-id"] for request in peer.requests]
    assert [sent.count(each) for each in ids[1:]] == [1] * 3  # the first was on the wire


def test_leases_are_renewed_while_no_thread_can_be_started(
    app: Flask, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REST_AFTER_ERROR", 0.05)
    monkeypatch.setattr(module, "RENEW_EVERY", 0.1)
    dispatcher = Dispatcher(app, most_threads=4)
    dispatcher.start()
    time.sleep(0.2)
    with no_new_threads():
        [waits] = queue(webhook(peer))
        until(lambda: stored(waits).state == State.SENDING)
        leased = stored(waits).leased_until
        assert leased is not None
        until(lambda: (stored(waits).leased_until or leased) > leased)
    until(lambda: stored(waits).state == State.SENT)
    assert dispatcher.stop(10)


@pytest.mark.parametrize("first", [True, False], ids=["first call", "later call"])
def test_a_message_that_meets_a_machine_without_room_is_tried_again(
    app: Flask, peer: Peer, first: bool
) -> None:
    row = webhook(peer)
    queue(row)
    queue(row)
    earlier, claim = claims.claim_due(2).claims
    if not first:
        assert sending.attempt(earlier).receipt is not None
        installation().outbound.close()  # a kept connection needs no further file
    else:
        outbound._context.cache_clear()  # certificates are read for the first call
    with no_more_files():
        result = sending.attempt(claim)
    assert isinstance(result.error, TransientError)
    assert "too many" in str(result.error)
    assert sending.attempt(claim).receipt is not None
