"""What people without the admin's rights see of Settings → Notifications."""

import pytest
from flask import Flask
from playwright.sync_api import expect

from tests.e2e.conftest import OpenPage, see_the_end, sign_in
from tests.factories import make_channel, make_user
from tests.servers.http import Peer
from webapp.models.user import Role
from webapp.services import notification_settings

PATH = "/settings/notifications"


@pytest.fixture(autouse=True)
def _people(app: Flask, peer: Peer) -> None:
    for role in Role:
        make_user(role=role, email=f"{role}@example.org")
    row = make_channel(name="Chat", config={"url": f"{peer.url}/hook", "method": "POST"})
    notification_settings.choose_global([row.id])
    notification_settings.choose_channels("restore_failure", [row.id])


@pytest.mark.parametrize("javascript", [True, False], ids=["htmx", "plain"])
@pytest.mark.parametrize("role", [Role.OPERATOR, Role.VIEWER])
def test_the_settings_can_be_read_and_not_changed(
    open_page: OpenPage, peer: Peer, role: Role, javascript: bool
) -> None:
    page = open_page("/login", javascript=javascript)
    sign_in(page, f"{role}@example.org")
    page.goto(PATH)
    for switch in page.get_by_role("switch").all():
        expect(switch).to_be_disabled()
    expect(page.get_by_role("button", name="Choose channels")).to_have_count(0)
    expect(page.get_by_role("button", name="Reset to Global Channels")).to_have_count(0)
    expect(page.locator("#event-restore_failure")).to_contain_text("Custom Channels")
    page.locator("#channels-restore_failure").click()
    picker = page.locator("#picker-restore_failure")
    expect(picker.get_by_role("checkbox", name="Chat")).to_be_disabled()
    expect(picker.get_by_role("button", name="Save channels")).to_have_count(0)
    page.keyboard.press("Escape")
    test = page.get_by_role("button", name="Test Restore Failed")
    if role is Role.VIEWER:
        expect(test).to_be_disabled()
        return
    test.click()
    assert peer.last.json()["test"] is True
    see_the_end(page, "#test-restore_failure", "Test sent in")
    expect(page.get_by_role("link", name="Edit channel")).to_have_count(0)


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.VIEWER])
def test_pages_of_the_admin_say_that_they_are(open_page: OpenPage, role: Role) -> None:
    page = open_page("/login")
    sign_in(page, f"{role}@example.org")
    page.goto("/users")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.locator("main")).to_contain_text("admin")
    expect(page.get_by_role("link", name="Users")).to_have_count(0)
