"""The first hour: from /setup to messages that arrive, as the person at the browser lives it.

Once with HTMX, once without JavaScript, and once while the CDN is out of reach.
"""

import re
import sqlite3
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Page, expect

from tests.browser import PASSWORD
from tests.e2e.conftest import OpenPage, sign_in
from tests.servers.http import Peer
from tests.servers.smtp import MailServer

WAYS: Final[dict[str, dict[str, Any]]] = {
    "htmx": {},
    "plain": {"javascript": False},
    "no-cdn": {"cdn_file": None, "expect_errors": ("ERR_FAILED",)},
}
NOTIFICATIONS: Final = "/settings/notifications"


def has_htmx(page: Page) -> bool:
    return bool(page.evaluate("typeof htmx != 'undefined'"))


def set_up(page: Page) -> None:
    page.get_by_label("Your name").fill("Mara Lindqvist")
    page.get_by_label("Email").fill("mara@example.org")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Repeat password").fill(PASSWORD)
    if has_htmx(page):
        expect(page.locator("#pw-rules .say-mute")).to_have_count(0)
    page.locator("main").get_by_role("button", name="Create").click()
    expect(page.get_by_role("heading", level=1, name="Dashboard")).to_be_visible()


def steps_done(page: Page) -> int:
    page.goto("/")
    return page.locator("#checklist .dot-ok").count()


def add_webhook(page: Page, peer: Peer) -> None:
    page.goto("/channels/new?type=webhook")
    page.get_by_label("Name", exact=True).fill("Chat")
    page.get_by_label("URL", exact=True).fill(f"{peer.url}/hook")
    page.get_by_role("button", name="Send test").click()
    expect(page.locator("#draft-test")).to_contain_text("Test sent in")
    page.get_by_role("button", name="Save channel").click()
    expect(page.get_by_role("row", name="Chat")).to_be_visible()


def add_email(page: Page, mail_server: MailServer) -> None:
    page.goto("/channels/new?type=email")
    page.get_by_label("Name", exact=True).fill("Ops mailing list")
    page.get_by_label("SMTP server").fill(mail_server.name)
    page.get_by_label("Port", exact=True).fill(str(mail_server.port))
    page.get_by_label("Encryption", exact=True).select_option("none")
    page.get_by_label("From", exact=True).fill("dbackup@example.org")
    page.get_by_label("To", exact=True).fill("ops@example.org")
    page.get_by_role("button", name="Send test").click()
    expect(page.locator("#draft-test")).to_contain_text("Test sent in")
    page.get_by_role("button", name="Save channel").click()
    expect(page.get_by_role("row", name="Ops mailing list")).to_be_visible()


def choose_globally(page: Page) -> None:
    page.goto(NOTIFICATIONS)
    page.get_by_role("button", name="Choose channels").first.click()
    picker = page.locator("#picker-global")
    picker.get_by_role("checkbox", name="Chat").check()
    picker.get_by_role("checkbox", name="Ops mailing list").check()
    picker.get_by_role("button", name="Save channels").click()
    expect(page.locator("#global-channels .token")).to_have_count(2)


def tell_about_logins(page: Page, mode: str) -> None:
    row = page.locator("#event-user_login")
    row.get_by_role("switch").click()
    expect(row.get_by_role("switch")).to_have_attribute("aria-checked", "true")
    choose_mode(page, mode)


def choose_mode(page: Page, mode: str) -> None:
    row = page.locator("#event-user_login")
    row.get_by_label("Notify user directly").select_option(label=mode)
    if not has_htmx(page):
        row.get_by_role("button", name="Save", exact=True).click()
    words = "The channels are not told." if mode == "User only" else "Emails the person"
    expect(row).to_contain_text(words)


def sign_out_and_in(page: Page) -> None:
    if page.viewport_size and page.viewport_size["width"] < 992:
        page.get_by_role("button", name="Open menu").click()
    page.get_by_role("button", name="Account menu").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_text("You are signed out.")).to_be_visible()
    sign_in(page)


@pytest.mark.parametrize("way", WAYS)
def test_from_setup_to_messages_that_arrive(
    open_page: OpenPage, peer: Peer, mail_server: MailServer, way: str
) -> None:
    page = open_page("/", **WAYS[way])
    assert page.url.endswith("/setup")
    set_up(page)
    assert steps_done(page) == 0
    add_webhook(page, peer)
    assert steps_done(page) == 1
    add_email(page, mail_server)
    choose_globally(page)
    tell_about_logins(page, "Admin & User")
    assert steps_done(page) == 2
    peer.clear()
    mail_server.mails.clear()
    page.goto(NOTIFICATIONS)
    page.get_by_role("button", name="Test User Login").click()
    assert "[Test]" in peer.wait(1)[0].json()["title"]
    assert len(mail_server.wait(2)) == 2
    assert steps_done(page) == 3
    peer.clear()
    mail_server.mails.clear()

    sign_out_and_in(page)
    [request] = peer.wait(1)
    assert request.json()["eventType"] == "user_login"
    mails = mail_server.wait(2)
    assert sorted(mail.recipients for mail in mails) == [
        ("mara@example.org",),
        ("ops@example.org",),
    ]
    [direct] = [mail for mail in mails if mail.recipients == ("mara@example.org",)]
    assert "New sign-in" in str(direct.message["Subject"])

    page.goto(NOTIFICATIONS)
    choose_mode(page, "User only")
    sign_out_and_in(page)
    assert mail_server.wait(3)[2].recipients == ("mara@example.org",)
    page.goto("/deliveries?state=sent")
    rows = page.locator("#delivery-rows tbody tr")
    expect(rows.filter(has_not_text="Test")).to_have_count(4)
    assert len(peer.requests) == 1
    assert len(mail_server.mails) == 3


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A small database."""
    path = tmp_path / "shop.db"
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("CREATE TABLE item (name TEXT)")
        connection.executemany("INSERT INTO item VALUES (?)", [(f"item {n}",) for n in range(5000)])
    connection.close()
    return path


def add_source_destination_job(page: Page, shop: Path, place: Path) -> None:
    page.goto("/sources/new?type=sqlite")
    page.get_by_label("Name", exact=True).fill("Shop")
    page.get_by_label("Database file").fill(str(shop))
    page.get_by_role("button", name="Save source").click()
    expect(page.get_by_role("row", name="Shop")).to_be_visible()
    page.goto("/destinations/new?type=local")
    page.get_by_label("Name", exact=True).fill("Shelf")
    page.get_by_label("Directory", exact=True).fill(str(place))
    page.get_by_role("button", name="Save destination").click()
    expect(page.get_by_role("row", name="Shelf")).to_be_visible()
    page.goto("/jobs/new")
    page.get_by_label("Name", exact=True).fill("Nightly shop")
    page.get_by_label("Source").select_option(label="Shop")
    page.get_by_label("Shelf").check()
    page.get_by_role("button", name="Save job").click()
    page.wait_for_url(re.compile(r"/jobs/\d+"))


def add_route(page: Page, channel: str, condition: str) -> None:
    page.get_by_label("Add a channel").select_option(label=channel)
    page.get_by_label("Tell it").select_option(label=condition)
    page.get_by_role("button", name="Add channel").click()


def follow(page: Page, words: str) -> None:
    """Wait until the page says so; without a script it is asked again and again."""
    for _ in range(40):
        if words in page.locator("h1").inner_text():
            return
        page.wait_for_timeout(250)
        if not has_htmx(page):
            page.reload()
    expect(page.locator("h1")).to_contain_text(words)


@pytest.mark.parametrize("way", WAYS)
def test_a_backup_and_its_restore_are_made_and_announced(
    signed_in: OpenPage, peer: Peer, shop: Path, tmp_path: Path, way: str
) -> None:
    place = tmp_path / "shelf"
    place.mkdir()
    page = signed_in("/", **WAYS[way])
    add_webhook(page, peer)
    add_source_destination_job(page, shop, place)
    peer.clear()

    page.goto("/jobs")
    page.get_by_role("link", name="Nightly shop").click()
    page.get_by_role("navigation").get_by_role("link", name="Notifications").click()
    expect(page.locator("#job-routes")).to_contain_text("This job tells nobody")
    add_route(page, "Chat (Generic Webhook)", "On Success")
    expect(page.locator("#routes-warning")).to_contain_text("Nobody is told when this job fails")
    add_route(page, "Chat (Generic Webhook), again", "On Failure")
    expect(page.locator("#routes-warning")).not_to_contain_text("Nobody is told")

    page.get_by_role("button", name="Run now").click()
    page.wait_for_url("**/runs/*")
    follow(page, "Success")
    [request] = peer.wait(1)
    assert request.json()["eventType"] == "backup_success"
    peer.clear()

    page.goto("/settings/notifications")
    page.get_by_role("button", name="Choose channels").first.click()
    picker = page.locator("#picker-global")
    picker.get_by_role("checkbox", name="Chat").check()
    picker.get_by_role("button", name="Save channels").click()
    expect(page.locator("#global-channels .token")).to_have_count(1)
    page.goto("/storage")
    page.get_by_role("link", name="Restore").last.click()
    target = tmp_path / "restored.db"
    page.get_by_label("New file").fill(str(target))
    page.get_by_role("button", name="Start restore").click()
    page.wait_for_url("**/restores/*")
    follow(page, "Success")
    [request] = peer.wait(1)
    assert request.json()["eventType"] == "restore_complete"
    connection = sqlite3.connect(target)
    assert connection.execute("SELECT count(*) FROM item").fetchone() == (5000,)
    connection.close()
