"""Settings → Notifications: every change keeps to its own field and is there afterwards."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from flask import Flask
from sqlalchemy import event, select

from webapp.core import clock
from webapp.core.errors import InvalidError, NotFoundError
from webapp.models import db
from webapp.models.channel import ChannelRow
from webapp.models.routing import EventSetting, NotifyUser
from webapp.notify.events import SYSTEM_EVENTS
from webapp.services import notification_settings as settings
from webapp.services.routing import plan_system_event
from webapp.services.transaction import reading, transaction

pytestmark = pytest.mark.usefixtures("app")


def make(name: str, type: str = "webhook", *, enabled: bool = True, broken: bool = False) -> int:
    with transaction() as session:
        row = ChannelRow(type=type, name=name, config="", enabled=enabled)
        row.broken_at = clock.now() if broken else None
        session.add(row)
        session.flush()
        return row.id


def ids(setup: settings.EventSetup) -> list[int]:
    return [channel.id for channel in setup.channels]


@contextmanager
def statements() -> Iterator[list[str]]:
    seen: list[str] = []

    def note(*args: object) -> None:
        seen.append(str(args[2]))

    event.listen(db.engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(db.engine, "before_cursor_execute", note)


def test_a_fresh_installation_shows_the_six_events_with_their_defaults() -> None:
    setup = settings.overview()
    assert [(group.name, group.on, group.of) for group in setup.groups] == [
        ("Authentication", 0, 2),
        ("Restore", 2, 2),
        ("System", 1, 2),
    ]
    assert [shown.key for shown in setup.events] == [
        "user_login",
        "user_created",
        "restore_complete",
        "restore_failure",
        "config_backup",
        "system_error",
    ]
    assert not any(shown.custom for shown in setup.events)


def test_every_event_that_has_a_group_is_on_the_page() -> None:
    assert {shown.event for shown in settings.overview().events} == set(SYSTEM_EVENTS)


def test_turning_an_event_on_is_there_afterwards_and_counts_in_its_group() -> None:
    changed = settings.set_enabled("user_login", True)
    assert changed.event.enabled
    assert (changed.group.on, changed.group.of) == (1, 2)
    assert settings.one("user_login").event.enabled


def test_turning_an_event_off_keeps_its_channels_and_its_mode() -> None:
    mail = make("Mail", "email")
    settings.set_enabled("user_login", True)
    settings.choose_channels("user_login", [mail])
    settings.set_notify_user("user_login", NotifyUser.USER_ONLY)
    kept = settings.set_enabled("user_login", False).event
    assert (kept.enabled, kept.custom, ids(kept), kept.notify_user) == (
        False,
        True,
        [mail],
        NotifyUser.USER_ONLY,
    )


def test_each_change_writes_only_its_own_column() -> None:
    with transaction() as session:
        session.add(
            EventSetting(
                event_type="user_login", enabled=True, custom=True, notify_user="user_only"
            )
        )
    with statements() as seen:
        settings.set_enabled("user_login", False)
    (write,) = [statement for statement in seen if "INTO event_setting" in statement]
    assert write.partition("DO UPDATE SET")[2].strip() == "enabled = excluded.enabled"


def test_two_admins_who_change_different_fields_at_once_both_keep_their_change(
    app: Flask,
) -> None:
    mail = make("Mail", "email")
    start = threading.Barrier(4)

    def act(change: Callable[..., object], *args: object) -> None:
        with app.app_context():
            start.wait()
            change(*args)

    threads = [
        threading.Thread(target=act, args=(settings.set_enabled, "user_login", True)),
        threading.Thread(target=act, args=(settings.choose_channels, "user_login", [mail])),
        threading.Thread(target=act, args=(settings.set_notify_user, "user_login", "user_only")),
        threading.Thread(target=act, args=(settings.set_enabled, "user_created", True)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    login = settings.one("user_login").event
    assert (login.enabled, ids(login), login.notify_user) == (True, [mail], "user_only")
    assert settings.one("user_created").event.enabled


def test_events_follow_the_global_channels_in_the_order_chosen() -> None:
    first, second = make("A"), make("B")
    setup = settings.choose_global([second, first])
    assert [channel.id for channel in setup.global_channels] == [second, first]
    assert all(ids(shown) == [second, first] for shown in settings.overview().events)


def test_a_saved_selection_is_custom_even_when_it_equals_the_global_one() -> None:
    channel = make("A")
    settings.choose_global([channel])
    changed = settings.choose_channels("restore_failure", [channel]).event
    assert changed.custom
    settings.choose_global([])
    assert ids(settings.one("restore_failure").event) == [channel]


def test_an_empty_selection_is_nobody_and_never_the_global_set() -> None:
    settings.choose_global([make("A")])
    changed = settings.choose_channels("system_error", []).event
    assert changed.custom
    assert ids(changed) == []
    assert changed.tells_nobody


def test_reset_goes_back_to_the_global_set_and_tells_what_there_was() -> None:
    one, other = make("A"), make("B")
    settings.choose_global([one])
    settings.choose_channels("restore_failure", [other, one])
    changed = settings.reset_channels("restore_failure")
    assert not changed.event.custom
    assert ids(changed.event) == [one]
    assert changed.before == (other, one)
    again = settings.choose_channels("restore_failure", changed.before).event
    assert ids(again) == [other, one]


def test_resetting_an_event_without_its_own_selection_changes_nothing() -> None:
    changed = settings.reset_channels("restore_complete")
    assert (changed.event.custom, changed.event.enabled, changed.before) == (False, True, ())


def test_a_channel_that_is_off_stays_selected_but_tells_nobody() -> None:
    off = make("Off", enabled=False)
    changed = settings.choose_channels("system_error", [off]).event
    assert ids(changed) == [off]
    assert changed.tells_nobody


def test_an_event_that_is_off_is_no_warning() -> None:
    assert not settings.set_enabled("system_error", False).event.tells_nobody


def test_a_channel_deleted_meanwhile_and_a_channel_twice_do_not_spoil_a_selection() -> None:
    there = make("A")
    changed = settings.choose_channels("system_error", [there, 4711, there]).event
    assert ids(changed) == [there]


@pytest.mark.parametrize("key", ["backup_success", "channel_test", "nonsense", ""])
def test_only_system_events_can_be_set(key: str) -> None:
    for change in (
        lambda: settings.one(key),
        lambda: settings.set_enabled(key, True),
        lambda: settings.choose_channels(key, []),
        lambda: settings.reset_channels(key),
        lambda: settings.set_notify_user(key, "disabled"),
    ):
        with pytest.raises(NotFoundError):
            change()
    with reading() as session:
        assert session.scalars(select(EventSetting)).all() == []


def test_notifying_the_user_needs_an_event_about_a_person_and_a_known_mode() -> None:
    with pytest.raises(InvalidError, match="not about one person"):
        settings.set_notify_user("system_error", NotifyUser.USER_ONLY)
    with pytest.raises(InvalidError, match="Admin & User"):
        settings.set_notify_user("user_login", "everybody")


def test_notify_user_is_offered_exactly_while_on_and_with_an_email_channel() -> None:
    mail, hook = make("Mail", "email"), make("Hook")
    assert not settings.choose_channels("user_login", [mail, hook]).event.offers_direct
    assert settings.set_enabled("user_login", True).event.offers_direct
    assert not settings.choose_channels("user_login", [hook]).event.offers_direct
    assert not settings.choose_channels("system_error", [mail]).event.offers_direct


def test_losing_the_last_email_channel_keeps_the_mode_and_warns() -> None:
    mail, hook = make("Mail", "email"), make("Hook")
    settings.set_enabled("user_created", True)
    settings.choose_global([mail, hook])
    settings.set_notify_user("user_created", NotifyUser.ADMIN_AND_USER)
    settings.choose_global([hook])
    inert = settings.one("user_created").event
    assert inert.direct_is_inert
    assert inert.notify_user == NotifyUser.ADMIN_AND_USER
    settings.choose_global([mail])
    assert not settings.one("user_created").event.direct_is_inert


def test_direct_mail_goes_through_the_first_email_channel_that_works() -> None:
    off = make("Off", "email", enabled=False)
    broken = make("Broken", "email", broken=True)
    good = make("Good", "email")
    late = make("Late", "email")
    changed = settings.choose_channels("user_login", [off, broken, good, late]).event
    assert changed.direct_channel is not None
    assert changed.direct_channel.id == good
    assert settings.choose_channels("user_login", [off]).event.direct_channel is None


def test_the_page_shows_the_very_channels_that_routing_uses() -> None:
    first, second, third = make("A"), make("B", "email"), make("C")
    settings.choose_global([first, second])
    settings.choose_channels("restore_failure", [third, second])
    for shown in settings.overview().events:
        settings.set_enabled(shown.key, True)
        with reading() as session:
            plan = plan_system_event(session, shown.event.sample())
        assert [target.channel_id for target in plan] == ids(shown)


def test_the_number_of_statements_does_not_grow_with_the_channels() -> None:
    settings.choose_global([make("A")])
    with statements() as few:
        settings.overview()
    many = [make(f"Channel {number}") for number in range(20)]
    settings.choose_global(many)
    for shown in SYSTEM_EVENTS:
        settings.choose_channels(shown.type, many)
    with statements() as lots:
        settings.overview()
    assert len(few) == len(lots) <= 6


def test_the_number_of_channels_is_said_in_words() -> None:
    make("A")
    make("B")
    two = settings.overview().channels
    assert [settings.words(two[:count]) for count in range(3)] == [
        "No channels",
        "1 channel",
        "2 channels",
    ]


@pytest.mark.postgres
def test_settings_are_kept_on_postgresql(postgres_app: Flask) -> None:
    assert db.engine.dialect.name == "postgresql"
    mail, hook = make("Mail", "email"), make("Hook")
    settings.choose_global([hook])
    settings.set_enabled("user_login", True)
    settings.choose_channels("user_login", [mail])
    settings.set_notify_user("user_login", NotifyUser.USER_ONLY)
    settings.set_enabled("user_login", False)
    kept = settings.one("user_login").event
    assert (kept.enabled, ids(kept), kept.notify_user) == (False, [mail], "user_only")
    assert ids(settings.reset_channels("user_login").event) == [hook]
