"""The pages of sources and destinations in a real browser, with and without JavaScript."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.factories import make_job, make_source

OpenPage = Callable[..., Page]


def violations(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [f"{rule['id']}: {[node['target'] for node in rule['nodes']]}" for rule in found]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    path = tmp_path / "shop.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t (x)")
    connection.close()
    return path


@pytest.mark.parametrize("javascript", [True, False])
def test_a_source_is_made_tested_and_found_in_the_list(
    signed_in: OpenPage, shop: Path, javascript: bool
) -> None:
    page = signed_in("/sources/new?type=sqlite", javascript=javascript)
    page.get_by_label("Name", exact=True).fill("Shop")
    page.get_by_label("Database file").fill(str(shop))
    page.get_by_role("button", name="Test connection").click()
    expect(page.locator("#draft-test")).to_contain_text("SQLite 3.")
    page.get_by_role("button", name="Save source").click()
    expect(page.get_by_role("row", name="Shop")).to_contain_text(str(shop))
    page.get_by_role("button", name="Test connection of Shop").click()
    expect(page.locator("main")).to_contain_text("not in WAL mode")


def test_the_type_picker_keeps_the_name_and_the_focus(signed_in: OpenPage) -> None:
    page = signed_in("/sources/new")
    page.get_by_label("Name", exact=True).fill("Shop")
    page.locator("#type-postgresql").focus()
    page.keyboard.press("ArrowLeft")  # from the first to the last
    expect(page.get_by_label("Database file")).to_be_visible()
    expect(page.get_by_label("Name", exact=True)).to_have_value("Shop")
    expect(page.locator("#type-sqlite")).to_be_focused()


def test_deleting_asks_first(signed_in: OpenPage) -> None:
    row = make_source(name="Shop")
    page = signed_in("/sources")
    page.get_by_role("button", name="More actions for Shop").click()
    page.get_by_role("button", name="Delete…").click()
    page.get_by_role("button", name="Delete source").click()
    expect(page.locator("main")).to_contain_text("Shop deleted")
    expect(page.locator(f"#source-{row.id}")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("phone", [False, True])
def test_the_pages_are_accessible_and_fit(
    signed_in: OpenPage, tmp_path: Path, phone: bool, scheme: str
) -> None:
    row = make_source(
        name="Shop of the harbour",
        summary="shop on db.internal.example.org:5432",
        type="postgresql",
    )
    make_job(name="Nightly", source_id=row.id)
    make_source(name="Till", config={"path": "/nowhere/till.db"}, summary="/nowhere/till.db")
    page = signed_in("/sources", phone=phone, scheme=scheme)
    page.get_by_role("button", name="Test connection of Till").click()
    expect(page.get_by_role("group", name="Connection test of Till")).to_contain_text("not exist")
    for path in ("/sources", "/sources/new", "/destinations/new"):
        if path != "/sources":
            page.goto(path)
        page.screenshot(path=tmp_path / f"{path.replace('/', '-')}.png", full_page=True)
        assert violations(page) == []
        width = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert width <= 0, f"{path} is wider than the window"
