"""The truth table of routing, row by row."""

from collections.abc import Iterable
from typing import Any

import pytest
from sqlalchemy import select

from tests.factories import make_channel, make_job, make_user
from webapp.core import clock
from webapp.models.channel import ChannelRow
from webapp.models.delivery import Delivery, State
from webapp.models.job import Job
from webapp.models.routing import (
    Condition,
    EventChannel,
    EventSetting,
    GlobalChannel,
    JobChannel,
    NotifyUser,
)
from webapp.notify.events import BY_TYPE, SYSTEM_EVENTS, Event
from webapp.services import outbox, routing
from webapp.services.transaction import reading, transaction

pytestmark = pytest.mark.usefixtures("app")

LOGIN = BY_TYPE["user_login"].sample()
RESTORE_FAILED = BY_TYPE["restore_failure"].sample()


def make_mail(name: str, *recipients: str, **values: Any) -> ChannelRow:
    config = {
        "host": "mail.example.org",
        "sender": "dbackup@example.org",
        "recipients": list(recipients) or ["ops@example.org"],
    }
    return make_channel(name=name, type="email", config=config, **values)


def choose_globally(*channels: ChannelRow) -> None:
    with transaction() as session:
        for position, channel in enumerate(channels):
            session.add(GlobalChannel(channel_id=channel.id, position=position))


def set_event(
    event_type: str,
    *,
    enabled: bool = True,
    own: Iterable[ChannelRow] | None = None,
    notify_user: NotifyUser = NotifyUser.DISABLED,
) -> None:
    with transaction() as session:
        session.add(
            EventSetting(
                event_type=event_type,
                enabled=enabled,
                custom=own is not None,
                notify_user=notify_user,
            )
        )
        for position, channel in enumerate(own or ()):
            session.add(
                EventChannel(event_type=event_type, channel_id=channel.id, position=position)
            )


def publish(event: Event, **options: Any) -> list[Delivery]:
    with transaction() as session:
        event_id = outbox.publish(session, event, **options)
    with reading() as session:
        found = select(Delivery).where(Delivery.event_id == event_id).order_by(Delivery.id)
        return list(session.scalars(found))


def told(deliveries: Iterable[Delivery]) -> list[tuple[str, str | None]]:
    return [(row.channel_name, row.recipient) for row in deliveries if row.state == State.QUEUED]


def reasons(deliveries: Iterable[Delivery]) -> list[tuple[str, str | None]]:
    return [(row.channel_name, row.reason) for row in deliveries if row.state == State.SKIPPED]


# 1: off


def test_an_event_that_is_off_goes_nowhere_and_says_so() -> None:
    choose_globally(make_channel(name="Ops"))
    rows = publish(LOGIN)
    assert told(rows) == []
    assert reasons(rows) == [("", routing.EVENT_OFF)]


@pytest.mark.parametrize("event", SYSTEM_EVENTS, ids=lambda event: event.type)
def test_defaults_are_those_of_the_catalogue(event: type[Event]) -> None:
    choose_globally(make_channel(name="Ops"))
    on = {"restore_complete", "restore_failure", "system_error"}
    assert bool(told(publish(event.sample()))) == (event.type in on)


# 2: which channels


def test_an_event_without_its_own_channels_follows_the_global_ones_in_their_order() -> None:
    first, second = make_channel(name="First"), make_channel(name="Second")
    choose_globally(second, first)
    assert told(publish(RESTORE_FAILED)) == [("Second", None), ("First", None)]


def test_an_event_with_its_own_channels_uses_only_those() -> None:
    ours, theirs = make_channel(name="Ours"), make_channel(name="Global")
    choose_globally(theirs)
    set_event("restore_failure", own=[ours])
    assert told(publish(RESTORE_FAILED)) == [("Ours", None)]


def test_an_empty_selection_of_its_own_is_nobody_and_never_the_global_channels() -> None:
    choose_globally(make_channel(name="Global"))
    set_event("restore_failure", own=[])
    rows = publish(RESTORE_FAILED)
    assert told(rows) == []
    assert reasons(rows) == [("", routing.NO_CHANNELS)]


def test_no_global_channel_is_a_reason() -> None:
    assert reasons(publish(RESTORE_FAILED)) == [("", routing.NO_CHANNELS)]


# 3: channels that are off or broken


def test_a_channel_that_is_off_is_skipped_with_a_reason() -> None:
    choose_globally(make_channel(name="Night", enabled=False), make_channel(name="Day"))
    rows = publish(RESTORE_FAILED)
    assert told(rows) == [("Day", None)]
    assert reasons(rows) == [("Night", routing.CHANNEL_OFF)]


def test_a_message_to_a_broken_channel_waits_for_its_repair() -> None:
    choose_globally(make_channel(name="Broken", broken_at=clock.now(), last_error="404 gone"))
    [row] = publish(RESTORE_FAILED)
    assert row.state == State.RETRYING
    assert row.needs_you
    assert "404 gone" in (row.reason or "")
    assert row.next_attempt_at is not None
    assert row.next_attempt_at > clock.now()


# 4: notify user directly


@pytest.fixture
def mail() -> ChannelRow:
    return make_mail("Mail", "ops@example.org")


def test_disabled_tells_the_admin_channels_only(mail: ChannelRow) -> None:
    choose_globally(mail)
    set_event("user_login")
    assert told(publish(LOGIN)) == [("Mail", None)]


def test_admin_and_user_tells_both(mail: ChannelRow) -> None:
    choose_globally(mail, make_channel(name="Chat"))
    set_event("user_login", notify_user=NotifyUser.ADMIN_AND_USER)
    assert told(publish(LOGIN)) == [
        ("Mail", None),
        ("Chat", None),
        ("Mail", "mara@example.org"),
    ]


def test_user_only_tells_the_user_and_names_why_the_channels_are_silent(mail: ChannelRow) -> None:
    choose_globally(mail, make_channel(name="Chat"))
    set_event("user_login", notify_user=NotifyUser.USER_ONLY)
    rows = publish(LOGIN)
    assert told(rows) == [("Mail", "mara@example.org")]
    assert reasons(rows) == [("Mail", routing.USER_ONLY), ("Chat", routing.USER_ONLY)]


def test_no_second_mail_to_an_address_that_the_channel_writes_to_anyway() -> None:
    mail = make_mail("Mail", "MARA@example.org")
    choose_globally(mail)
    set_event("user_login", notify_user=NotifyUser.ADMIN_AND_USER)
    rows = publish(LOGIN)
    assert told(rows) == [("Mail", None)]
    assert reasons(rows) == [("Mail", "Mail already writes to this address.")]


@pytest.mark.parametrize("mode", [NotifyUser.ADMIN_AND_USER, NotifyUser.USER_ONLY])
def test_without_an_email_channel_the_mode_is_inert_and_the_admins_are_told(
    mode: NotifyUser,
) -> None:
    choose_globally(make_channel(name="Chat"))
    set_event("user_login", notify_user=mode)
    assert told(publish(LOGIN)) == [("Chat", None)]


def test_user_only_with_every_email_channel_off_tells_the_admins_rather_than_nobody() -> None:
    off = make_mail("Mail", enabled=False)
    choose_globally(off, make_channel(name="Chat"))
    set_event("user_login", notify_user=NotifyUser.USER_ONLY)
    rows = publish(LOGIN)
    assert told(rows) == [("Chat", None)]
    assert ("", routing.NO_WORKING_EMAIL) in reasons(rows)


def test_direct_mail_takes_the_first_email_channel_that_works(mail: ChannelRow) -> None:
    broken = make_mail("Old mail", broken_at=clock.now())
    off = make_mail("Off mail", enabled=False)
    choose_globally(broken, off, mail)
    set_event("user_login", notify_user=NotifyUser.USER_ONLY)
    assert told(publish(LOGIN)) == [("Mail", "mara@example.org")]


def test_an_event_about_nobody_ignores_the_mode(mail: ChannelRow) -> None:
    choose_globally(mail)
    set_event("restore_failure", notify_user=NotifyUser.USER_ONLY)
    assert told(publish(RESTORE_FAILED)) == [("Mail", None)]


# 5: jobs


@pytest.mark.parametrize(
    ("event_type", "expected"),
    [
        ("backup_success", ["Always", "On Success"]),
        ("backup_partial", ["Always", "On Failure"]),
        ("backup_failure", ["Always", "On Failure"]),
    ],
)
def test_conditions_of_a_job(event_type: str, expected: list[str]) -> None:
    job = make_job()
    rows = {condition: make_channel(name=label) for condition, label in LABELS}
    connect(job, *((row, condition) for condition, row in rows.items()))
    deliveries = publish(BY_TYPE[event_type].sample(), job=job)
    assert [name for name, _ in told(deliveries)] == expected
    [(silent, why)] = reasons(deliveries)
    assert silent not in expected
    assert silent in (why or "")


LABELS = [
    (Condition.ALWAYS, "Always"),
    (Condition.ON_SUCCESS, "On Success"),
    (Condition.ON_FAILURE, "On Failure"),
]


def connect(job: Job, *rows: tuple[ChannelRow, Condition]) -> None:
    with transaction() as session:
        for channel, condition in rows:
            session.add(JobChannel(job_id=job.id, channel_id=channel.id, condition=condition))


def test_every_outcome_of_a_run_has_its_conditions() -> None:
    outcomes = {event for event in BY_TYPE if event.startswith("backup_")}
    assert outcomes <= set(routing.CONDITIONS)


def test_the_same_channel_twice_for_one_run_is_one_message() -> None:
    job, chat = make_job(), make_channel(name="Chat")
    connect(job, (chat, Condition.ON_FAILURE), (chat, Condition.ALWAYS))
    deliveries = publish(BY_TYPE["backup_failure"].sample(), job=job)
    assert told(deliveries) == [("Chat", None)]
    assert reasons(deliveries) == [("Chat", routing.COVERED)]


def test_a_row_whose_condition_is_not_met_does_not_cover_another() -> None:
    job, chat = make_job(), make_channel(name="Chat")
    connect(job, (chat, Condition.ON_SUCCESS), (chat, Condition.ON_FAILURE))
    assert told(publish(BY_TYPE["backup_failure"].sample(), job=job)) == [("Chat", None)]


def test_a_job_without_rows_tells_nobody_and_says_so() -> None:
    deliveries = publish(BY_TYPE["backup_failure"].sample(), job=make_job())
    assert reasons(deliveries) == [("", routing.NO_JOB_CHANNELS)]


def test_backup_results_never_use_the_global_channels() -> None:
    choose_globally(make_channel(name="Global"))
    assert told(publish(BY_TYPE["backup_failure"].sample(), job=make_job())) == []


# 6: tests


def test_a_test_goes_where_the_event_would_go_although_it_is_off(mail: ChannelRow) -> None:
    user = make_user(email="admin@example.org")
    choose_globally(mail)
    set_event("user_login", enabled=False, notify_user=NotifyUser.ADMIN_AND_USER)
    rows = publish(LOGIN, is_test=True, test_recipient=user.email)
    assert told(rows) == [("Mail", None), ("Mail", "admin@example.org")]


def test_the_broken_channel_is_not_told_about_itself() -> None:
    broken, other = make_channel(name="Broken"), make_channel(name="Other")
    choose_globally(broken, other)
    rows = publish(BY_TYPE["system_error"].sample(), except_channel_id=broken.id)
    assert told(rows) == [("Other", None)]
    assert reasons(rows) == [("Broken", outbox.BROKEN_ITSELF)]
