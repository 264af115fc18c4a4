"""Every fault of a peer: the event arrives once after recovery, or ends with the reason.

Limits are shortened, never waited for. What was accepted is counted by the peer itself.
"""

import contextlib
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from email.utils import format_datetime
from socket import create_server
from typing import Any

import pytest
import trustme
from flask import Flask
from sqlalchemy import func, select

from tests.factories import make_channel
from tests.servers.http import Peer, Received
from tests.workers.test_dispatcher import queue, stored, until, webhook
from webapp.core import clock
from webapp.models.channel import ChannelRow
from webapp.models.delivery import Attempt, Delivery, State
from webapp.notify.channels.base import EXCERPT_LIMIT
from webapp.notify.outbound import Outbound
from webapp.services import claims, outcomes, sending
from webapp.services.installation import installation
from webapp.services.transaction import reading, transaction
from webapp.workers.dispatcher import Dispatcher

TOTAL = 0.6  # seconds for a whole call, 30 in production
SOON = timedelta(milliseconds=50)


@pytest.fixture
def short(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls are cut off soon, and repeated soon."""
    monkeypatch.setattr("webapp.core.retry.STEPS", (SOON,))
    app.extensions["dbackup"] = replace(
        installation(),
        outbound=Outbound(allow_private_networks="self-hosted", ca_file=None, total_seconds=TOTAL),
    )


@pytest.fixture
def dispatcher(app: Flask, short: None) -> Iterator[Dispatcher]:
    running = Dispatcher(app, most_threads=64)
    running.start()
    yield running
    assert running.stop(10), "a thread was lost"
    assert not [each for each in threading.enumerate() if each.name == "sender"]


def attempts(delivery_id: str) -> list[Attempt]:
    with reading() as session:
        found = select(Attempt).where(Attempt.delivery_id == delivery_id).order_by(Attempt.number)
        return list(session.scalars(found))


def is_sent(delivery_id: str) -> Callable[[], bool]:
    return lambda: stored(delivery_id).state == State.SENT


def point_to(row: ChannelRow, url: str) -> None:
    sealed = installation().sealer.seal({"url": url, "method": "POST"})
    with transaction() as session:
        session.get_one(ChannelRow, row.id).config = sealed


def next_due() -> datetime | None:
    with reading() as session:
        return session.scalar(select(func.min(Delivery.next_attempt_at)))


MISCHIEF: dict[str, dict[str, Any]] = {
    "reset": {"reset": True},
    "closed without an answer": {"close": True},
    "stalled before the headers": {"delay": 20.0},
    "one byte of the headers a second": {"drip_headers": 1.0},
    "500": {"status": 500},
    "503": {"status": 503},
    "408": {"status": 408},
}


@pytest.mark.parametrize("manner", MISCHIEF.values(), ids=MISCHIEF)
def test_a_fault_is_repeated_under_the_same_id_until_it_is_over(
    dispatcher: Dispatcher, peer: Peer, manner: dict[str, Any]
) -> None:
    peer.once(**manner)
    peer.once(**manner)
    [delivery_id] = queue(webhook(peer))
    until(is_sent(delivery_id), 15)
    assert [each.outcome for each in attempts(delivery_id)] == ["transient", "transient", "sent"]
    assert all(each.message for each in attempts(delivery_id))
    assert len(peer.requests) == 3
    assert {request.headers["webhook-id"] for request in peer.requests} == {delivery_id}
    time.sleep(0.15)
    assert len(peer.requests) == 3, "it arrives once"


ACCEPTED: dict[str, dict[str, Any]] = {
    "one byte of the body a second": {"body": b"slow" * 10, "drip_body": 1.0},
    "headers that never end after the status": {"drip_headers": 0.002},
    "a body that stalls": {"body": b"x" * 10, "headers": {"Content-Length": "4711"}},
    "garbage as an answer": {"body": bytes(range(256)) * 40},
    "a false length": {"body": b"x" * 100, "headers": {"Content-Length": "7"}},
    "100 MB as an answer": {"body": b"x" * 100_000_000},
    "204": {"status": 204},
}


@pytest.mark.parametrize("manner", ACCEPTED.values(), ids=ACCEPTED)
def test_an_answer_that_says_yes_is_a_yes_however_it_goes_on(
    dispatcher: Dispatcher, peer: Peer, manner: dict[str, Any]
) -> None:
    peer.once(**manner)
    [delivery_id] = queue(webhook(peer))
    until(is_sent(delivery_id), 10)
    time.sleep(0.15)
    assert len(peer.requests) == 1
    [attempt] = attempts(delivery_id)
    assert len(attempt.excerpt) <= EXCERPT_LIMIT
    [after] = queue(webhook(peer))
    until(is_sent(after))


def test_a_refused_connection_is_tried_until_somebody_listens(
    dispatcher: Dispatcher, peer: Peer
) -> None:
    with create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    row = make_channel(config={"url": f"http://127.0.0.1:{port}/", "method": "POST"})
    [delivery_id] = queue(row)
    until(lambda: stored(delivery_id).attempts >= 2)
    assert "refused" in (stored(delivery_id).reason or "")
    point_to(row, f"{peer.url}/hook")
    until(is_sent(delivery_id))
    assert len(peer.requests) == 1


def test_an_unknown_host_is_tried_and_needs_somebody(dispatcher: Dispatcher, peer: Peer) -> None:
    row = make_channel(config={"url": "http://no-such-host.invalid/", "method": "POST"})
    [delivery_id] = queue(row)
    until(lambda: stored(delivery_id).attempts >= 2, 20)
    until(lambda: stored(delivery_id).reason is not None, 20)
    waiting = stored(delivery_id)
    assert "Unknown host" in (waiting.reason or "")
    assert waiting.state in {State.RETRYING, State.SENDING}
    assert waiting.needs_you
    point_to(row, f"{peer.url}/hook")
    until(is_sent(delivery_id), 20)
    assert len(peer.requests) == 1


def test_a_certificate_that_nobody_trusts_is_not_sent_to(
    dispatcher: Dispatcher, peer: Peer
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with Peer(context) as stranger:
        row = webhook(stranger)
        [delivery_id] = queue(row)
        until(lambda: stored(delivery_id).attempts >= 2)
        assert stranger.requests == []
        assert "certificate" in (stored(delivery_id).reason or "")
        assert stored(delivery_id).needs_you
        point_to(row, f"{peer.url}/hook")
        until(is_sent(delivery_id))


def test_what_is_not_even_http_is_repeated(dispatcher: Dispatcher, peer: Peer) -> None:
    with create_server(("127.0.0.1", 0)) as babbler:

        def babble() -> None:
            with contextlib.suppress(OSError):
                while True:
                    sock, _ = babbler.accept()
                    with contextlib.suppress(OSError), sock:
                        sock.recv(65_536)
                        sock.sendall(b"\x00\xffSSH-2.0-whatever\r\n\r\n" * 50)

        threading.Thread(target=babble, daemon=True).start()
        port = babbler.getsockname()[1]
        row = make_channel(config={"url": f"http://127.0.0.1:{port}/", "method": "POST"})
        [delivery_id] = queue(row)
        until(lambda: stored(delivery_id).attempts >= 2)
        assert stored(delivery_id).reason
        point_to(row, f"{peer.url}/hook")
        until(is_sent(delivery_id))


def test_a_loop_of_redirects_is_not_followed(dispatcher: Dispatcher, peer: Peer) -> None:
    peer.answer(302, location=f"{peer.url}/hook")
    [delivery_id] = queue(webhook(peer))
    until(lambda: stored(delivery_id).reason is not None)
    assert len(peer.requests) == 1
    assert stored(delivery_id).state in {State.FAILED, State.RETRYING}
    assert "redirect" in (stored(delivery_id).reason or "").lower()


def date_in(seconds: float) -> str:
    return format_datetime(clock.now() + timedelta(seconds=seconds), usegmt=True)


HINTS: dict[str, tuple[Callable[[], str], float, float]] = {
    "seconds": (lambda: "120", 119, 121),
    "a date": (lambda: date_in(300), 297, 301),
    "a date that passed": (lambda: date_in(-300), 0, 1.5),
    "zero": (lambda: "0", 0, 1.5),
    "negative": (lambda: "-5", 0, 1.5),
    "a fraction": (lambda: "90.5", 0, 92),
    "words": (lambda: "soon", 0, 1.5),
    "nothing": (lambda: "", 0, 1.5),
    "6 hours": (lambda: "21600", 21_598, 21_601),
}


@pytest.mark.parametrize(("hint", "least", "most"), HINTS.values(), ids=HINTS)
def test_every_form_of_delay_is_kept_to(
    app: Flask, short: None, peer: Peer, hint: Callable[[], str], least: float, most: float
) -> None:
    peer.once(429, headers={"Retry-After": hint()})
    [delivery_id] = queue(webhook(peer))
    [claim] = claims.claim_due(10).claims
    outcomes.record([sending.attempt(claim)])
    waiting = stored(delivery_id)
    assert waiting.state == State.RETRYING
    assert waiting.next_attempt_at is not None
    assert least <= (waiting.next_attempt_at - clock.now()).total_seconds() + 0.5 <= most + 1
    assert "429" in (attempts(delivery_id)[0].status or "")


def test_a_delay_of_a_day_and_more_ends_the_message_with_its_reason(
    app: Flask, short: None, peer: Peer
) -> None:
    peer.once(429, headers={"Retry-After": "90000"})
    [delivery_id] = queue(webhook(peer))
    [claim] = claims.claim_due(10).claims
    outcomes.record([sending.attempt(claim)])
    ended = stored(delivery_id)
    assert ended.state == State.EXPIRED
    assert "24 hours" in (ended.reason or "")


def test_500_for_six_hours_is_survived(
    app: Flask, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, shift = clock.now, [timedelta(0)]
    monkeypatch.setattr(clock, "now", lambda: real() + shift[0])
    peer.answer(500)
    [delivery_id] = queue(webhook(peer))
    for _ in range(40):
        for claim in claims.claim_due(10).claims:
            outcomes.record([sending.attempt(claim)])
        due = next_due()
        if due is None:
            break
        shift[0] += max(due - clock.now(), timedelta(0)) + timedelta(milliseconds=1)
        if shift[0] >= timedelta(hours=6):
            peer.answer(200)
    assert stored(delivery_id).state == State.SENT
    outcomes_seen = [each.outcome for each in attempts(delivery_id)]
    assert outcomes_seen[-1] == "sent"
    assert outcomes_seen.count("sent") == 1
    assert 5 <= len(outcomes_seen) <= 12, "neither given up nor hammered"
    assert b"Delayed by" in peer.requests[-1].body


def test_500_for_more_than_a_day_ends_visibly(
    app: Flask, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, shift = clock.now, [timedelta(0)]
    monkeypatch.setattr(clock, "now", lambda: real() + shift[0])
    peer.answer(500)
    [delivery_id] = queue(webhook(peer))
    while (due := next_due()) is not None:
        shift[0] += max(due - clock.now(), timedelta(0)) + timedelta(milliseconds=1)
        for claim in claims.claim_due(10).claims:
            outcomes.record([sending.attempt(claim)])
        assert shift[0] < timedelta(hours=30)
    ended = stored(delivery_id)
    assert ended.state == State.EXPIRED
    assert "500" in (ended.reason or "")


def test_twenty_targets_that_hang_delay_nobody_else(app: Flask) -> None:
    released = threading.Event()

    def hang(_received: Received) -> None:
        released.wait(20)

    def delays() -> list[float]:
        """Send ten, one after the other; return the seconds from commit to received."""
        found = []
        for _ in range(10):
            before = len(quick.requests)
            committed = time.time()
            queue(row)
            found.append(quick.wait(before + 1)[-1].at - committed)
        return found

    running = Dispatcher(app, most_threads=installation().settings.dispatcher_threads)
    with contextlib.ExitStack() as stack:
        hanging = [stack.enter_context(Peer()) for _ in range(20)]
        quick = stack.enter_context(Peer())
        for peer in hanging:
            peer.before_answer = hang
        row = webhook(quick)
        running.start()
        delays()  # what the first ones load stays loaded
        usual = delays()
        queue(*[webhook(peer) for peer in hanging])
        until(lambda: all(len(peer.requests) == 1 for peer in hanging))
        beside = delays()
        released.set()
        assert running.stop(20)
    assert max(beside) <= max(usual) + 0.1, (usual, beside)
