"""The wall clock is set: nothing is silent until it has caught up, and nothing floods."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask

from tests.factories import make_channel
from webapp.core import clock
from webapp.core.errors import TransientError
from webapp.models.channel import ChannelRow
from webapp.models.delivery import Delivery, EventRow, State
from webapp.models.setting import Lease, RateBucket
from webapp.notify.channels.base import Receipt
from webapp.notify.events import BY_TYPE
from webapp.services import claims, clock_jumps, leases, outbox, outcomes, rates, system_errors
from webapp.services.outcomes import Result
from webapp.services.routing import Target
from webapp.services.transaction import reading, transaction
from webapp.workers import housekeeping
from webapp.workers.dispatcher import Dispatcher

pytestmark = pytest.mark.usefixtures("app")

DAY, YEAR = timedelta(days=1), timedelta(days=365)
WEBHOOK = {"url": "https://hooks.example.org/backup", "method": "POST"}
Move = Callable[[timedelta], None]


@pytest.fixture
def move(monkeypatch: pytest.MonkeyPatch) -> Move:
    """Set the clock forward or back; it stands still otherwise."""
    now = [clock.now()]
    monkeypatch.setattr(clock, "now", lambda: now[0])

    def by(span: timedelta) -> None:
        now[0] += span

    return by


def queue(row: ChannelRow, count: int = 1) -> None:
    target = Target(channel_id=row.id, channel_name=row.name, channel_type=row.type)
    with transaction() as session:
        for _ in range(count):
            outbox.write(session, BY_TYPE["restore_failure"].sample(), [target])


def result(one: claims.Claim, error: TransientError | None = None) -> Result:
    return Result(
        claim=one,
        started_at=clock.now(),
        took=timedelta(milliseconds=5),
        receipt=None if error else Receipt(status="200", words="ok"),
        error=error,
    )


def states() -> list[str]:
    with reading() as session:
        return [row.state for row in session.query(Delivery).order_by(Delivery.id)]


@pytest.mark.parametrize("span", [DAY, YEAR])
def test_back_what_is_queued_goes_at_once(move: Move, span: timedelta) -> None:
    queue(make_channel(config=WEBHOOK))
    move(-span)
    assert claims.claim_due(10).claims == []
    clock_jumps.settle(span)
    assert len(claims.claim_due(10).claims) == 1


@pytest.mark.parametrize("span", [DAY, YEAR])
def test_back_a_lease_ends_45_seconds_from_now(move: Move, span: timedelta) -> None:
    queue(make_channel(config=WEBHOOK))
    assert len(claims.claim_due(10).claims) == 1
    move(-span)
    clock_jumps.settle(span)
    assert claims.claim_due(10).claims == [], "it is still being sent"
    move(timedelta(seconds=46))
    [again] = claims.claim_due(10).claims
    assert again.attempt == 2


@pytest.mark.parametrize("span", [DAY, YEAR])
def test_back_a_retry_keeps_its_wait(
    move: Move, span: timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webapp.core.retry.JITTER", (1.0, 1.0))
    queue(make_channel(config=WEBHOOK))
    outcomes.record([result(claims.claim_due(10).claims[0], TransientError("503"))])
    move(-span)
    clock_jumps.settle(span)
    move(timedelta(seconds=9))
    assert claims.claim_due(10).claims == []
    move(timedelta(seconds=1))
    assert len(claims.claim_due(10).claims) == 1


@pytest.mark.parametrize("span", [DAY, YEAR])
def test_back_while_nobody_ran_the_log_tells_how_far(move: Move, span: timedelta) -> None:
    queue(make_channel(config=WEBHOOK))
    outcomes.record([result(claims.claim_due(10).claims[0], TransientError("503"))])
    move(-span)
    clock_jumps.settle()  # as at every start
    move(timedelta(seconds=15))
    assert len(claims.claim_due(10).claims) == 1


@pytest.mark.parametrize("span", [-DAY, -YEAR, DAY, YEAR])
def test_buckets_neither_dry_up_nor_overflow(move: Move, span: timedelta) -> None:
    row = make_channel(config=WEBHOOK)
    queue(row, 100)
    burst = len(claims.claim_due(100).claims)
    assert burst < 100
    move(span)
    clock_jumps.settle(max(-span, timedelta(0)))
    move(timedelta(seconds=5))
    queue(row, 100)
    more = len(claims.claim_due(200).claims)
    assert 1 <= more <= burst + 5, "a full burst at the most, and not nothing"
    with reading() as session:
        bucket = session.query(RateBucket).one()
        assert bucket.updated_at <= clock.now()


def test_what_a_service_asked_for_is_kept_over_a_jump_back(move: Move) -> None:
    row = make_channel(config=WEBHOOK)
    with transaction() as session:
        rates.block(session.connection(), row, clock.now() + timedelta(minutes=5))
    move(-DAY)
    clock_jumps.settle(DAY)
    queue(row)
    assert claims.claim_due(10).claims == []
    move(timedelta(minutes=5, seconds=1))
    assert len(claims.claim_due(10).claims) == 1


def test_back_a_right_of_somebody_who_died_ends_within_two_minutes(move: Move) -> None:
    with transaction() as session:
        session.add(
            Lease(
                name="scheduler", owner="elsewhere:1:1", leased_until=clock.now() + timedelta(0, 20)
            )
        )
    move(-DAY)
    clock_jumps.settle(DAY)
    move(timedelta(minutes=2, seconds=1))
    with transaction() as session:
        assert leases.take(session, "scheduler", "me", timedelta(seconds=20))


@pytest.mark.parametrize("span", [DAY, YEAR])
def test_forward_what_waited_is_sent_or_shown_as_expired_and_what_is_new_goes(
    move: Move, span: timedelta
) -> None:
    row = make_channel(config=WEBHOOK)
    queue(row, 3)
    move(span)
    clock_jumps.settle()
    queue(row, 3)
    going = claims.claim_due(10).claims
    outcomes.record([result(one) for one in going])
    assert claims.claim_due(10).claims == []
    ended = states()
    assert set(ended) <= {State.SENT, State.EXPIRED}
    assert ended[3:] == [State.SENT] * 3


def test_a_clock_that_keeps_time_moves_nothing(move: Move) -> None:
    row = make_channel(config=WEBHOOK)
    queue(row)
    outcomes.record([result(claims.claim_due(10).claims[0], TransientError("503"))])
    queue(row)
    assert clock_jumps.settle() == 0
    assert states() == [State.RETRYING, State.QUEUED]
    with reading() as session:
        assert session.query(EventRow).count() == 2


def test_housekeeping_notices_that_the_clock_was_set_back(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = housekeeping.Housekeeping(app)
    heard: list[timedelta] = []
    monkeypatch.setattr(clock_jumps, "settle", lambda back_by: heard.append(back_by) or 0)
    keeper._watch_clock()
    assert heard == []
    real = clock.now
    monkeypatch.setattr(clock, "now", lambda: real() - DAY)
    keeper._watch_clock()
    keeper._watch_clock()
    assert [round(each.total_seconds()) for each in heard] == [86_400]


def test_back_an_error_that_was_announced_is_announced_again(move: Move) -> None:
    def announced() -> int:
        system_errors.report("Scheduler", ValueError("boom"))
        with reading() as session:
            return session.query(EventRow).count()

    assert announced() == 1
    move(-YEAR)
    clock_jumps.settle(YEAR)
    assert announced() == 1
    move(timedelta(hours=1))
    assert announced() == 2


def test_back_a_channel_that_used_up_its_rate_goes_on(
    move: Move, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = make_channel(config=WEBHOOK)
    monkeypatch.setattr(
        claims,
        "claim_due",
        lambda *_, **__: claims.Claimed(parked={row.id: clock.now() + timedelta(minutes=1)}),
    )
    dispatcher = Dispatcher(app, most_threads=4)
    dispatcher._go_round()
    assert dispatcher._passed_over() == [row.id]
    move(-DAY)
    assert dispatcher._passed_over() == []
