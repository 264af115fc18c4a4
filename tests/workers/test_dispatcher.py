"""The dispatcher against real servers: sends, retries, does not wait for those that hang."""

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, text

from tests.factories import make_channel
from tests.servers.http import Peer
from webapp.core import clock
from webapp.models.channel import ChannelRow
from webapp.models.delivery import Attempt, Delivery, EventRow, State
from webapp.notify.events import BY_TYPE
from webapp.services import claims, outbox, sending
from webapp.services.outcomes import Result
from webapp.services.routing import Target
from webapp.services.transaction import reading, transaction
from webapp.workers import dispatcher as module
from webapp.workers.dispatcher import Dispatcher

SAMPLE = BY_TYPE["restore_failure"].sample()


@pytest.fixture
def dispatcher(app: Flask) -> Iterator[Dispatcher]:
    running = Dispatcher(app, most_threads=64)
    running.start()
    yield running
    assert running.stop(10), "the dispatcher did not stop"


def webhook(peer: Peer, path: str = "/hook") -> ChannelRow:
    return make_channel(config={"url": f"{peer.url}{path}", "method": "POST"})


def queue(*channels: ChannelRow) -> list[str]:
    """Publish one event to the channels; return the ids of its deliveries in their order."""
    targets = [
        Target(channel_id=row.id, channel_name=row.name, channel_type=row.type) for row in channels
    ]
    with transaction() as session:
        event_id = outbox.write(session, SAMPLE, targets)
    with reading() as session:
        found = select(Delivery.id).where(Delivery.event_id == event_id).order_by(Delivery.id)
        return list(session.scalars(found))


def stored(delivery_id: str) -> Delivery:
    with reading() as session:
        return session.get_one(Delivery, delivery_id)


def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def test_a_committed_event_arrives_and_is_recorded(dispatcher: Dispatcher, peer: Peer) -> None:
    [delivery_id] = queue(webhook(peer))
    [request] = peer.wait(1)
    assert request.json()["eventType"] == "restore_failure"
    assert request.headers["webhook-id"] == delivery_id
    until(lambda: stored(delivery_id).state == State.SENT)


@pytest.mark.postgres
def test_a_database_that_closed_the_connections_is_no_alarm(
    postgres_app: Flask, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REST_AFTER_ERROR", 0.05)
    told: list[BaseException] = []
    monkeypatch.setattr(module.system_errors, "report", lambda _, error: told.append(error))
    row = webhook(peer)
    running = Dispatcher(postgres_app, most_threads=4)
    running.start()
    try:
        queue(row)
        peer.wait(1)
        with reading() as session:
            cut = session.scalars(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid != pg_backend_pid()"
                )
            ).all()
        assert cut
        queue(row)
        peer.wait(2)
    finally:
        assert running.stop(10), "the dispatcher did not stop"
    assert told == []


def test_the_next_message_is_made_while_the_service_thinks(
    app: Flask, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    states: list[str] = []
    real = sending.prepare

    def prepare(claim: claims.Claim) -> sending.Ready | None:
        before = ids[ids.index(claim.delivery_id) - 1]
        states.append(stored(before).state)
        return real(claim)

    monkeypatch.setattr(sending, "prepare", prepare)
    row = webhook(peer)
    ids = [queue(row)[0] for _ in range(5)]
    peer.answer(200, delay=0.1)
    running = Dispatcher(app, most_threads=4)
    running.start()
    try:
        got = [request.headers["webhook-id"] for request in peer.wait(5)]
        until(lambda: stored(ids[-1]).state == State.SENT)
    finally:
        assert running.stop(10), "the dispatcher did not stop"
    assert got == ids
    assert states == [State.SENDING] * 4


def test_a_message_that_cannot_be_made_ahead_fails_for_its_own_reason(
    app: Flask, peer: Peer
) -> None:
    row = webhook(peer)
    [first], [odd], [last] = queue(row), queue(row), queue(row)
    with transaction() as session:
        session.get_one(EventRow, session.get_one(Delivery, odd).event_id).type = "of_tomorrow"
    running = Dispatcher(app, most_threads=4)
    running.start()
    try:
        until(lambda: stored(last).state == State.SENT)
    finally:
        assert running.stop(10), "the dispatcher did not stop"
    assert (stored(first).state, stored(odd).state) == (State.SENT, State.FAILED)
    assert "of_tomorrow" in (stored(odd).reason or "")
    assert len(peer.requests) == 2


def test_what_is_rolled_back_is_never_sent(dispatcher: Dispatcher, peer: Peer) -> None:
    row = webhook(peer)
    target = Target(channel_id=row.id, channel_name=row.name, channel_type=row.type)
    with contextlib.suppress(RuntimeError), transaction() as session:
        outbox.write(session, SAMPLE, [target])
        raise RuntimeError("the fact did not happen")
    queue(row)
    peer.wait(1)
    time.sleep(0.2)
    assert len(peer.requests) == 1


def test_a_failed_attempt_is_repeated_with_the_same_id(
    dispatcher: Dispatcher, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webapp.core.retry.STEPS", (timedelta(milliseconds=50),))
    peer.once(503)
    peer.once(reset=True)
    [delivery_id] = queue(webhook(peer))
    first, second, third = peer.wait(3)
    assert {request.headers["webhook-id"] for request in (first, second, third)} == {delivery_id}
    until(lambda: stored(delivery_id).state == State.SENT)
    with reading() as session:
        outcomes = session.scalars(
            select(Attempt.outcome)
            .where(Attempt.delivery_id == delivery_id)
            .order_by(Attempt.number)
        ).all()
    assert outcomes == ["transient", "transient", "sent"]


def test_channels_that_hang_delay_only_themselves(dispatcher: Dispatcher, peer: Peer) -> None:
    peer.answer(200, path="/slow", delay=3.0)
    hanging = [webhook(peer, "/slow") for _ in range(20)]
    queue(*hanging, *hanging)
    until(lambda: len(peer.requests) >= 20)
    quick = webhook(peer, "/quick")
    committed = time.time()
    queue(quick)
    until(lambda: any(request.path == "/quick" for request in peer.requests), 2.0)
    [arrived] = [request.at for request in peer.requests if request.path == "/quick"]
    assert arrived - committed < 0.5
    for sock in list(peer._open):
        sock.close()


def test_one_channel_gets_one_call_at_a_time_in_order(dispatcher: Dispatcher, peer: Peer) -> None:
    peer.answer(200, delay=0.05)
    row = webhook(peer)
    wanted = [queue(row)[0] for _ in range(6)]
    requests = peer.wait(6)
    assert [request.headers["webhook-id"] for request in requests] == wanted
    gaps = [b.at - a.at for a, b in itertools.pairwise(requests)]
    assert min(gaps) >= 0.045


def test_a_burst_larger_than_a_batch_arrives_whole_and_once(
    dispatcher: Dispatcher, peer: Peer
) -> None:
    row = webhook(peer)
    wanted = {queue(row)[0] for _ in range(200)}
    until(lambda: len(peer.requests) >= 200, 30)
    time.sleep(0.2)
    assert len(peer.requests) == 200
    assert {request.headers["webhook-id"] for request in peer.requests} == wanted


def test_stopping_finishes_the_call_under_way_and_gives_back_the_rest(
    app: Flask, peer: Peer
) -> None:
    peer.answer(200, delay=0.5)
    row = webhook(peer)
    ids = [queue(row)[0] for _ in range(5)]
    dispatcher = Dispatcher(app, most_threads=4)
    dispatcher.start()
    peer.wait(1)
    assert dispatcher.stop(10)
    states = [stored(delivery_id).state for delivery_id in ids]
    assert states == [State.SENT, *[State.QUEUED] * 4]
    assert [stored(delivery_id).attempts for delivery_id in ids] == [1, 0, 0, 0, 0]


def test_an_event_type_of_another_version_fails_visibly_and_blocks_nobody(
    dispatcher: Dispatcher, peer: Peer
) -> None:
    row = webhook(peer)
    target = Target(channel_id=row.id, channel_name=row.name, channel_type=row.type)

    class FromTheFuture(type(SAMPLE)):  # type: ignore[misc]
        type = "warp_core_breach"

    with transaction() as session:
        event_id = outbox.write(session, FromTheFuture(**SAMPLE.payload()), [target])
    queue(row)
    peer.wait(1)

    def unknown() -> Delivery:
        with reading() as session:
            return session.scalars(select(Delivery).where(Delivery.event_id == event_id)).one()

    until(lambda: unknown().state == State.FAILED)
    assert "warp_core_breach" in (unknown().reason or "")


def test_the_pump_survives_a_database_that_is_locked_for_a_while(
    app: Flask, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = claims.claim_due, 0

    def stumble(limit: int, **options: object) -> list[claims.Claim]:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise RuntimeError("database is locked")
        return real(limit, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(claims, "claim_due", stumble)
    monkeypatch.setattr("webapp.workers.dispatcher.REST_AFTER_ERROR", 0.01)
    dispatcher = Dispatcher(app, most_threads=4)
    dispatcher.start()
    queue(webhook(peer))
    peer.wait(1)
    assert dispatcher.stop(10)


def test_a_message_that_goes_out_late_says_so(
    app: Flask, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = clock.now
    said = []
    for minutes in (4, 5, 120):
        monkeypatch.setattr(clock, "now", real)
        queue(webhook(peer))
        ahead = timedelta(minutes=minutes)
        monkeypatch.setattr(clock, "now", lambda ahead=ahead: real() + ahead)
        dispatcher = Dispatcher(app, most_threads=4)
        dispatcher.start()
        said.append(peer.wait(len(said) + 1)[-1].body.decode())
        assert dispatcher.stop(10)
    assert "Delayed" not in said[0]
    assert "Delayed by 5 min" in said[1]
    assert "Delayed by 2 h 00 min" in said[2]


def test_an_attempt_that_does_not_end_is_left_behind(
    app: Flask, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST_ATTEMPT", 0.5)
    monkeypatch.setattr(module, "RENEW_EVERY", 0.1)
    monkeypatch.setattr(claims, "LEASE", timedelta(seconds=1))
    stuck: list[str] = []
    freed, ended = threading.Event(), threading.Event()
    real = sending.attempt

    def attempt(claim: claims.Claim, *given: Any, **more: Any) -> Result:
        if claim.channel.id != hanging.id or stuck:
            return real(claim, *given, **more)
        stuck.append(claim.delivery_id)
        freed.wait(60)
        result = real(claim, *given, **more)
        ended.set()
        return result

    monkeypatch.setattr(sending, "attempt", attempt)
    hanging = webhook(peer)
    dispatcher = Dispatcher(app, most_threads=1)  # a sender that is lost would be the only one
    dispatcher.start()
    try:
        [first] = queue(hanging)
        until(lambda: bool(stuck))
        [second] = queue(hanging)
        [other] = queue(webhook(peer, "/other"))
        for each in (first, second, other):
            until(lambda each=each: stored(each).state == State.SENT)  # type: ignore[misc]
        freed.set()
        assert ended.wait(10)  # its result comes too late to change anything
    finally:
        freed.set()
        assert dispatcher.stop(10)
    with reading() as session:
        outcomes = session.scalars(select(Attempt.outcome).where(Attempt.delivery_id == first))
        assert sorted(outcomes) == ["lost", "sent"]
        [told] = session.scalars(select(EventRow).where(EventRow.type == "system_error"))
    assert "did not end" in told.payload["error"]
