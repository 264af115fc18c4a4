"""The sentence that says where an event would go, held against where it does go."""

import itertools
from datetime import timedelta

import pytest
import sqlalchemy

from tests.factories import make_channel, make_job
from webapp.core import clock
from webapp.models.channel import ChannelRow
from webapp.models.delivery import Delivery, EventRow
from webapp.models.routing import Condition, JobChannel
from webapp.notify.events import BY_TYPE
from webapp.services import delivery_detail, event_words, outbox, rates, routing
from webapp.services import notification_settings as settings
from webapp.services.transaction import reading, transaction

pytestmark = pytest.mark.usefixtures("app")

LOGIN = "user_login"


def sentence(key: str = LOGIN) -> str:
    return settings.one(key).event.goes_to(names_people=True)


def select(*rows: ChannelRow, mode: str = "disabled") -> None:
    settings.set_enabled(LOGIN, True)
    settings.choose_global([row.id for row in rows])
    settings.set_notify_user(LOGIN, mode)


def test_an_event_that_is_off_and_one_without_channels_say_so() -> None:
    assert sentence() == "Off: nobody would be told."
    select()
    assert sentence() == "Nobody would be told: no channel is selected."


def test_the_sentence_names_who_hears_of_it_and_why_others_do_not() -> None:
    spare = make_channel(name="Spare")
    alerts = make_channel(name="Ops alerts")
    mails = make_channel(name="Ops mailing list")
    off = make_channel(name="On-call", enabled=False)
    select(alerts, mails, off)
    assert sentence() == "Would go now to Ops alerts and Ops mailing list; On-call is off."
    with transaction() as session:
        session.get_one(ChannelRow, mails.id).broken_at = clock.now()
    assert sentence() == (
        "Would go now to Ops alerts; Ops mailing list is broken, so its messages wait until it is "
        "mended; On-call is off."
    )
    with transaction() as session:
        session.get_one(ChannelRow, mails.id).fallback_id = spare.id
    assert "Ops mailing list is broken, so Spare takes over" in sentence()


def test_direct_mail_is_part_of_the_sentence() -> None:
    alerts = make_channel(name="Ops alerts")
    people = "ops@example.org and 1 more"
    mail = make_channel(name="Post", type="email", config={}, summary=f"{people} by mail.example")
    select(alerts, mail, mode="user_only")
    assert sentence() == ("Would go now only to the person concerned, as direct mail through Post.")
    select(alerts, mail, mode="admin_and_user")
    assert sentence() == (
        f"Would go now to Ops alerts, Post ({people}) and the person concerned "
        "(direct mail through Post)."
    )
    with transaction() as session:
        session.get_one(ChannelRow, mail.id).enabled = False
    assert event_words.NO_DIRECT in sentence()


def test_who_may_not_read_channels_does_not_read_whom_they_write_to() -> None:
    select(make_channel(name="Post", type="email", config={}, summary="a@example.org by mail"))
    assert "a@example.org" in settings.one(LOGIN).event.goes_to(names_people=True)
    assert settings.one(LOGIN).event.goes_to(names_people=False) == "Would go now to Post."


def test_a_channel_that_rests_gets_it_later(monkeypatch: pytest.MonkeyPatch) -> None:
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now)
    address = {"url": "https://hooks.example.org/alerts"}
    alerts = make_channel(name="Ops alerts", config=address)
    twin = make_channel(name="Twin", config=address)
    mail = make_channel(name="Post", type="email", config={"host": "mail.example.org"})
    other = make_channel(name="Other", config={"url": "https://elsewhere.example.org/"})
    select(alerts, twin, mail, other)
    with transaction() as session:
        rates.block(session.connection(), alerts, now + timedelta(minutes=12))
    assert sentence() == (
        "Would go now to Post and Other; Ops alerts gets it in 12 min, since its service asked for "
        "a pause; Twin gets it in 12 min, since its service asked for a pause."
    )
    with transaction() as session:
        rates.block(session.connection(), mail, now + timedelta(minutes=2))
    select(other, mail, mode="admin_and_user")
    assert sentence() == (
        "Would go now to Other; Post gets it in 2 min, since its service asked for a pause; the "
        "direct mail to the person concerned goes in 2 min."
    )
    select(mail, mode="user_only")
    assert sentence() == (
        "Would go in 2 min, and only to the person concerned, as direct mail through Post."
    )
    with transaction() as session:
        broken = session.get_one(ChannelRow, other.id)
        broken.broken_at, broken.fallback_id = now, mail.id
    select(other)
    assert sentence() == (
        "Would reach nobody directly now; Other is broken, so Post takes over in 2 min, since its "
        "service asked for a pause."
    )
    select(mail, mode="user_only")
    now += timedelta(minutes=2)
    assert sentence() == "Would go now only to the person concerned, as direct mail through Post."


def test_a_long_rest_is_not_waited_for_when_there_is_a_fallback() -> None:
    spare = make_channel(name="Spare", config={"url": "https://elsewhere.example.org/"})
    alerts = make_channel(name="Ops alerts", fallback_id=spare.id)
    select(alerts)
    for minutes, said in (
        (9, "Ops alerts gets it in 9 min"),
        (180, "Ops alerts rests for 3 h 00 min, so Spare takes over"),
    ):
        with transaction() as session:
            rates.block(
                session.connection(), alerts, clock.now() + timedelta(minutes=minutes, seconds=1)
            )
        assert said in sentence()


def test_the_sentence_names_exactly_the_channels_that_routing_uses() -> None:
    rows = [
        make_channel(name=f"Room {number}", enabled=enabled, broken_at=clock.now() if bad else None)
        for number, (enabled, bad) in enumerate(itertools.product([True, False], repeat=2))
    ]
    for count in range(1, 5):
        for chosen in itertools.combinations(rows, count):
            select(*chosen)
            with reading() as session:
                plan = routing.plan_system_event(session, BY_TYPE[LOGIN].sample())
            going = {
                line.channel_name for line in plan if line.reason is None and line.broken is None
            }
            said = sentence().partition(";")[0]
            assert {row.name for row in rows if row.name in said} == going


def lines_of(event_id: str) -> delivery_detail.Detail:
    with reading() as session:
        found = sqlalchemy.select(Delivery.id).where(Delivery.event_id == event_id)
        [first, *_] = session.scalars(found.order_by(Delivery.id)).all()
    return delivery_detail.detail(first, with_message=False)


def test_every_channel_that_did_not_send_has_its_reason_one_click_from_the_event() -> None:
    told, off = make_channel(name="Told"), make_channel(name="Off", enabled=False)
    only_failures, elsewhere = make_channel(name="Failures"), make_channel(name="Elsewhere")
    job = make_job()
    with transaction() as session:
        for row, condition in (
            (told, Condition.ALWAYS),
            (off, Condition.ALWAYS),
            (only_failures, Condition.ON_FAILURE),
            (told, Condition.ON_SUCCESS),
        ):
            session.add(JobChannel(job_id=job.id, channel_id=row.id, condition=condition))
            session.flush()
    with transaction() as session:
        event_id = outbox.publish(session, BY_TYPE["backup_success"].sample(), job=job)
    detail = lines_of(event_id)
    reasons = [(line.channel_name, line.reason) for line in (detail.line, *detail.others)]
    assert reasons == [
        ("Told", None),
        ("Off", routing.CHANNEL_OFF),
        ("Failures", "The condition “On Failure” is not met by this outcome."),
        ("Told", routing.COVERED),
    ]
    assert detail.not_chosen == (elsewhere.name,)


def test_channels_made_after_the_event_are_not_named() -> None:
    select(make_channel(name="Then"))
    with transaction() as session:
        event_id = outbox.publish(session, BY_TYPE[LOGIN].sample())
    make_channel(name="Later")
    assert lines_of(event_id).not_chosen == ()
    with reading() as session:
        assert session.get_one(EventRow, event_id).type == LOGIN
