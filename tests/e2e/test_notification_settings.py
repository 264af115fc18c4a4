"""Settings → Notifications as an admin uses it, with and without JavaScript."""

from collections.abc import Callable

import pytest
from flask import Flask
from playwright.sync_api import Locator, Page, expect

from tests.e2e.conftest import see_the_end
from tests.factories import make_channel
from tests.servers.http import Peer
from tests.servers.smtp import MailServer
from webapp.models.channel import ChannelRow
from webapp.models.routing import GlobalChannel
from webapp.services.transaction import transaction

PATH = "/settings/notifications"
OpenPage = Callable[..., Page]


@pytest.fixture
def chat(app: Flask, peer: Peer) -> ChannelRow:
    return make_channel(name="Chat", config={"url": f"{peer.url}/hook", "method": "POST"})


@pytest.fixture
def mail(app: Flask, mail_server: MailServer) -> ChannelRow:
    return make_channel(
        name="Ops mailing list",
        type="email",
        config={
            "host": mail_server.name,
            "port": mail_server.port,
            "security": "none",
            "sender": "dbackup@example.org",
            "recipients": ["ops@example.org"],
        },
    )


@pytest.fixture(autouse=True)
def _global(chat: ChannelRow, mail: ChannelRow) -> None:
    with transaction() as session:
        for position, channel in enumerate((chat, mail)):
            session.add(GlobalChannel(channel_id=channel.id, position=position))


def row(page: Page, key: str = "restore_failure") -> Locator:
    return page.locator(f"#event-{key}")


def switch(page: Page, key: str) -> Locator:
    return row(page, key).get_by_role("switch")


def choose_only(page: Page, key: str, *names: str) -> None:
    """Open the picker of an event, tick exactly these channels, save."""
    page.locator(f"#channels-{key}").click()
    picker = page.locator(f"#picker-{key}")
    for box in picker.get_by_role("checkbox").all():
        box.uncheck()
    for name in names:
        picker.get_by_role("checkbox", name=name).check()
    picker.get_by_role("button", name="Save channels").click()


def test_htmx_comes_from_the_cdn_and_passes_its_hash(signed_in: OpenPage) -> None:
    assert signed_in(PATH).evaluate("typeof htmx") == "object"


def test_a_changed_byte_leaves_htmx_undefined(open_page: OpenPage, htmx_file: bytes) -> None:
    changed = htmx_file.replace(b"htmx", b"htmX", 1)
    page = open_page("/login", cdn_file=changed, expect_errors=("integrity",))
    assert page.evaluate("typeof htmx") == "undefined"


@pytest.mark.parametrize("javascript", [True, False], ids=["htmx", "plain"])
def test_a_toggle_is_stored(signed_in: OpenPage, javascript: bool) -> None:
    page = signed_in(PATH, javascript=javascript)
    expect(switch(page, "user_created")).to_have_attribute("aria-checked", "false")
    switch(page, "user_created").click()
    expect(switch(page, "user_created")).to_have_attribute("aria-checked", "true")
    page.reload()
    expect(switch(page, "user_created")).to_have_attribute("aria-checked", "true")
    expect(switch(page, "user_login")).to_have_attribute("aria-checked", "false")


def test_a_toggle_keeps_the_focus_and_updates_the_group(signed_in: OpenPage) -> None:
    page = signed_in(PATH)
    switch(page, "user_created").focus()
    page.keyboard.press("Space")
    expect(switch(page, "user_created")).to_have_attribute("aria-checked", "true")
    expect(switch(page, "user_created")).to_be_focused()
    expect(page.locator("section", has=row(page, "user_created"))).to_contain_text("1 of 2 on")


@pytest.mark.parametrize("javascript", [True, False], ids=["htmx", "plain"])
def test_own_channels_show_the_badge_and_a_reset_takes_it_away(
    signed_in: OpenPage, javascript: bool
) -> None:
    page = signed_in(PATH, javascript=javascript)
    badge = row(page).get_by_text("Custom Channels", exact=True)
    expect(badge).to_have_count(0)
    choose_only(page, "restore_failure", "Chat")
    expect(badge).to_be_visible()
    expect(page.locator("#channels-restore_failure")).to_contain_text("1 channel")
    page.reload()
    expect(badge).to_be_visible()
    row(page).get_by_role("button", name="Reset to Global Channels").click()
    expect(badge).to_have_count(0)
    expect(page.locator("#channels-restore_failure")).to_contain_text("2 channels")
    page.reload()
    expect(badge).to_have_count(0)


def test_reset_moves_the_focus_to_the_channels_and_can_be_undone(signed_in: OpenPage) -> None:
    page = signed_in(PATH)
    choose_only(page, "restore_failure", "Chat")
    expect(page.locator("#channels-restore_failure")).to_be_focused()
    row(page).get_by_role("button", name="Reset to Global Channels").click()
    expect(page.locator("#channels-restore_failure")).to_be_focused()
    page.locator("#toasts").get_by_role("button", name="Undo").click()
    expect(row(page).get_by_text("Custom Channels", exact=True)).to_be_visible()
    expect(page.locator("#channels-restore_failure")).to_contain_text("1 channel")


def test_a_selection_equal_to_the_global_one_is_custom_all_the_same(signed_in: OpenPage) -> None:
    page = signed_in(PATH)
    choose_only(page, "restore_failure", "Chat", "Ops mailing list")
    expect(row(page).get_by_text("Custom Channels", exact=True)).to_be_visible()


def test_an_empty_selection_warns_that_nobody_is_told(signed_in: OpenPage) -> None:
    page = signed_in(PATH)
    choose_only(page, "restore_failure")
    expect(row(page)).to_contain_text("Nobody is told about this event.")
    expect(row(page).get_by_role("button", name="Test Restore Failed")).to_be_disabled()
    page.reload()
    expect(row(page)).to_contain_text("Nobody is told about this event.")


def test_escape_closes_a_picker_without_saving(signed_in: OpenPage) -> None:
    page = signed_in(PATH)
    page.locator("#channels-restore_failure").click()
    picker = page.locator("#picker-restore_failure")
    picker.get_by_role("checkbox", name="Chat").uncheck()
    page.keyboard.press("Escape")
    expect(picker).to_be_hidden()
    expect(page.locator("#channels-restore_failure")).to_be_focused()
    page.reload()
    expect(page.locator("#channels-restore_failure")).to_contain_text("2 channels")


def test_changing_the_global_channels_changes_the_rows_that_follow_them(
    signed_in: OpenPage,
) -> None:
    page = signed_in(PATH)
    choose_only(page, "system_error", "Chat")
    page.get_by_role("button", name="Choose channels").first.click()
    picker = page.locator("#picker-global")
    picker.get_by_role("checkbox", name="Chat").uncheck()
    picker.get_by_role("button", name="Save channels").click()
    expect(page.locator("#channels-restore_failure")).to_contain_text("1 channel")
    expect(page.locator("#global-channels .tokens")).to_have_text("Ops mailing list Email (SMTP)")
    page.reload()
    expect(page.locator("#channels-restore_failure")).to_contain_text("1 channel")
    expect(row(page, "system_error").get_by_text("Custom Channels", exact=True)).to_be_visible()


@pytest.mark.parametrize("javascript", [True, False], ids=["htmx", "plain"])
def test_notify_user_appears_with_the_event_and_saves(
    signed_in: OpenPage, javascript: bool
) -> None:
    page = signed_in(PATH, javascript=javascript)
    select = page.get_by_label("Notify user directly")
    expect(select).to_have_count(0)
    switch(page, "user_login").click()
    expect(select).to_be_visible()
    expect(select.locator("option")).to_have_text(["Disabled", "Admin & User", "User only"])
    select.select_option(label="Admin & User")
    if not javascript:
        row(page, "user_login").get_by_role("button", name="Save", exact=True).click()
    expect(row(page, "user_login")).to_contain_text("through Ops mailing list")
    page.reload()
    expect(select).to_have_value("admin_and_user")


def test_losing_the_last_email_channel_hides_the_choice_keeps_it_and_names_the_cure(
    signed_in: OpenPage,
) -> None:
    page = signed_in(PATH)
    switch(page, "user_login").click()
    page.get_by_label("Notify user directly").select_option(label="User only")
    expect(row(page, "user_login")).to_contain_text("The channels are not told.")
    choose_only(page, "user_login", "Chat")
    expect(page.get_by_label("Notify user directly")).to_have_count(0)
    expect(row(page, "user_login")).to_contain_text("no Email channel is selected")
    row(page, "user_login").get_by_role("button", name="Reset to Global Channels").click()
    expect(page.get_by_label("Notify user directly")).to_have_value("user_only")


def test_a_test_shows_what_each_channel_answered(
    signed_in: OpenPage, peer: Peer, mail_server: MailServer
) -> None:
    page = signed_in(PATH)
    peer.answer(404, b'{"message": "Unknown hook"}')
    row(page).get_by_role("button", name="Test Restore Failed").click()
    strip = page.locator("#test-restore_failure")
    expect(strip).to_contain_text("Test finished: 1 sent, 1 failed", timeout=15_000)
    expect(strip).to_contain_text("404")
    expect(strip).to_contain_text("Unknown hook")
    expect(strip.get_by_role("link", name="Edit channel Chat")).to_be_visible()
    expect(page.locator("#announce")).to_have_text(
        "Test of Restore Failed finished: 1 sent, 1 failed"
    )
    [mail] = mail_server.wait(1)
    assert "[Test]" in str(mail.message["Subject"])
    strip.get_by_role("link", name="Close test result").click()
    expect(strip).to_be_hidden()


def test_a_test_works_without_javascript(signed_in: OpenPage, peer: Peer) -> None:
    page = signed_in(PATH, javascript=False)
    row(page).get_by_role("button", name="Test Restore Failed").click()
    peer.wait(1)
    see_the_end(page, "#test-restore_failure", "Test finished: 2 sent")


def test_each_of_the_six_events_can_be_tested_while_it_is_off(
    signed_in: OpenPage, peer: Peer, mail_server: MailServer
) -> None:
    page = signed_in(PATH)
    keys = [
        "user_login",
        "user_created",
        "restore_complete",
        "restore_failure",
        "config_backup",
        "system_error",
    ]
    for key in keys:
        page.locator(f"#run-test-{key}").click()
        expect(page.locator(f"#test-{key}")).to_contain_text(
            "Test finished: 2 sent", timeout=15_000
        )
    assert [request.json()["eventType"] for request in peer.requests] == keys
    assert all(request.json()["test"] for request in peer.requests)
    assert len(mail_server.wait(6)) == 6


def test_two_admins_changing_different_events_both_keep_their_change(
    signed_in: OpenPage, open_page: OpenPage
) -> None:
    first = signed_in(PATH)
    second = first.context.new_page()
    second.goto(PATH)
    switch(first, "restore_failure").click()
    expect(switch(first, "restore_failure")).to_have_attribute("aria-checked", "false")
    switch(second, "config_backup").click()
    expect(switch(second, "config_backup")).to_have_attribute("aria-checked", "true")
    choose_only(second, "restore_failure", "Chat")
    expect(row(second)).to_contain_text("Custom Channels")
    first.reload()
    expect(switch(first, "restore_failure")).to_have_attribute("aria-checked", "false")
    expect(switch(first, "config_backup")).to_have_attribute("aria-checked", "true")
    expect(row(first).get_by_text("Custom Channels", exact=True)).to_be_visible()


def test_the_page_says_where_backup_results_are(signed_in: OpenPage) -> None:
    page = signed_in(PATH)
    expect(page.get_by_text("Backup results are announced per job, not here.")).to_be_visible()
    assert page.get_by_role("switch").count() == 6
