"""Rates, bundles and fallbacks, seen through claims and records."""

from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select

from tests.factories import make_channel
from webapp.core import clock
from webapp.core.errors import ChannelError, PermanentError, TransientError
from webapp.models.channel import ChannelRow
from webapp.models.delivery import Delivery, State
from webapp.notify.channels.base import Receipt
from webapp.notify.events import BY_TYPE
from webapp.services import claims, outbox, outcomes, sending
from webapp.services.claims import Claim
from webapp.services.outcomes import Result
from webapp.services.routing import Target
from webapp.services.transaction import reading, transaction

SENT = Receipt(status="200", words="ok")
BURST, SECONDS = 20, 0.5  # of a generic webhook
LIMITED = {"url": "https://hooks.example.org/backup", "method": "POST"}


@pytest.fixture(autouse=True)
def _in_context(app: Flask) -> None:
    """Every test here needs tables."""


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = clock.now()
        monkeypatch.setattr(clock, "now", lambda: self.now)

    def move(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def queue(channel: ChannelRow, count: int = 1, event_type: str = "restore_failure") -> list[str]:
    target = Target(channel_id=channel.id, channel_name=channel.name, channel_type=channel.type)
    with transaction() as session:
        events = [
            outbox.write(session, BY_TYPE[event_type].sample(), [target]) for _ in range(count)
        ]
    with reading() as session:
        found = select(Delivery.id).where(Delivery.event_id.in_(events)).order_by(Delivery.id)
        return list(session.scalars(found))


def claim() -> list[Claim]:
    return claims.claim_due(500).claims


def finish(one: Claim, error: ChannelError | None = None) -> None:
    outcomes.record(
        [
            Result(
                claim=one,
                started_at=clock.now(),
                took=timedelta(milliseconds=5),
                receipt=None if error else SENT,
                error=error,
            )
        ]
    )


def stored(delivery_id: str) -> Delivery:
    with reading() as session:
        return session.get_one(Delivery, delivery_id)


# rates ----------------------------------------------------------------------------------------


def test_a_target_gets_its_burst_and_then_its_rate(time: Clock) -> None:
    queue(make_channel(config=LIMITED), BURST + 3)
    assert len(claim()) == BURST
    assert claim() == []
    time.move(SECONDS)
    assert len(claim()) == 1


def test_two_channels_with_one_target_share_its_rate(time: Clock) -> None:
    first, second = make_channel(config=LIMITED), make_channel(config=LIMITED)
    queue(first, BURST - 1)
    queue(second, 3)
    assert len(claim()) == BURST


def test_a_server_of_the_own_network_has_no_limit(time: Clock) -> None:
    queue(make_channel(config=LIMITED | {"url": "http://192.168.1.5/hook"}), 100)
    assert len(claim()) == 100


def test_when_the_next_message_may_go_is_known(time: Clock) -> None:
    channel = make_channel(config=LIMITED)
    queue(channel, BURST + 1)
    parked = claims.claim_due(500).parked
    assert parked == {channel.id: time.now + timedelta(seconds=SECONDS)}


def test_too_many_requests_stops_every_message_to_the_target(time: Clock) -> None:
    channel = make_channel(config=LIMITED)
    queue(channel)
    [one] = claim()
    finish(one, TransientError("429", status="429", retry_after=timedelta(seconds=90)))
    queue(channel)
    assert claim() == []
    time.move(91)
    assert len(claim()) == 2


def test_too_many_requests_stops_targets_without_a_limit_of_ours_as_well(time: Clock) -> None:
    channel = make_channel(config=LIMITED | {"url": "http://10.0.0.5/hook"})
    queue(channel)
    [one] = claim()
    finish(one, TransientError("429", status="429", retry_after=timedelta(seconds=90)))
    queue(channel)
    assert claim() == []
    time.move(91)
    assert len(claim()) == 2


def test_a_storm_of_a_thousand_is_within_the_rate_and_loses_none(time: Clock) -> None:
    wanted = set(queue(make_channel(config=LIMITED), 1000))
    named: list[str] = []
    messages = []
    for _ in range(240):
        for one in claim():
            messages.append(time.now)
            named += [each.delivery_id for each in one.whole]
            finish(one)
        time.move(0.5)
    assert sorted(named) == sorted(wanted)
    assert all(stored(each).state == State.SENT for each in list(wanted)[:20])
    for start in messages:
        window = [at for at in messages if start <= at < start + timedelta(seconds=10)]
        assert len(window) <= BURST + 10 / SECONDS


# bundles --------------------------------------------------------------------------------------


def bundle(time: Clock) -> Claim:
    queue(make_channel(config=LIMITED), BURST + 10)
    return claim()[-1]


def test_what_outgrows_the_rate_goes_as_one_message_that_names_all(time: Clock) -> None:
    last = bundle(time)
    assert len(last.whole) == 11
    message = sending._message(last)
    assert message.title == "11 messages: Restore Failed"
    assert message.text.count("Restore failed: orders_restored") == 11


def test_one_answer_counts_for_every_delivery_of_a_bundle(time: Clock) -> None:
    last = bundle(time)
    finish(last)
    assert {stored(one.delivery_id).state for one in last.whole} == {State.SENT}


def test_a_bundle_that_failed_is_repeated_as_the_same_bundle(time: Clock) -> None:
    last = bundle(time)
    finish(last, TransientError("503"))
    time.move(60)
    again = next(one for one in claim() if one.others)
    assert again.delivery_id == last.delivery_id
    assert {one.delivery_id for one in again.whole} == {one.delivery_id for one in last.whole}


def test_different_causes_are_not_bundled(time: Clock) -> None:
    channel = make_channel(config=LIMITED)
    queue(channel, BURST)
    queue(channel, 10, "system_error")
    claimed = claim()
    assert len(claimed) == BURST
    assert all(not one.others for one in claimed)


def test_a_few_wait_for_their_turn_instead(time: Clock) -> None:
    queue(make_channel(config=LIMITED), BURST + 2)
    claimed = claim()
    assert len(claimed) == BURST
    assert all(not one.others for one in claimed)


@pytest.fixture
def pair() -> tuple[ChannelRow, ChannelRow]:
    fallback = make_channel(name="Phone")
    return make_channel(name="Chat", fallback_id=fallback.id), fallback


def stand_ins(delivery_id: str) -> list[Delivery]:
    with reading() as session:
        found = select(Delivery).where(Delivery.fallback_for == delivery_id)
        return list(session.scalars(found))


def fail(delivery_id: str, error: ChannelError, time: Clock) -> None:
    time.move(4000)
    [one] = [one for one in claim() if one.delivery_id == delivery_id]
    finish(one, error)


def test_the_first_transient_failure_waits_and_the_second_uses_the_fallback(
    pair: tuple[ChannelRow, ChannelRow], time: Clock
) -> None:
    [delivery_id] = queue(pair[0])
    fail(delivery_id, TransientError("503"), time)
    assert stand_ins(delivery_id) == []
    fail(delivery_id, TransientError("503"), time)
    [stand_in] = stand_ins(delivery_id)
    assert (stand_in.channel_name, stand_in.state) == ("Phone", State.QUEUED)


@pytest.mark.parametrize("breaks", [True, False])
def test_a_permanent_error_uses_the_fallback_at_once(
    pair: tuple[ChannelRow, ChannelRow], time: Clock, breaks: bool
) -> None:
    [delivery_id] = queue(pair[0])
    fail(delivery_id, PermanentError("404", breaks_channel=breaks), time)
    assert len(stand_ins(delivery_id)) == 1


def test_the_fallback_says_whom_it_stands_in_for(
    pair: tuple[ChannelRow, ChannelRow], time: Clock
) -> None:
    [delivery_id] = queue(pair[0])
    fail(delivery_id, PermanentError("413"), time)
    [one] = claim()
    assert "because Chat fails" in sending._message(one).text


def test_no_second_copy_when_the_channel_recovers(
    pair: tuple[ChannelRow, ChannelRow], time: Clock
) -> None:
    [delivery_id] = queue(pair[0])
    fail(delivery_id, TransientError("503"), time)
    fail(delivery_id, TransientError("503"), time)
    [one] = claim()
    finish(one)
    original = stored(delivery_id)
    assert original.state == State.CANCELLED
    assert "Phone" in (original.reason or "")
    time.move(90_000)
    assert claim() == []


def test_the_stand_in_is_called_off_when_the_channel_itself_delivers(
    pair: tuple[ChannelRow, ChannelRow], time: Clock
) -> None:
    [delivery_id] = queue(pair[0])
    fail(delivery_id, TransientError("503"), time)
    fail(delivery_id, TransientError("503"), time)
    [one] = claim()
    finish(one, TransientError("503"))
    time.move(4000)
    [original] = [one for one in claim() if one.delivery_id == delivery_id]
    finish(original)
    [stand_in] = stand_ins(delivery_id)
    assert stand_in.state in {State.CANCELLED, State.SENDING}


def both_under_way(delivery_id: str, time: Clock) -> tuple[Claim, Claim]:
    """Return the claims of a delivery and of its stand-in, both being sent."""
    fail(delivery_id, TransientError("503"), time)
    fail(delivery_id, TransientError("503"), time)
    [one] = claim()
    finish(one, TransientError("503"))
    time.move(4000)
    going = {one.delivery_id: one for one in claim()}
    original = going.pop(delivery_id)
    [stand_in] = going.values()
    return original, stand_in


def test_no_second_copy_when_the_one_fails_on_the_wire_after_the_other_arrived(
    pair: tuple[ChannelRow, ChannelRow], time: Clock
) -> None:
    [first] = queue(pair[0])
    original, stand_in = both_under_way(first, time)
    finish(stand_in)
    finish(original, TransientError("503"))
    assert stored(first).state == State.CANCELLED
    [second] = queue(pair[0])
    original, stand_in = both_under_way(second, time)
    finish(original)
    finish(stand_in, TransientError("503"))
    assert stored(stand_in.delivery_id).state == State.CANCELLED
    time.move(90_000)
    assert claim() == []


def test_what_ends_without_another_try_uses_the_fallback(
    pair: tuple[ChannelRow, ChannelRow], time: Clock
) -> None:
    [asked_to_wait] = queue(pair[0])
    [one] = claim()
    finish(one, TransientError("429", retry_after=timedelta(days=3)))
    assert stored(asked_to_wait).state == State.EXPIRED
    assert len(stand_ins(asked_to_wait)) == 1
    [two_days_late] = queue(pair[0])
    fail(two_days_late, TransientError("503"), time)
    time.move(2 * 86_400)
    [one] = [one for one in claim() if one.delivery_id == two_days_late]
    finish(one, TransientError("503"))
    assert len(stand_ins(two_days_late)) == 1


def test_attempts_that_died_with_their_process_say_nothing_about_the_channel(
    pair: tuple[ChannelRow, ChannelRow], time: Clock
) -> None:
    [delivery_id] = queue(pair[0])
    for _ in range(6):
        assert len(claim()) == 1  # and the process dies
        time.move(46)
    [one] = claim()
    finish(one, TransientError("503"))
    again = stored(delivery_id).next_attempt_at
    assert again is not None
    assert again - clock.now() < timedelta(seconds=13)  # the first step is 10 s ± 20 %
    assert stand_ins(delivery_id) == []


def test_a_fallback_that_was_told_anyway_is_not_told_twice(
    pair: tuple[ChannelRow, ChannelRow], time: Clock
) -> None:
    targets = [
        Target(channel_id=row.id, channel_name=row.name, channel_type=row.type) for row in pair
    ]
    with transaction() as session:
        outbox.write(session, BY_TYPE["restore_failure"].sample(), targets)
    chat, phone = claim()
    finish(phone)
    finish(chat, PermanentError("413"))
    assert stand_ins(chat.delivery_id) == []


def test_a_fallback_that_is_off_is_not_used(time: Clock) -> None:
    off = make_channel(enabled=False)
    [delivery_id] = queue(make_channel(fallback_id=off.id))
    fail(delivery_id, PermanentError("413"), time)
    assert stand_ins(delivery_id) == []


def test_a_stand_in_has_no_stand_in(time: Clock) -> None:
    last = make_channel(name="Last")
    middle = make_channel(name="Middle", fallback_id=last.id)
    [delivery_id] = queue(make_channel(name="First", fallback_id=middle.id))
    fail(delivery_id, PermanentError("413"), time)
    [stand_in] = stand_ins(delivery_id)
    fail(stand_in.id, PermanentError("413"), time)
    assert stand_ins(stand_in.id) == []


def test_what_waited_when_a_channel_broke_goes_through_the_fallback_at_once(
    pair: tuple[ChannelRow, ChannelRow], time: Clock
) -> None:
    first, second = queue(pair[0], 2)
    [one, _other] = claim()
    claims.release([_other])
    finish(one, PermanentError("404", breaks_channel=True))
    assert stored(second).state == State.RETRYING
    assert [len(stand_ins(each)) for each in (first, second)] == [1, 1]


def test_an_event_for_a_channel_that_is_broken_goes_through_the_fallback_at_once(
    pair: tuple[ChannelRow, ChannelRow], time: Clock
) -> None:
    queue(pair[0])
    finish(claim()[0], PermanentError("404", breaks_channel=True))
    target = Target(
        channel_id=pair[0].id, channel_name="Chat", channel_type="webhook", broken="404"
    )
    with transaction() as session:
        event_id = outbox.write(session, BY_TYPE["restore_failure"].sample(), [target])
    with reading() as session:
        rows = session.scalars(select(Delivery).where(Delivery.event_id == event_id)).all()
    assert {row.channel_name: row.state for row in rows} == {
        "Chat": State.RETRYING,
        "Phone": State.QUEUED,
    }
    for one in claim():
        finish(one)
    assert [stored(row.id).state for row in rows if row.channel_name == "Chat"] == ["cancelled"]
    time.move(90_000)
    assert claim() == []


def test_what_was_given_back_still_calls_off_its_stand_in(
    pair: tuple[ChannelRow, ChannelRow], time: Clock
) -> None:
    [first, second] = queue(pair[0], 2)
    going = {one.delivery_id: one for one in claim()}
    claims.release([going[second]])
    finish(going[first], PermanentError("404", breaks_channel=True))
    assert (stored(second).state, stored(second).attempts) == (State.RETRYING, 0)
    [stand_in] = stand_ins(second)
    time.move(3700)
    again = {one.delivery_id: one for one in claim()}
    claims.release([again[second], again[stand_in.id]])
    assert stored(second).state == State.RETRYING
    again = {one.delivery_id: one for one in claim()}
    claims.release([again[stand_in.id]])
    finish(again[second])
    assert stored(stand_in.id).state == State.CANCELLED
