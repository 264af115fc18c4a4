"""Job → Retention, as people with and without JavaScript use it."""

from pathlib import Path

import pytest

from tests.browser import Browser
from tests.factories import make_destination, make_job, make_source
from tests.services.restoring import fill
from webapp.backup.retention import Rules
from webapp.models.job import Job
from webapp.services import job_retention, runs


@pytest.fixture
def job(admin: Browser, tmp_path: Path) -> Job:
    source = make_source(config={"path": str(fill(tmp_path / "shop.db"))})
    place = make_destination(name="nas", config={"path": str(tmp_path / "nas")})
    made: Job = make_job(name="Shop", source_id=source.id, destinations=[place.id], keep_last=9)
    return made


def url(job: Job) -> str:
    return f"/jobs/{job.id}/retention"


def place_url(job: Job) -> str:
    return f"{url(job)}/{job_retention.places(job.id)[0].id}"


def test_a_destination_shows_what_it_keeps(admin: Browser, job: Job) -> None:
    page = admin.get(url(job))
    assert "Keeps the last 9, as the job says." in page.text


def test_rules_are_saved_and_forgotten(admin: Browser, job: Job) -> None:
    admin.post(place_url(job), {"verb": "save", "last": "2", "monthly": "12"})
    assert job_retention.places(job.id)[0].rules == Rules(last=2, monthly=12)
    assert "Keeps the last 2, 12 monthly." in admin.follow().text
    admin.post(place_url(job), {"verb": "reset"})
    assert job_retention.places(job.id)[0].rules == Rules(last=9)


def test_the_dry_run_shows_each_backup_and_stores_nothing(admin: Browser, job: Job) -> None:
    for _ in range(2):
        runs.execute(runs.start(job.id, "cli", "mara"))
    page = admin.post(place_url(job), {"verb": "look", "last": "2"}, status=200)
    preview = page.select_one("#would-delete")
    assert preview is not None
    assert "would delete 1 backup of 2" in " ".join(preview.text.split())
    assert "Kept: last 2" in preview.text
    assert job_retention.places(job.id)[0].rules == Rules(last=9)


def test_a_destination_that_does_not_answer_is_said(
    admin: Browser, job: Job, tmp_path: Path
) -> None:
    (tmp_path / "nas").write_text("a file where the directory should be")
    page = admin.post(place_url(job), {"verb": "look", "last": "1"}, status=200)
    assert page.select_one("#would-delete") is not None


def test_a_number_out_of_range_comes_back_with_the_form(admin: Browser, job: Job) -> None:
    page = admin.post(place_url(job), {"verb": "save", "last": "0"}, status=422)
    assert "Enter a number from 1 to 10000" in page.text


def test_a_job_is_cloned_by_one_button(admin: Browser, job: Job) -> None:
    admin.post(f"/jobs/{job.id}/clone")
    assert "Shop copy" in admin.follow().text
