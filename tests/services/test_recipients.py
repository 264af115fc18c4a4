"""Channels that write to each recipient apart: one delivery each, through every way to one."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from tests.factories import make_channel, make_job, make_user
from webapp.core import clock
from webapp.core.errors import PermanentError, TransientError
from webapp.models.channel import ChannelRow
from webapp.models.delivery import Delivery, State
from webapp.models.routing import Condition, EventSetting, GlobalChannel, JobChannel, NotifyUser
from webapp.notify.channels.base import Receipt
from webapp.notify.events import BY_TYPE
from webapp.services import (
    claims,
    delivery_actions,
    delivery_lines,
    outbox,
    outcomes,
    routing,
    sending,
    trials,
)
from webapp.services.claims import Claim
from webapp.services.outcomes import Result
from webapp.services.transaction import reading, transaction

pytestmark = pytest.mark.usefixtures("app")

FIRST, SECOND = "+15551111111", "+15552222222"
LOGIN = BY_TYPE["user_login"].sample()


def make_sms(*recipients: str, **values: Any) -> ChannelRow:
    config = {
        "account_sid": "AC" + "0" * 32,
        "auth_token": "0" * 32,
        "sender": "+15005550006",
        "recipients": list(recipients or (FIRST, SECOND)),
        "max_segments": 2,
    }
    return make_channel(type="sms", config=config, **values)


def deliveries(event_id: str) -> list[Delivery]:
    with reading() as session:
        found = select(Delivery).where(Delivery.event_id == event_id).order_by(Delivery.id)
        return list(session.scalars(found))


def told(event_id: str) -> list[tuple[str | None, str]]:
    return [(row.recipient, row.state) for row in deliveries(event_id)]


def publish(event: str = "restore_failure", **options: Any) -> str:
    with transaction() as session:
        return outbox.publish(session, BY_TYPE[event].sample(), **options)


def choose(*rows: ChannelRow) -> None:
    with transaction() as session:
        for position, row in enumerate(rows):
            session.add(GlobalChannel(channel_id=row.id, position=position))


def record(claim: Claim, error: Exception | None = None) -> None:
    answer: dict[str, Any] = (
        {"error": error} if error else {"receipt": Receipt(status="201", words="ok")}
    )
    outcomes.record(
        [Result(claim=claim, started_at=clock.now(), took=timedelta(seconds=1), **answer)]
    )


def test_each_recipient_of_a_system_event_gets_a_delivery() -> None:
    choose(make_sms())
    assert told(publish()) == [(FIRST, State.QUEUED), (SECOND, State.QUEUED)]


def test_each_recipient_of_a_job_gets_a_delivery_and_only_once() -> None:
    channel, job = make_sms(), make_job()
    with transaction() as session:
        for condition in (Condition.ALWAYS, Condition.ON_FAILURE):
            session.add(JobChannel(job_id=job.id, channel_id=channel.id, condition=condition))
    assert told(publish("backup_failure", job=job)) == [
        (FIRST, State.QUEUED),
        (SECOND, State.QUEUED),
        (None, State.SKIPPED),
    ]


def test_a_channel_that_is_off_is_skipped_once() -> None:
    choose(make_sms(enabled=False))
    assert told(publish()) == [(None, State.SKIPPED)]


def test_a_test_goes_to_every_recipient_also_while_the_channel_is_off() -> None:
    channel, user = make_sms(enabled=False), make_user()
    event_id = trials.test_channel(channel.id, user.id)
    assert [recipient for recipient, _ in told(event_id)] == [FIRST, SECOND]
    assert [row.recipient for row in trials.results(event_id).rows] == [FIRST, SECOND]


def test_a_channel_whose_key_was_lost_keeps_one_delivery_that_says_so() -> None:
    channel = make_sms()
    with transaction() as session:
        session.execute(update(ChannelRow).values(config="sealed with another key"))
    choose(channel)
    assert told(publish()) == [(None, State.QUEUED)]


def test_a_recipient_is_not_the_person_that_the_event_is_about() -> None:
    choose(make_sms(FIRST))
    with transaction() as session:
        session.add(EventSetting(event_type="user_login", enabled=True, custom=False))
    event_id = publish("user_login")
    [claim] = claims.claim_due(10).claims
    assert not claim.is_direct
    assert sending._message(claim).recipient == FIRST
    [row] = deliveries(event_id)
    line = delivery_lines.line(row.id)
    assert (line.title, line.is_direct) == ("User login: Mara Lindqvist", False)


def test_direct_mail_still_speaks_to_the_person() -> None:
    mail = make_channel(
        type="email",
        config={"host": "mail", "sender": "a@example.org", "recipients": ["ops@example.org"]},
    )
    choose(mail)
    with transaction() as session:
        session.add(
            EventSetting(
                event_type="user_login",
                enabled=True,
                custom=False,
                notify_user=NotifyUser.ADMIN_AND_USER,
            )
        )
    publish("user_login")
    claimed = {claim.recipient: claim for claim in claims.claim_due(10).claims}
    assert claimed[LOGIN.user_email].is_direct
    assert not claimed[None].is_direct


def test_what_fails_for_one_is_tried_again_for_that_one_only() -> None:
    choose(make_sms())
    event_id = publish()
    first, second = sorted(claims.claim_due(10).claims, key=lambda one: str(one.recipient))
    record(first)
    record(second, TransientError("busy"))
    assert told(event_id) == [(FIRST, State.SENT), (SECOND, State.RETRYING)]


def test_a_fallback_that_writes_apart_reaches_all_its_recipients_once() -> None:
    fallback = make_sms()
    channel = make_channel(fallback_id=fallback.id)
    choose(channel)
    event_id = publish()
    [claim] = claims.claim_due(10).claims
    record(claim, PermanentError("no"))
    assert [row.recipient for row in deliveries(event_id) if row.fallback_for] == [FIRST, SECOND]


def test_the_fallback_of_two_recipients_is_told_once() -> None:
    fallback = make_channel()
    choose(make_sms(fallback_id=fallback.id))
    event_id = publish()
    for claim in claims.claim_due(10).claims:
        record(claim, PermanentError("no"))
    assert len([row for row in deliveries(event_id) if row.fallback_for]) == 1


def test_a_resent_message_goes_to_the_same_recipient() -> None:
    choose(make_sms())
    event_id = publish()
    for claim in claims.claim_due(10).claims:
        record(claim, PermanentError("no"))
    failed = deliveries(event_id)[1]
    delivery_actions.resend(failed.id)
    [copy] = [row for row in deliveries(event_id) if row.resend_of]
    assert (copy.recipient, copy.is_direct) == (SECOND, False)


def test_a_bundle_is_for_one_recipient() -> None:
    choose(make_sms())
    with transaction() as session:
        for _ in range(40):
            outbox.publish(session, BY_TYPE["restore_failure"].sample())
    bundles = [claim for claim in claims.claim_due(500).claims if claim.others]
    assert bundles
    for bundle in bundles:
        assert {one.recipient for one in bundle.whole} == {bundle.recipient}


def test_only_types_that_say_so_are_taken_apart() -> None:
    mail = make_channel(type="email", config={"recipients": ["a@example.org", "b@example.org"]})
    assert [target.recipient for target in routing.targets_of(mail)] == [None]
