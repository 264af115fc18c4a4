"""A source of several databases in a real browser: typed, tested, backed up, and restored."""

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.factories import make_destination, make_job, make_source
from tests.services_needed import HOST, PORT, require_postgres
from webapp.services import runs

OpenPage = Callable[..., Page]
SERVER = f"host={HOST} port={PORT} user=postgres"


def violations(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [f"{rule['id']}: {[node['target'] for node in rule['nodes']]}" for rule in found]


@pytest.fixture
def names() -> Iterator[list[str]]:
    require_postgres()
    mark = secrets.token_hex(3)
    made = [f"dbackup_test_{mark}_blog", f"dbackup_test_{mark}_shop"]
    with psycopg.connect(SERVER, autocommit=True) as server:
        for name in made:
            server.execute(f'CREATE DATABASE "{name}"')
        yield made
        for name in made:
            server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.mark.parametrize("javascript", [True, False])
def test_a_list_of_databases_is_typed_tested_and_shown_again(
    signed_in: OpenPage, names: list[str], javascript: bool
) -> None:
    page = signed_in("/sources/new?type=postgresql", javascript=javascript)
    page.get_by_label("Name", exact=True).fill("Shop")
    page.get_by_label("Host").fill(HOST)
    page.get_by_label("User").fill("postgres")
    field = page.get_by_role("textbox", name="Databases")
    field.fill(f"{names[0]}, gone")
    page.get_by_role("button", name="Test connection").click()
    expect(page.locator("#draft-test")).to_contain_text(f"Found: {names[0]}.")
    expect(page.locator("#draft-test")).to_contain_text("There is no database gone")
    field.fill("\n".join(names))
    page.get_by_role("button", name="Test connection").click()
    expect(page.locator("#draft-test")).to_contain_text("Both databases were found")
    if javascript:  # the checker is a script itself
        assert violations(page) == []
    page.get_by_role("button", name="Save source").click()
    expect(page.get_by_role("row", name="Shop")).to_contain_text(", ".join(names))
    page.get_by_role("link", name="Shop", exact=True).click()
    expect(page.get_by_role("textbox", name="Databases")).to_have_value("\n".join(names))


def test_the_run_shows_each_database_and_which_of_them_failed(
    signed_in: OpenPage, names: list[str], tmp_path: Path
) -> None:
    config = {"host": HOST, "port": PORT, "user": "postgres"}
    source = make_source(
        type="postgresql", name="pg", config=config | {"database": "\n".join([*names, "gone"])}
    )
    place = make_destination(name="nas", config={"path": str(tmp_path / "nas")})
    job = make_job(name="All", source_id=source.id, destinations=[place.id])
    run_id = runs.start(job.id, "cli", "Mara")
    runs.execute(run_id)
    page = signed_in(f"/runs/{run_id}")
    expect(page.locator("#run-progress")).to_contain_text("2 of 3 databases backed up")
    expect(page.locator("#run-progress")).to_contain_text("There is no database gone")
    rows = page.locator("#run-steps li")
    expect(rows.nth(0)).to_contain_text(names[0])
    expect(rows.nth(2)).to_contain_text("Failed")
    assert violations(page) == []
    page.goto(page.url.rpartition("/runs")[0] + "/storage")
    for name in names:
        expect(page.locator("#artifacts")).to_contain_text(f"PostgreSQL · {name}")
    page.get_by_role("link", name="Restore", exact=False).last.click()
    expect(page.locator("main")).to_contain_text(names[0])
    assert violations(page) == []
