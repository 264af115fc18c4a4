"""The Channels pages in a real browser, with and without JavaScript."""

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.factories import make_channel
from tests.servers.http import Peer
from webapp.models.channel import ChannelRow
from webapp.services import notification_settings

OpenPage = Callable[..., Page]


def make_hook(peer: Peer, **values: object) -> ChannelRow:
    config = {"url": f"{peer.url}/hook", "method": "POST", "content_type": "application/json"}
    return make_channel(config=config, **values)


def violations(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [f"{rule['id']}: {[node['target'] for node in rule['nodes']]}" for rule in found]


@pytest.mark.parametrize("javascript", [True, False])
def test_a_channel_is_made_tested_and_found_in_the_list(
    signed_in: OpenPage, peer: Peer, javascript: bool
) -> None:
    page = signed_in("/channels/new?type=webhook", javascript=javascript)
    page.get_by_label("Name", exact=True).fill("Ops alerts")
    page.get_by_label("URL", exact=True).fill(f"{peer.url}/hook")
    page.get_by_role("button", name="Send test").click()
    expect(page.locator("#draft-test")).to_contain_text("Test sent in")
    assert "Ops alerts" in peer.last.body.decode()
    page.get_by_role("button", name="Save channel").click()
    expect(page.get_by_role("row", name="Ops alerts")).to_contain_text("Never used")
    assert page.url.endswith("/channels")


def test_the_type_picker_swaps_form_and_side_keeps_the_name_and_the_focus(
    signed_in: OpenPage,
) -> None:
    page = signed_in("/channels/new?type=discord")
    page.get_by_label("Name", exact=True).fill("Ops alerts")
    page.locator("#type-discord").focus()
    page.keyboard.press("ArrowRight")
    chosen = page.locator("[name=type]:checked").first
    expect(page.locator("#form-title")).not_to_have_text("Discord")
    expect(page.get_by_label("Name", exact=True)).to_have_value("Ops alerts")
    expect(chosen).to_be_focused()
    assert f"type={chosen.get_attribute('value')}" in page.url
    label = page.locator("#form-title").inner_text()
    expect(page.locator("#preview")).to_contain_text(label)


def test_the_focus_goes_to_the_summary_of_a_form_that_came_back(signed_in: OpenPage) -> None:
    page = signed_in("/channels/new?type=webhook")
    page.get_by_label("Name", exact=True).fill("Ops alerts")
    page.get_by_label("Name", exact=True).press("Enter")
    expect(page.locator("#form-errors")).to_be_focused()
    page.locator("#form-errors a").first.click()
    expect(page.get_by_label("URL", exact=True)).to_be_focused()


def test_a_secret_sent_with_a_wrong_field_is_kept_for_the_next_try(
    signed_in: OpenPage, peer: Peer
) -> None:
    page = signed_in("/channels/new?type=webhook")
    page.get_by_label("URL", exact=True).fill(f"{peer.url}/hush-hush")
    page.get_by_role("button", name="Save channel").click()
    expect(page.locator("#secret-url")).to_contain_text("Kept encrypted")
    assert "hush-hush" not in page.content()
    page.get_by_label("Name", exact=True).fill("Ops alerts")
    page.get_by_role("button", name="Send test").click()
    expect(page.locator("#draft-test")).to_contain_text("Test sent in")
    assert peer.last.path == "/hush-hush"


def test_the_preview_follows_what_is_typed_and_the_sample(signed_in: OpenPage) -> None:
    page = signed_in("/channels/new?type=discord")
    preview = page.locator("#preview")
    page.get_by_label("Sender name").fill("Fernhill alarms")
    expect(preview).to_contain_text("Fernhill alarms")
    expect(page.get_by_label("Sender name")).to_be_focused()
    page.get_by_role("button", name="Save channel").click()
    expect(page.locator("#form-errors")).to_be_focused()
    preview.locator("label", has_text="Success").click()
    expect(preview).to_contain_text("Backup successful")
    page.get_by_label("Sender name").fill("Other alarms")
    expect(preview).to_contain_text("Other alarms")
    expect(preview).to_contain_text("Backup successful")


def test_the_switch_keeps_the_focus_and_says_who_hears_nothing(
    signed_in: OpenPage, peer: Peer
) -> None:
    row = make_hook(peer, name="Night shift")
    notification_settings.choose_channels("restore_failure", [row.id])
    page = signed_in("/channels")
    switch = page.get_by_role("switch", name="Night shift")
    switch.focus()
    page.keyboard.press("Space")
    expect(switch).to_have_attribute("aria-checked", "false")
    expect(switch).to_be_focused()
    toast = page.locator("#toasts")
    expect(toast).to_contain_text("Night shift turned off. 1 event now has no channel.")
    toast.get_by_role("link", name="Show").click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert page.url.endswith("/settings/notifications")


def test_a_test_ends_with_the_answer_and_closes(signed_in: OpenPage, peer: Peer) -> None:
    peer.answer(404, "no such hook")
    row = make_hook(peer, name="Ops alerts")
    page = signed_in("/channels")
    page.get_by_role("button", name="Test Ops alerts").click()
    strip = page.locator(f"#channel-{row.id}-strip")
    expect(strip).to_contain_text("Test failed")
    expect(strip).to_contain_text("no such hook")
    assert strip.get_attribute("hx-trigger") is None
    expect(page.locator("#announce")).to_contain_text("Test of Ops alerts failed")
    strip.get_by_role("link", name="Close test result").click()
    expect(strip).to_have_count(0)
    page.get_by_role("button", name="Test Ops alerts").click()
    expect(strip).to_contain_text("Test failed")


def test_a_test_works_without_javascript(signed_in: OpenPage, peer: Peer) -> None:
    make_hook(peer, name="Ops alerts")
    page = signed_in("/channels", javascript=False)
    page.get_by_role("button", name="Test Ops alerts").click()
    expect(page.locator(".strip")).to_be_visible()
    peer.wait()
    page.reload()
    expect(page.locator(".strip")).to_contain_text("Test sent in")


def test_the_search_narrows_the_list_as_it_is_typed(signed_in: OpenPage, peer: Peer) -> None:
    make_hook(peer, name="Ops alerts")
    make_hook(peer, name="Server room")
    page = signed_in("/channels")
    page.get_by_label("Find a channel").press_sequentially("room")
    expect(page.locator("#channel-rows")).not_to_contain_text("Ops alerts")
    expect(page.get_by_label("Find a channel")).to_be_focused()
    assert page.url.endswith("q=room")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("phone", [False, True])
def test_nothing_stands_in_the_way_of_assistive_technology(
    signed_in: OpenPage, peer: Peer, scheme: str, phone: bool
) -> None:
    empty = signed_in("/channels", scheme=scheme, phone=phone)
    assert violations(empty) == []
    peer.answer(404, "no such hook")
    row = make_hook(peer, name="Ops alerts")
    page = empty
    page.goto("/channels")
    page.locator("button:visible", has_text="Test").first.click()
    expect(page.locator(".strip")).to_contain_text("Test failed")
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.goto("/channels/new?type=webhook")
    page.get_by_role("button", name="Save channel").click()
    expect(page.locator("#form-errors")).to_be_focused()
    assert violations(page) == []
    page.goto(f"/channels/{row.id}")
    page.locator("summary", has_text="More options").click()
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.goto(f"/channels/{row.id}/delete")
    assert violations(page) == []
