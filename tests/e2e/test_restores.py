"""A backup on its way back, and the first steps of a new installation, in Chromium."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.services.restoring import items, sqlite_artifact
from webapp.backup.progress import Progress
from webapp.backup.sources.sqlite import Sqlite

OpenPage = Callable[..., Page]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Let loading last until the test has seen what it waits for, however busy the machine is."""
    load = Sqlite.restore
    seen = threading.Event()

    def restore(self: Sqlite, source: object, target: str, progress: Progress) -> None:
        while not seen.wait(0.02):
            progress.check()
        load(self, source, target, progress)  # type: ignore[arg-type]

    monkeypatch.setattr(Sqlite, "restore", restore)
    yield seen
    seen.set()


def test_a_restore_is_started_watched_and_ends_by_itself(
    signed_in: OpenPage, tmp_path: Path, seen: threading.Event
) -> None:
    sqlite_artifact(tmp_path)
    page = signed_in("/storage")
    page.get_by_role("link", name="Restore shop/2026-03-01.sqlite.gz").click()
    page.get_by_label("New file").fill(str(tmp_path / "restored.db"))
    page.get_by_role("button", name="Start restore").click()

    expect(page.locator("#progress-title")).to_have_text("Load")
    expect(page.locator("#restore-chip")).to_have_text("Running")
    seen.set()
    expect(page.locator("#restore-chip")).to_have_text("Success", timeout=20_000)
    expect(page.locator("#restore")).to_contain_text("Restored in")
    expect(page.locator("#restore [hx-trigger], #restore[hx-trigger]")).to_have_count(0)
    expect(page.locator("#announce")).to_have_text("Restore: Success")
    expect(page.get_by_role("button", name="Cancel restore")).to_have_count(0)
    assert len(items(tmp_path / "restored.db")) == 500


def test_a_target_that_exists_is_said_and_one_click_leads_to_its_field(
    signed_in: OpenPage, tmp_path: Path
) -> None:
    artifact = sqlite_artifact(tmp_path)
    (tmp_path / "there.db").touch()
    page = signed_in(f"/restores/new?artifact={artifact.id}")
    page.get_by_label("New file").fill(str(tmp_path / "there.db"))
    page.get_by_role("button", name="Start restore").click()
    field = page.get_by_label("New file")
    expect(page.locator("#target-error")).to_contain_text("exists already")
    expect(page.locator("#form-errors")).to_be_focused()
    page.locator("#form-errors").get_by_role("link", name="New file").click()
    expect(field).to_be_focused()
    expect(field).to_have_value(str(tmp_path / "there.db"))


@pytest.mark.usefixtures("seen")
def test_cancel_asks_first_and_leaves_nothing_behind(signed_in: OpenPage, tmp_path: Path) -> None:
    artifact = sqlite_artifact(tmp_path)
    page = signed_in(f"/restores/new?artifact={artifact.id}")
    page.get_by_label("New file").fill(str(tmp_path / "restored.db"))
    page.get_by_role("button", name="Start restore").click()
    expect(page.locator("#progress-title")).to_have_text("Load")

    page.get_by_role("button", name="Cancel restore").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel restore").click()

    expect(page.locator("#restore-chip")).to_have_text("Cancelled", timeout=20_000)
    assert [path.name for path in tmp_path.iterdir() if "restored" in path.name] == []


def test_without_javascript_the_page_follows_the_restore_too(
    signed_in: OpenPage, tmp_path: Path, seen: threading.Event
) -> None:
    artifact = sqlite_artifact(tmp_path)
    page = signed_in(f"/restores/new?artifact={artifact.id}", javascript=False)
    page.get_by_label("New file").fill(str(tmp_path / "restored.db"))
    page.get_by_role("button", name="Start restore").click()
    # the page looks again by itself every few seconds
    expect(page.locator("#restore-chip")).to_have_text("Running", timeout=30_000)
    seen.set()
    expect(page.locator("#restore-chip")).to_have_text("Success", timeout=30_000)


def test_the_first_steps_are_hidden_without_a_reload(signed_in: OpenPage) -> None:
    page = signed_in("/")
    page.get_by_role("button", name="Hide first steps").click()
    expect(page.locator("#checklist")).to_have_count(0)
    expect(page.locator("#toasts")).to_contain_text("First steps hidden")
    page.reload()
    expect(page.locator("#checklist")).to_have_count(0)


def test_the_configuration_is_downloaded_as_a_file(signed_in: OpenPage, tmp_path: Path) -> None:
    page = signed_in("/settings/configuration-backup")
    page.get_by_label("Passphrase", exact=True).fill("quiet rivers carry boats")
    page.get_by_label("Repeat passphrase").fill("quiet rivers carry boats")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download configuration").click()
    file = tmp_path / "settings.json"
    download.value.save_as(file)
    assert download.value.suggested_filename.startswith("dbackup-config-")
    assert '"sealed"' in file.read_text()
