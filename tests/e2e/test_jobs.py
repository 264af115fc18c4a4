"""A job from its form to the messages about its runs, in Chromium, with and without JavaScript."""

import re
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from flask import Flask
from playwright.sync_api import Page, expect
from sqlalchemy import select

from tests.factories import make_channel, make_destination, make_job, make_source
from tests.servers.http import Peer
from webapp.backup.sources.sqlite import Sqlite
from webapp.models.delivery import Delivery
from webapp.models.job import Job
from webapp.models.routing import JobChannel
from webapp.services.transaction import reading, transaction

OpenPage = Callable[..., Page]
RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"]}}


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE item (name TEXT)")
        connection.executemany("INSERT INTO item VALUES (?)", [(str(n),) for n in range(1000)])
    connection.close()
    return path


@pytest.fixture
def job(app: Flask, database: Path, tmp_path: Path) -> Job:
    (tmp_path / "shelf").mkdir()
    source = make_source(name="shop", config={"path": str(database)})
    place = make_destination(name="Local disk", config={"path": str(tmp_path / "shelf")})
    made: Job = make_job(
        name="Shop nightly", source_id=source.id, destinations=[place.id], schedule="0 2 * * *"
    )
    return made


@pytest.fixture
def told(job: Job, peer: Peer) -> None:
    """One row per condition, each with its own address at the listener."""
    for condition in ("always", "on_success", "on_failure"):
        channel = make_channel(
            name=condition.replace("_", " "),
            config={"url": f"{peer.url}/{condition}", "method": "POST"},
        )
        with transaction() as session:
            session.add(JobChannel(job_id=job.id, channel_id=channel.id, condition=condition))


def check_access(page: Page) -> None:
    found = Axe().run(page, options=RULES)
    assert found.violations_count == 0, found.generate_report()


def run_now(page: Page, job: Job) -> None:
    page.goto(f"/jobs/{job.id}/notifications")
    page.get_by_role("button", name="Run now").click()
    page.wait_for_url("**/runs/*")


def reached(peer: Peer, count: int) -> list[str]:
    peer.wait(count)
    return sorted(request.path for request in peer.requests)


def skipped() -> list[str]:
    with reading() as session:
        found = select(Delivery.channel_name).where(
            Delivery.state == "skipped", Delivery.channel_id.is_not(None)
        )
        return list(session.scalars(found))


def test_a_good_run_tells_always_and_on_success_only(
    signed_in: OpenPage, job: Job, told: None, peer: Peer
) -> None:
    page = signed_in()
    run_now(page, job)
    expect(page.locator("#progress-title")).to_contain_text("Backed up in")
    expect(page.locator("#run-chip")).to_contain_text("Success")
    expect(page.locator("#run-log")).to_contain_text("Backup finished in")
    expect(page.locator("#run-destinations")).to_contain_text("Stored")
    assert page.locator("#run-progress[hx-trigger]").count() == 0
    assert reached(peer, 2) == ["/always", "/on_success"]
    assert skipped() == ["on failure"]
    check_access(page)


def test_a_bad_run_tells_always_and_on_failure_only(
    signed_in: OpenPage, job: Job, told: None, peer: Peer, database: Path
) -> None:
    database.write_bytes(b"no database at all" * 1000)
    page = signed_in()
    run_now(page, job)
    expect(page.locator("#progress-title")).to_contain_text("Failed in the step")
    assert reached(peer, 2) == ["/always", "/on_failure"]
    assert skipped() == ["on success"]


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dump that goes on until it is stopped."""

    def dump(_source: Sqlite, output: Any, progress: Any) -> None:
        for _ in range(3000):
            progress.check()
            output.write(b"x" * 10_000)
            time.sleep(0.01)

    monkeypatch.setattr(Sqlite, "dump", dump)


def test_a_run_is_watched_and_stopped(
    signed_in: OpenPage, job: Job, told: None, peer: Peer, endless: None
) -> None:
    page = signed_in()
    run_now(page, job)
    expect(page.locator("#progress-title")).to_have_text("Step 2 of 4: Dump")
    expect(page.locator("#run-log")).to_contain_text("SQLite")
    check_access(page)
    page.get_by_role("button", name="Stop run").click()
    check_access(page)
    page.get_by_role("dialog").get_by_role("button", name="Stop run").click()
    expect(page.locator("#progress-title")).to_have_text("Stopped by Mara Lindqvist")
    expect(page.locator("#run-chip")).to_contain_text("Cancelled")
    assert reached(peer, 1) == ["/always"]


def test_conditions_save_as_they_are_chosen_and_focus_stays(
    signed_in: OpenPage, job: Job, told: None
) -> None:
    page = signed_in(f"/jobs/{job.id}/notifications")
    check_access(page)
    row = page.locator(".route").last
    row.get_by_role("radio", name="On Success").check()
    expect(page.locator("#routes-summary")).to_contain_text("3 channels")
    expect(row.get_by_role("radio", name="On Success")).to_be_focused()
    page.locator(".route").first.get_by_role("radio", name="On Success").check()
    expect(page.get_by_text("Nobody is told when this job fails.")).to_be_visible()
    check_access(page)
    page.reload()
    expect(page.get_by_text("Nobody is told when this job fails.")).to_be_visible()


def test_a_removed_row_comes_back_by_undo(signed_in: OpenPage, job: Job, told: None) -> None:
    page = signed_in(f"/jobs/{job.id}/notifications")
    page.get_by_role("button", name="Remove on success").click()
    expect(page.locator(".route")).to_have_count(2)
    expect(page.locator(".route").last.get_by_role("radio", checked=True)).to_be_focused()
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".route")).to_have_count(3)
    expect(page.locator(".route").last).to_contain_text("on success")


def test_a_schedule_is_said_while_it_is_typed(signed_in: OpenPage, job: Job) -> None:
    page = signed_in(f"/jobs/{job.id}")
    check_access(page)
    page.get_by_role("textbox", name="Schedule").fill("*/15 * * * *")
    expect(page.locator("#job-schedule")).to_contain_text("Every 15 minutes")
    page.get_by_role("textbox", name="Schedule").fill("99 2 * * *")
    expect(page.locator("#job-schedule")).to_contain_text("cannot be used for the minute")
    page.get_by_role("button", name="Save job").click()
    expect(page.locator("#form-errors")).to_be_focused()
    check_access(page)
    page.get_by_role("textbox", name="Schedule").fill("0 4 * * 1-5")
    page.get_by_role("button", name="Save job").click()
    expect(page.locator(".page-head")).to_contain_text("Monday to Friday at 04:00")


def test_everything_works_without_javascript(signed_in: OpenPage, job: Job, peer: Peer) -> None:
    make_channel(name="Ops", config={"url": f"{peer.url}/ops", "method": "POST"})
    page = signed_in(f"/jobs/{job.id}/notifications", javascript=False)
    page.get_by_role("button", name="Add channel").click()
    expect(page.locator(".route")).to_contain_text("Ops")
    page.locator(".route").get_by_role("radio", name="On Failure").check()
    page.locator(".route").get_by_role("button", name="Save").click()
    expect(page.get_by_text("Ops is told: On Failure.")).to_be_visible()
    page.locator(".route").get_by_role("radio", name="Always").check()
    page.locator(".route").get_by_role("button", name="Save").click()
    page.get_by_role("button", name="Run now").click()
    expect(page.locator("#progress-title")).to_contain_text(
        re.compile("Backed up in"), timeout=15_000
    )
    assert reached(peer, 1) == ["/ops"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/jobs", "/jobs/1", "/jobs/1/notifications", "/runs"])
def test_pages_fit_a_phone_in_both_themes(
    signed_in: OpenPage, job: Job, told: None, path: str, scheme: str
) -> None:
    page = signed_in(path, phone=True, scheme=scheme)
    check_access(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_log_follows_its_end_only_while_the_reader_is_there(
    signed_in: OpenPage, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    def talk(_source: Sqlite, output: Any, progress: Any) -> None:
        for number in range(3000):
            progress.check()
            progress.line("info", f"part {number}")
            time.sleep(0.02)

    monkeypatch.setattr(Sqlite, "dump", talk)
    page = signed_in()
    run_now(page, job)
    log = page.locator("#run-log")
    expect(log).to_contain_text("part 60")
    gap = "log => log.scrollHeight - log.scrollTop - log.clientHeight"
    assert log.evaluate(gap) < 30
    log.evaluate("log => { log.scrollTop = 0 }")
    expect(log).to_contain_text("part 150")
    assert log.evaluate("log => log.scrollTop") == 0
