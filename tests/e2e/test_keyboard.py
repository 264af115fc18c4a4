"""The pages with a keyboard alone: order of Tab, switches, pickers, focus after a swap, toasts."""

import pytest
from flask import Flask
from playwright.sync_api import Page, expect

from tests.e2e.conftest import OpenPage
from tests.factories import make_channel
from tests.servers.http import Peer
from webapp.models.channel import ChannelRow
from webapp.services import notification_settings

PATH = "/settings/notifications"


@pytest.fixture(autouse=True)
def chat(app: Flask, peer: Peer) -> ChannelRow:
    row = make_channel(name="Chat", config={"url": f"{peer.url}/hook", "method": "POST"})
    mail = {"host": "127.0.0.1", "port": 9, "security": "none", "sender": "a@example.org"}
    other = make_channel(name="Mail", type="email", config=mail | {"recipients": ["b@example.org"]})
    notification_settings.choose_global([row.id, other.id])
    return row


def focused(page: Page) -> str:
    """Return what has the focus: its id, or its name."""
    return str(
        page.evaluate(
            "() => { const it = document.activeElement;"
            " return it.id || (it.getAttribute('aria-label') || it.textContent).trim(); }"
        )
    )


def tab_through(page: Page, until: str) -> list[str]:
    """Press Tab until that element has the focus; return all that had it."""
    seen = []
    for _ in range(80):
        page.keyboard.press("Tab")
        seen.append(focused(page))
        if seen[-1] == until:
            return seen
    raise AssertionError(f"Tab does not come to {until}: {seen}")


def test_the_first_tab_offers_to_skip_the_menu(signed_in: OpenPage) -> None:
    page = signed_in(PATH)
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert focused(page) == "View deliveries"


def test_tab_goes_through_settings_in_the_order_of_the_page(signed_in: OpenPage) -> None:
    page = signed_in(PATH)
    page.locator("#content").focus()
    seen = tab_through(page, "event-restore_complete-name-switch")
    assert seen == [
        "View deliveries", "New channel", *page.locator(".tabs a").all_inner_texts(),
        "Open job notifications", "channels-global",
        "channels-user_login", "run-test-user_login", "event-user_login-name-switch",
        "channels-user_created", "run-test-user_created", "event-user_created-name-switch",
        "channels-restore_complete", "run-test-restore_complete",
        "event-restore_complete-name-switch",
    ]  # fmt: skip


@pytest.mark.parametrize("key", ["Space", "Enter"])
def test_a_switch_turns_and_keeps_the_focus(signed_in: OpenPage, key: str) -> None:
    page = signed_in(PATH)
    switch = page.get_by_role("switch", name="User Login")
    switch.focus()
    page.keyboard.press(key)
    expect(switch).to_have_attribute("aria-checked", "true")
    expect(switch).to_be_focused()
    page.keyboard.press(key)
    expect(switch).to_have_attribute("aria-checked", "false")
    expect(switch).to_be_focused()


def test_a_picker_is_used_and_left_with_the_keyboard(signed_in: OpenPage) -> None:
    page = signed_in(PATH)
    button = page.locator("#channels-restore_failure")
    picker = page.locator("#picker-restore_failure")
    button.focus()
    page.keyboard.press("Enter")
    expect(picker).to_be_visible()
    page.keyboard.press("Tab")
    expect(picker.get_by_role("checkbox", name="Chat")).to_be_focused()
    page.keyboard.press("Escape")
    expect(picker).to_be_hidden()
    expect(button).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(picker.get_by_role("button", name="Save channels")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#event-restore_failure")).to_contain_text("Custom Channels")
    expect(button).to_be_focused()
    expect(button).to_contain_text("1 channel")


def test_changing_who_is_told_keeps_the_focus_on_the_choice(signed_in: OpenPage) -> None:
    page = signed_in(PATH)
    page.get_by_role("switch", name="User Login").click()
    select = page.get_by_label("Notify user directly")
    select.focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator("#event-user_login")).to_contain_text("Emails the person who signed in")
    expect(select).to_be_focused()
    expect(page.locator("#announce")).to_contain_text("Admin & User")


def test_a_test_keeps_the_focus_on_its_button(signed_in: OpenPage, chat: ChannelRow) -> None:
    notification_settings.choose_global([chat.id])
    page = signed_in(PATH)
    button = page.locator("#run-test-system_error")
    button.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#test-system_error")).to_contain_text("Test sent in", timeout=15_000)
    expect(button).to_be_focused()


def test_the_summary_of_a_refused_form_has_the_focus(signed_in: OpenPage) -> None:
    page = signed_in("/jobs/new")
    page.get_by_label("Name", exact=True).press("Enter")
    summary = page.locator("#form-errors")
    expect(summary).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.getAttribute('aria-invalid')") == "true"


def test_a_toast_is_said_waits_for_the_hand_and_undoes(signed_in: OpenPage) -> None:
    page = signed_in(PATH)
    row = page.locator("#event-restore_failure")
    notification_settings.choose_channels("restore_failure", [])
    page.reload()
    page.clock.install()
    row.get_by_role("button", name="Reset to Global Channels").click()
    toasts = page.locator("#toasts")
    assert toasts.get_attribute("role") == "status"
    note = toasts.locator(".toast-note")
    expect(note).to_contain_text("Restore Failed now uses the global channels")
    note.hover()
    page.clock.run_for(12_000)
    expect(note).to_be_visible()
    note.get_by_role("button", name="Undo").click()
    expect(row).to_contain_text("Nobody is told about this event.")
    expect(note).to_have_text("Restore Failed now has its own selection: no channels")
    row.get_by_role("button", name="Reset to Global Channels").click()
    expect(note).to_have_count(2)
    page.mouse.move(5, 5)
    page.clock.run_for(12_000)
    expect(note).to_have_count(0)


def test_a_server_that_does_not_answer_is_said_and_the_choice_goes_back(
    signed_in: OpenPage,
) -> None:
    page = signed_in(PATH, expect_errors=("ERR_CONNECTION_REFUSED", "htmx:"))
    notification_settings.set_enabled("user_login", True)
    page.reload()
    select = page.get_by_label("Notify user directly")
    page.route("**/notify-user", lambda route: route.abort("connectionrefused"))
    select.select_option(label="User only")
    expect(page.locator("#toasts")).to_contain_text("Not saved. The server did not answer.")
    expect(select).to_have_value("disabled")
