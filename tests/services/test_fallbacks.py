"""Fallbacks in every order of events: shared, broken themselves, off, deleted, exchanged."""

from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select

from tests.factories import make_channel
from tests.services.test_admission import Clock, claim, fail, finish, queue, stand_ins, stored
from webapp.core.errors import PermanentError, TransientError
from webapp.models.channel import ChannelRow
from webapp.models.delivery import Delivery, State
from webapp.notify.events import BY_TYPE
from webapp.services import channel_edits, channel_health, claims, delivery_actions, outbox
from webapp.services.routing import targets_of
from webapp.services.transaction import reading, transaction

GONE = PermanentError("401", breaks_channel=True)
TOO_LARGE = PermanentError("413")
DOWN = TransientError("503")


@pytest.fixture(autouse=True)
def _in_context(app: Flask) -> None:
    """Every test here needs tables."""


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def publish(*rows: ChannelRow) -> dict[str, str]:
    """Publish one event to channels as they are now; return its deliveries by channel."""
    with transaction() as session:
        targets = [
            target for row in rows for target in targets_of(session.get_one(ChannelRow, row.id))
        ]
        event_id = outbox.write(session, BY_TYPE["restore_failure"].sample(), targets)
    return {row.channel_name: row.id for row in of_event(event_id) if row.fallback_for is None}


def of_event(event_id: str) -> list[Delivery]:
    with reading() as session:
        found = select(Delivery).where(Delivery.event_id == event_id).order_by(Delivery.id)
        return list(session.scalars(found))


def break_channel(row: ChannelRow, time: Clock) -> str:
    [waiting] = queue(row)
    fail(waiting, GONE, time)
    return waiting


def heal(row: ChannelRow) -> None:
    with transaction() as session:
        channel_health.heal(session, session.get_one(ChannelRow, row.id))


def test_a_fallback_of_two_channels_stays_for_the_one_that_still_needs_it(time: Clock) -> None:
    phone = make_channel(name="Phone")
    chat, hook = (make_channel(name=name, fallback_id=phone.id) for name in ("Chat", "Hook"))
    sent = publish(chat, hook)
    for one in claim():
        finish(one, DOWN)
    time.move(13)
    for one in claim():
        finish(one, DOWN if one.delivery_id == sent["Chat"] else TOO_LARGE)
    time.move(80)
    going = {one.channel.name: one for one in claim()}
    finish(going["Phone"], DOWN)  # the same line was down
    finish(going["Chat"])
    assert stored(sent["Hook"]).state == State.FAILED
    time.move(70)
    [again] = claim()
    assert again.channel.name == "Phone"
    assert again.stands_in_for == "Hook"
    finish(again)
    assert stored(again.delivery_id).state == State.SENT


def test_what_failed_for_good_waits_for_a_fallback_that_is_broken(time: Clock) -> None:
    phone = make_channel(name="Phone")
    chat = make_channel(name="Chat", fallback_id=phone.id)
    break_channel(phone, time)
    [delivery_id] = queue(chat)
    [one] = claim()
    finish(one, TOO_LARGE)
    [stand_in] = stand_ins(delivery_id)
    assert (stand_in.state, stand_in.needs_you) == (State.RETRYING, True)
    assert "broken" in (stand_in.reason or "")
    assert claim() == []
    heal(phone)
    assert stand_in.id in {one.delivery_id for one in claim()}


def test_two_broken_channels_wait_for_the_one_that_is_mended_first(time: Clock) -> None:
    phone = make_channel(name="Phone")
    chat = make_channel(name="Chat", fallback_id=phone.id)
    break_channel(phone, time)
    break_channel(chat, time)
    sent = publish(chat)
    assert claim() == []
    heal(phone)
    going = {one.delivery_id: one for one in claim()}
    [stand_in] = stand_ins(sent["Chat"])
    finish(going[stand_in.id])
    assert stored(sent["Chat"]).state == State.CANCELLED


@pytest.mark.parametrize("how", ["off", "deleted"])
def test_another_fallback_takes_over_from_one_that_was_taken_away(time: Clock, how: str) -> None:
    phone, mail = make_channel(name="Phone"), make_channel(name="Mail")
    chat = make_channel(name="Chat", fallback_id=phone.id)
    [delivery_id] = queue(chat)
    fail(delivery_id, DOWN, time)
    fail(delivery_id, DOWN, time)
    if how == "off":
        channel_edits.set_enabled(phone.id, on=False)
    else:
        channel_edits.delete(phone.id, everywhere=True)
    assert claim() == []
    [given_up] = stand_ins(delivery_id)
    assert given_up.state == (State.SKIPPED if how == "off" else State.CANCELLED)
    with transaction() as session:
        session.get_one(ChannelRow, chat.id).fallback_id = mail.id
    fail(delivery_id, DOWN, time)
    assert [row.channel_name for row in stand_ins(delivery_id)] == ["Phone", "Mail"]


def test_a_stand_in_that_is_on_its_way_is_enough(time: Clock) -> None:
    phone, mail = make_channel(name="Phone"), make_channel(name="Mail")
    chat = make_channel(name="Chat", fallback_id=phone.id)
    [delivery_id] = queue(chat)
    fail(delivery_id, DOWN, time)
    fail(delivery_id, DOWN, time)
    with transaction() as session:
        session.get_one(ChannelRow, chat.id).fallback_id = mail.id
    fail(delivery_id, DOWN, time)
    assert [row.channel_name for row in stand_ins(delivery_id)] == ["Phone"]


def test_a_fallback_that_failed_is_not_asked_again_by_each_try(time: Clock) -> None:
    phone = make_channel(name="Phone")
    chat = make_channel(name="Chat", fallback_id=phone.id)
    [delivery_id] = queue(chat)
    fail(delivery_id, DOWN, time)
    fail(delivery_id, DOWN, time)
    [one] = claim()
    finish(one, TOO_LARGE)
    fail(delivery_id, DOWN, time)
    assert len(stand_ins(delivery_id)) == 1


def test_what_is_sent_again_may_use_the_fallback_again(time: Clock) -> None:
    phone = make_channel(name="Phone")
    chat = make_channel(name="Chat", fallback_id=phone.id)
    [delivery_id] = queue(chat)
    [one] = claim()
    finish(one, TOO_LARGE)
    [one] = claim()
    finish(one, TOO_LARGE)
    copy = delivery_actions.resend(delivery_id).delivery_id
    [one] = claim()
    finish(one, TOO_LARGE)
    assert [row.channel_name for row in stand_ins(copy)] == ["Phone"]


def test_a_long_pause_of_the_service_is_not_waited_for(time: Clock) -> None:
    phone = make_channel(name="Phone", config={"url": "https://phone.example.org/"})
    chat = make_channel(name="Chat", fallback_id=phone.id)
    first, second = queue(chat, 2)
    [one, other] = claim()
    claims.release([other])
    finish(one, TransientError("429", status="429", retry_after=timedelta(hours=6)))
    third = publish(chat)["Chat"]
    told = claim()
    assert [one.channel.name for one in told] == ["Phone"] * 3
    for one in told[:2]:
        finish(one)
    finish(told[2], DOWN)
    states = [stored(each).state for each in (first, second, third)]
    assert states == [State.CANCELLED, State.CANCELLED, State.RETRYING]
    time.move(6 * 3600 + 60)
    going = {one.delivery_id: one for one in claim()}
    claims.release([going[told[2].delivery_id]])
    finish(going[third])
    assert stored(told[2].delivery_id).state == State.CANCELLED


def test_a_short_pause_of_the_service_is_waited_for(time: Clock) -> None:
    phone = make_channel(name="Phone", config={"url": "https://phone.example.org/"})
    chat = make_channel(name="Chat", fallback_id=phone.id)
    [first] = queue(chat)
    finish(claim()[0], TransientError("429", status="429", retry_after=timedelta(minutes=9)))
    second = publish(chat)["Chat"]
    assert claim() == []
    assert stored(second).state == State.QUEUED
    assert [*stand_ins(first), *stand_ins(second)] == []
