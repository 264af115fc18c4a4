"""Settings → Notifications in the browser: every control, with HTMX and without JavaScript."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from bs4 import BeautifulSoup, Tag
from flask import Flask
from sqlalchemy import event, select
from sqlalchemy import text as sql

from tests.browser import Browser
from tests.factories import make_channel
from webapp.core import clock, text
from webapp.models import db
from webapp.models.delivery import Attempt, Delivery, State
from webapp.services import notification_settings as settings
from webapp.services import trials
from webapp.services.transaction import reading, transaction

PAGE = "/settings/notifications"
LOGIN = f"{PAGE}/events/user_login"
FAILED = f"{PAGE}/events/restore_failure"


def one(soup: BeautifulSoup | Tag, selector: str) -> Tag:
    found = soup.select(selector)
    assert len(found) == 1, f"{len(found)} of {selector}"
    return found[0]


def words(tag: BeautifulSoup | Tag) -> str:
    return text.one_line(tag.get_text(" "))


def ticked(soup: BeautifulSoup, picker: str) -> list[str]:
    return [str(box["value"]) for box in soup.select(f"#{picker} input[type=checkbox][checked]")]


def sent_fields(soup: BeautifulSoup, picker: str) -> list[str]:
    """Return what a browser would send of a picker as it stands: no disabled boxes."""
    fields = soup.select(f"#{picker} input[name=channel]")
    return [
        str(field["value"])
        for field in fields
        if not field.has_attr("disabled")
        and (field["type"] == "hidden" or field.has_attr("checked"))
    ]


def answered(browser: Browser, name: str) -> dict[str, object] | str:
    triggers = json.loads(browser.last.headers["HX-Trigger"])
    result: dict[str, object] | str = triggers[name]
    return result


def finish(event_id: str, *, fail: int | None = None) -> None:
    """Record the outcome of a test as the dispatcher would."""
    with transaction() as session:
        waiting = select(Delivery).where(Delivery.event_id == event_id, Delivery.state == "queued")
        for row in session.scalars(waiting):
            bad = row.channel_id == fail
            row.state = State.FAILED if bad else State.SENT
            row.attempts = 1
            row.next_attempt_at = None
            session.add(
                Attempt(
                    delivery_id=row.id,
                    number=1,
                    started_at=clock.now(),
                    duration_ms=96,
                    outcome="permanent" if bad else "sent",
                    status="404" if bad else "200",
                    message="404 Unknown Webhook." if bad else "It answered 200.",
                    advice="Create a new one there." if bad else "",
                )
            )


def test_the_page_says_why_backup_events_are_not_here(admin: Browser) -> None:
    page = admin.get(PAGE)
    note = one(page, ".callout")
    assert "Backup results are announced per job, not here." in words(note)
    assert one(note, "a")["href"] == "/jobs"
    assert [words(name) for name in page.select(".event h3")] == [
        "User Login",
        "User Created",
        "Restore Completed",
        "Restore Failed",
        "Configuration Backup",
        "System Error",
    ]
    assert [words(count) for count in page.select("[id^=count-]")] == [
        "0 of 2 on",
        "2 of 2 on",
        "1 of 2 on",
    ]


def test_without_channels_the_page_says_what_is_missing_and_where_to_start(admin: Browser) -> None:
    page = admin.get(PAGE)
    card = one(page, "#global-channels .inset-warn")
    assert "No global channel. Events without their own channels tell nobody." in words(card)
    assert one(card, "a")["href"] == "/channels/new"
    assert len(page.select("[id^=nobody-]")) == 3


def test_a_toggle_answers_with_its_row_and_the_count_of_its_group(admin: Browser) -> None:
    answer = admin.htmx_post(f"{LOGIN}/toggle", {"enabled": "1"})
    assert [str(tag["id"]) for tag in answer.find_all(recursive=False)] == [
        "event-user_login",
        "count-authentication",
    ]
    switch = one(answer, "#event-user_login-name-switch")
    assert (switch["aria-checked"], switch["value"], words(switch)) == ("true", "0", "On")
    count = one(answer, "#count-authentication")
    assert (count["hx-swap-oob"], words(count)) == ("true", "1 of 2 on")
    kept = one(admin.get(PAGE), "#event-user_login-name-switch")
    assert kept["aria-checked"] == "true"


def test_a_toggle_works_without_javascript_and_comes_back_to_its_row(admin: Browser) -> None:
    admin.post(f"{LOGIN}/toggle", {"enabled": "1"})
    assert admin.last.headers["Location"] == f"{PAGE}#event-user_login"
    page = admin.follow()
    assert "User Login turned on" in words(one(page, ".main"))
    admin.post(f"{LOGIN}/toggle", {"enabled": "0"})
    assert one(admin.follow(), "#event-user_login")["class"] == ["event", "is-off"]


@pytest.mark.parametrize("enabled", ["", "2", "yes"])
def test_a_toggle_that_says_neither_on_nor_off_changes_nothing(
    admin: Browser, enabled: str
) -> None:
    admin.htmx_post(f"{FAILED}/toggle", {"enabled": enabled}, status=400)
    assert settings.one("restore_failure").event.enabled


@pytest.mark.parametrize("path", ["toggle", "channels", "channels/reset", "notify-user", "test"])
def test_an_event_that_is_not_on_the_page_is_not_found(admin: Browser, path: str) -> None:
    data = {"enabled": "1", "notify_user": "disabled"}
    admin.htmx_post(f"{PAGE}/events/backup_success/{path}", data, status=404)
    assert "There is no such" in str(answered(admin, "toast")) or path == "test"


def test_choosing_channels_shows_the_badge_and_reset_takes_it_away(admin: Browser) -> None:
    first, second = make_channel(name="Ops alerts"), make_channel(name="Night watch")
    settings.choose_global([first.id])
    row = admin.htmx_post(f"{FAILED}/channels", {"channel": [str(first.id), str(second.id)]})
    assert "Custom Channels" in words(row)
    assert words(one(row, "#channels-restore_failure")) == "2 channels for Restore Failed"
    assert one(row, "#channels-restore_failure").has_attr("autofocus")
    assert ticked(admin.get(PAGE), "picker-restore_failure") == [str(first.id), str(second.id)]

    row = admin.htmx_post(f"{FAILED}/channels/reset")
    assert "Custom Channels" not in words(row)
    assert one(row, "#channels-restore_failure").has_attr("autofocus")
    assert ticked(row, "picker-restore_failure") == [str(first.id)]
    assert answered(admin, "toast") == {
        "text": "Restore Failed now uses the global channels",
        "kind": "ok",
        "action": {
            "label": "Undo",
            "url": f"{FAILED}/channels",
            "target": "#event-restore_failure",
            "fields": {"channel": [first.id, second.id]},
        },
    }


def test_undo_brings_back_the_old_selection(admin: Browser) -> None:
    channels = [make_channel() for _ in range(3)]
    settings.choose_channels("restore_failure", [channels[2].id, channels[0].id])
    admin.htmx_post(f"{FAILED}/channels/reset")
    action = answered(admin, "toast")["action"]  # type: ignore[index]
    fields = {"channel": [str(value) for value in action["fields"]["channel"]]}  # type: ignore[index,call-overload]
    admin.htmx_post(action["url"], fields)  # type: ignore[index,call-overload]
    kept = settings.one("restore_failure").event
    assert kept.custom
    assert [channel.id for channel in kept.channels] == [channels[2].id, channels[0].id]


def test_choosing_and_resetting_work_without_javascript(admin: Browser) -> None:
    channel = make_channel()
    admin.post(f"{FAILED}/channels", {"channel": str(channel.id)})
    assert "Custom Channels" in words(one(admin.follow(), "#event-restore_failure"))
    admin.post(f"{FAILED}/channels/reset")
    page = admin.follow()
    assert "Restore Failed now uses the global channels" in words(one(page, ".main"))
    assert "Custom Channels" not in words(one(page, "#event-restore_failure"))


def test_the_same_ticks_as_the_global_ones_are_custom_all_the_same(admin: Browser) -> None:
    channel = make_channel()
    settings.choose_global([channel.id])
    page = admin.get(PAGE)
    assert "Same as the global channels." in words(one(page, "#picker-system_error"))
    same = sent_fields(page, "picker-system_error")
    row = admin.htmx_post(f"{PAGE}/events/system_error/channels", {"channel": same})
    assert "Custom Channels" in words(row)


def test_choosing_nobody_warns_and_offers_a_way_out(admin: Browser) -> None:
    settings.choose_global([make_channel().id])
    row = admin.htmx_post(f"{FAILED}/channels", {})
    warning = one(row, "#nobody-restore_failure")
    assert "Nobody is told about this event. It is on, but no channel is selected." in words(
        warning
    )
    assert one(warning, "button")["popovertarget"] == "picker-restore_failure"
    assert one(row, "#run-test-restore_failure").has_attr("disabled")
    assert "No channels" in words(one(row, "#channels-restore_failure"))


def test_a_selection_of_channels_that_are_all_off_warns_too(admin: Browser) -> None:
    off = make_channel(enabled=False)
    settings.choose_channels("restore_failure", [off.id])
    warning = one(admin.get(PAGE), "#nobody-restore_failure")
    assert "every selected channel is off" in words(warning)


def test_a_ticked_channel_that_is_off_is_not_lost_by_saving(admin: Browser) -> None:
    on, off = make_channel(name="On"), make_channel(name="Night shift", enabled=False)
    other = make_channel(name="Off and not chosen", enabled=False)
    settings.choose_channels("restore_failure", [off.id, on.id])
    page = admin.get(PAGE)
    picker = one(page, "#picker-restore_failure")
    box = one(picker, f"input[type=checkbox][value='{off.id}']")
    assert box.has_attr("disabled")
    assert box.has_attr("checked")
    assert "Off" in words(picker)
    sent = sent_fields(page, "picker-restore_failure")
    assert sent == [str(on.id), str(off.id)]
    admin.htmx_post(f"{FAILED}/channels", {"channel": sent})
    assert settings.one("restore_failure").event.ids == {on.id, off.id}
    assert other.id not in settings.one("restore_failure").event.ids


def test_a_channel_in_trouble_says_so_in_the_picker(admin: Browser) -> None:
    make_channel(name="Server room", failing_since=clock.now())
    make_channel(name="Old hook", failing_since=clock.now(), broken_at=clock.now())
    rows = [words(row) for row in one(admin.get(PAGE), "#picker-global").select("li")]
    assert [row.split()[-1] for row in rows] == ["Failing", "Broken"]


def test_more_than_ten_channels_get_a_filter_field(admin: Browser) -> None:
    for _ in range(10):
        make_channel()
    assert admin.get(PAGE).select(".pop-filter") == []
    make_channel()
    field = one(admin.get(PAGE), "#picker-global .pop-filter")
    assert field["data-filter"] == "picker-global"
    assert field.find_parent("form") is None, "Enter in the filter must not save"


def test_saving_the_global_channels_refreshes_the_rows_that_follow_them(admin: Browser) -> None:
    first, second = make_channel(name="Ops alerts"), make_channel(name="Night watch")
    settings.choose_channels("restore_failure", [first.id])
    answer = admin.htmx_post(
        f"{PAGE}/global/channels", {"channel": [str(first.id), str(second.id)]}
    )
    assert [str(tag["id"]) for tag in answer.find_all(recursive=False)] == [
        "global-channels",
        "event-user_login",
        "event-user_created",
        "event-restore_complete",
        "event-config_backup",
        "event-system_error",
    ]
    assert {str(row["hx-swap-oob"]) for row in answer.select(".event")} == {"true"}
    assert words(one(answer, "#channels-system_error")).startswith("2 channels")
    assert [words(token) for token in answer.select(".token .strong")] == [
        "Ops alerts",
        "Night watch",
    ]
    assert answered(admin, "toast") == {
        "text": "Global channels saved for 5 events",
        "kind": "ok",
    }


def test_saving_the_global_channels_works_without_javascript(admin: Browser) -> None:
    channel = make_channel(name="Ops alerts")
    admin.post(f"{PAGE}/global/channels", {"channel": str(channel.id)})
    page = admin.follow()
    assert "Global channels saved for 6 events" in words(one(page, ".main"))
    assert ticked(page, "picker-global") == [str(channel.id)]


# notify user directly ------------------------------------------------------------------------


def test_notify_user_appears_exactly_with_the_event_on_and_an_email_channel(
    admin: Browser,
) -> None:
    mail = make_channel(name="Ops mailing list", type="email")
    hook = make_channel()
    settings.choose_global([mail.id, hook.id])
    settings.set_enabled("system_error", True)
    assert admin.get(PAGE).select("select[name=notify_user]") == []
    row = admin.htmx_post(f"{LOGIN}/toggle", {"enabled": "1"})
    select = one(row, "#notify-user_login")
    assert [(str(option["value"]), words(option)) for option in select.select("option")] == [
        ("disabled", "Disabled"),
        ("admin_and_user", "Admin & User"),
        ("user_only", "User only"),
    ]
    row = admin.htmx_post(f"{LOGIN}/channels", {"channel": str(hook.id)})
    assert row.select("#notify-user_login") == []


def test_notify_user_saves_and_says_through_which_channel(admin: Browser) -> None:
    mail = make_channel(name="Ops mailing list", type="email")
    settings.choose_global([mail.id])
    settings.set_enabled("user_login", True)
    row = admin.htmx_post(f"{LOGIN}/notify-user", {"notify_user": "admin_and_user"})
    assert words(one(row, "#notify-user_login-help")) == (
        "Emails the person who signed in, through Ops mailing list."
    )
    assert answered(admin, "announce") == ("Notify user directly for User Login: Admin & User")
    chosen = one(admin.get(PAGE), "#notify-user_login option[selected]")
    assert words(chosen) == "Admin & User"
    row = admin.htmx_post(f"{LOGIN}/notify-user", {"notify_user": "user_only"})
    assert "The channels are not told." in words(one(row, "#notify-user_login-help"))


def test_notify_user_saves_without_javascript(admin: Browser) -> None:
    settings.choose_global([make_channel(type="email").id])
    settings.set_enabled("user_created", True)
    page = admin.get(PAGE)
    assert "Save" in str(one(page, "#direct-user_created noscript"))
    admin.post(f"{PAGE}/events/user_created/notify-user", {"notify_user": "user_only"})
    assert words(one(admin.follow(), "#notify-user_created option[selected]")) == "User only"


def test_losing_the_last_email_channel_keeps_the_mode_and_names_the_cure(admin: Browser) -> None:
    mail, hook = make_channel(type="email"), make_channel()
    settings.choose_global([mail.id])
    settings.set_enabled("user_login", True)
    settings.set_notify_user("user_login", "user_only")
    row = admin.htmx_post(f"{LOGIN}/channels", {"channel": str(hook.id)})
    assert row.select("select[name=notify_user]") == []
    warning = words(one(row, "#direct-user_login"))
    assert "set to User only, but no Email channel is selected" in warning
    assert "Select one" in warning
    row = admin.htmx_post(f"{LOGIN}/channels", {"channel": str(mail.id)})
    assert words(one(row, "#notify-user_login option[selected]")) == "User only"


def test_email_channels_that_do_not_work_are_no_promise(admin: Browser) -> None:
    settings.choose_global([make_channel(type="email", enabled=False).id, make_channel().id])
    settings.set_enabled("user_login", True)
    settings.set_notify_user("user_login", "admin_and_user")
    help_text = words(one(admin.get(PAGE), "#notify-user_login-help"))
    assert "No selected Email channel works right now" in help_text


def test_a_mode_that_does_not_exist_is_refused(admin: Browser) -> None:
    admin.htmx_post(f"{LOGIN}/notify-user", {"notify_user": "all"}, status=422)
    assert settings.one("user_login").event.notify_user == "disabled"


# tests ------------------------------------------------------------------------------------------


def _started(browser: Browser, answer: BeautifulSoup, key: str) -> str:
    return str(one(answer, f"#test-{key}")["hx-get"]).rsplit("/", 1)[1]


def test_a_test_polls_until_each_channel_has_answered_and_then_says_so(admin: Browser) -> None:
    good, bad = make_channel(name="On-call phone"), make_channel(name="Ops alerts")
    settings.choose_channels("restore_failure", [good.id, bad.id])
    answer = admin.htmx_post(f"{FAILED}/test")
    strip = one(answer, "#test-restore_failure")
    assert strip["hx-trigger"] == "every 1s"
    assert strip["aria-busy"] == "true"
    button = one(answer, "#run-test-restore_failure")
    assert (words(button), button["type"], button["aria-disabled"]) == (
        "Testing Restore Failed",
        "button",
        "true",
    )
    event_id = _started(admin, answer, "restore_failure")

    answer = admin.htmx_get(f"{PAGE}/tests/{event_id}")
    assert answer.select("#run-test-restore_failure") == []
    finish(event_id, fail=bad.id)
    answer = admin.htmx_get(f"{PAGE}/tests/{event_id}")
    strip = one(answer, "#test-restore_failure")
    assert not strip.has_attr("hx-trigger")
    assert "Test finished: 1 sent, 1 failed" in words(strip)
    assert [words(name) for name in strip.select("li .truncate .strong")] == [
        "Ops alerts",
        "On-call phone",
    ]
    assert "404 Unknown Webhook. Create a new one there." in words(strip)
    assert "It answered 200." in words(strip)
    button = one(answer, "#run-test-restore_failure")
    assert (words(button), button["type"]) == ("Test Restore Failed", "submit")
    assert answered(admin, "announce") == "Test of Restore Failed finished: 1 sent, 1 failed"

    closed = admin.htmx_get(f"{FAILED}/test/clear")
    assert one(closed, "#test-restore_failure").has_attr("hidden")


def test_a_test_without_javascript_shows_its_results_in_the_page(admin: Browser) -> None:
    channel = make_channel(name="On-call phone")
    settings.choose_channels("restore_failure", [channel.id])
    admin.post(f"{FAILED}/test")
    address = admin.last.headers["Location"]
    assert address.startswith(f"{PAGE}?test=")
    assert address.endswith("#event-restore_failure")
    strip = one(admin.follow(), "#event-restore_failure #test-restore_failure")
    refresh = one(strip, "noscript a")
    assert words(refresh) == "Refresh"
    event_id = address.partition("=")[2].partition("#")[0]
    finish(event_id)
    admin.get(str(refresh["href"]), 303)
    strip = one(admin.follow(), "#event-restore_failure #test-restore_failure")
    assert "Test sent in 96 ms" in words(strip)
    admin.get(f"{FAILED}/test/clear", 303)
    assert admin.last.headers["Location"] == f"{PAGE}#event-restore_failure"


def test_a_test_with_nothing_selected_is_an_error_that_says_so(admin: Browser) -> None:
    answer = admin.htmx_post(f"{FAILED}/test", status=422)
    strip = one(answer, "#test-restore_failure")
    assert "Nothing was sent. No channel is selected" in words(strip)
    admin.post(f"{FAILED}/test")
    assert "No channel is selected" in words(one(admin.follow(), ".callout-bad"))


def test_a_test_is_allowed_while_the_event_is_off(admin: Browser) -> None:
    settings.choose_global([make_channel().id])
    settings.set_enabled("restore_failure", False)
    assert not one(admin.get(PAGE), "#run-test-restore_failure").has_attr("disabled")
    answer = admin.htmx_post(f"{FAILED}/test")
    results = trials.results(_started(admin, answer, "restore_failure"))
    assert [row.state for row in results.rows] == ["queued"]


def test_in_mode_user_only_the_strip_says_that_the_channels_are_skipped(admin: Browser) -> None:
    settings.choose_global([make_channel(type="email").id])
    settings.set_enabled("user_login", True)
    settings.set_notify_user("user_login", "user_only")
    strip = one(admin.htmx_post(f"{LOGIN}/test"), "#test-user_login")
    assert "Admin channels are skipped" in words(strip)
    assert "direct mail to mara@example.org" in words(strip)


def test_a_row_that_is_redrawn_keeps_the_strip_that_is_shown(admin: Browser) -> None:
    row = admin.htmx_post(f"{FAILED}/toggle", {"enabled": "0"})
    assert one(row, "#test-restore_failure").has_attr("hx-preserve")


def test_an_old_or_invented_test_in_the_address_still_shows_the_page(admin: Browser) -> None:
    assert admin.get(f"{PAGE}?test=nowhere").select(".strip") == []
    admin.htmx_get(f"{PAGE}/tests/nowhere", 404)


def test_the_results_of_a_channels_own_test_are_not_shown_here(admin: Browser) -> None:
    with reading() as session:
        user_id = session.execute(sql("SELECT id FROM user")).scalar_one()
    event_id = trials.test_channel(make_channel().id, user_id)
    admin.htmx_get(f"{PAGE}/tests/{event_id}", 404)
    assert admin.get(f"{PAGE}?test={event_id}").select(".strip") == []


# roles ------------------------------------------------------------------------------------------

CHANGES = [
    (f"{FAILED}/toggle", {"enabled": "0"}),
    (f"{FAILED}/channels", {}),
    (f"{FAILED}/channels/reset", {}),
    (f"{LOGIN}/notify-user", {"notify_user": "user_only"}),
    (f"{PAGE}/global/channels", {}),
]


@pytest.mark.parametrize(("path", "data"), CHANGES)
def test_only_admins_change_anything(
    operator: Browser, viewer: Browser, path: str, data: dict[str, str]
) -> None:
    before = settings.overview()
    for browser in (operator, viewer):
        browser.htmx_post(path, data, status=403)
    assert settings.overview() == before


def test_operators_read_and_test_viewers_read(operator: Browser, viewer: Browser) -> None:
    settings.choose_global([make_channel().id])
    for browser, may_test in ((operator, True), (viewer, False)):
        page = browser.get(PAGE)
        shown = [*page.select("[role=switch]"), *page.select("input[name=channel]")]
        assert {each.name for each in shown} == {"button", "input"}
        assert all(each.has_attr("disabled") for each in shown)
        assert page.select(".pop-foot") == []
        test = one(page, "#run-test-restore_failure")
        assert test.has_attr("disabled") is not may_test
        browser.htmx_post(f"{FAILED}/test", status=200 if may_test else 403)


# speed ------------------------------------------------------------------------------------------


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


def test_the_page_asks_the_database_as_often_for_one_channel_as_for_thirty(
    admin: Browser,
) -> None:
    settings.choose_global([make_channel().id])
    with statements() as few:
        admin.get(PAGE)
    for _ in range(30):
        make_channel(type="email")
    settings.choose_global([channel.id for channel in settings.overview().channels])
    with statements() as many:
        admin.get(PAGE)
    assert len(few) == len(many)


def test_the_page_with_nine_channels_stays_below_60_kb(admin: Browser, app: Flask) -> None:
    types = ("discord", "slack", "teams", "gotify", "ntfy", "webhook", "telegram", "sms", "email")
    made = [make_channel(type=type, name=f"Channel for {type}").id for type in types]
    settings.choose_global(made[:3])
    settings.choose_channels("restore_failure", made)
    settings.set_enabled("user_login", True)
    admin.get(PAGE)
    assert len(admin.last.data) <= 60_000


def test_a_page_where_the_channels_have_hostile_names_shows_them_as_text(admin: Browser) -> None:
    name = '<script>alert(1)</script>"&'
    channel = make_channel(name=name)
    settings.choose_global([channel.id])
    page = admin.get(PAGE)
    assert words(one(page, ".token .strong")) == name


def test_viewers_do_not_read_whom_mail_goes_to(operator: Browser, viewer: Browser) -> None:
    mail = make_channel(name="Post", type="email", config={}, summary="ops@example.org by mail")
    settings.choose_global([mail.id])
    assert "Post (ops@example.org)" in words(operator.get(PAGE))
    assert "ops@example.org" not in viewer.get(PAGE).get_text()
