from pathlib import Path

import pytest

from tests.browser import Browser
from tests.factories import make_destination, make_job
from webapp.services.destinations import BOOK


def test_a_destination_is_added_changed_and_deleted(admin: Browser, tmp_path: Path) -> None:
    form = {"type": "local", "name": "Disk", "path": str(tmp_path / "kept")}
    admin.post("/destinations", form)
    assert "Disk added" in admin.follow().text
    (item,) = BOOK.listed()
    admin.post(f"/destinations/{item.row.id}", form | {"name": "Shelf", "version": "1"})
    assert "Shelf saved" in admin.follow().text
    admin.post(f"/destinations/{item.row.id}/delete")
    assert "Shelf deleted" in admin.follow().text


@pytest.mark.parametrize(
    ("type_", "field"), [("local", "path"), ("s3", "bucket"), ("sftp", "host_key")]
)
def test_every_type_is_offered_and_has_its_form(admin: Browser, type_: str, field: str) -> None:
    page = admin.get("/destinations/new")
    assert page.select_one(f"#connection-types input[value={type_}]")
    assert admin.get(f"/destinations/new?type={type_}").select_one(f"#{field}")


def test_a_private_key_is_entered_in_lines_and_never_comes_back(admin: Browser) -> None:
    form = {"type": "sftp", "name": "Nas", "host": "nas", "port": "22", "user": "m", "path": "x"}
    page = admin.post("/destinations", form | {"private_key": "top\nsecret", "port": "0"}, 422)
    assert page.select_one("textarea#private_key")
    assert "secret" not in page.select_one("#connection-form").text  # type: ignore[union-attr]


@pytest.mark.parametrize("path", ["", "backups", "/srv/../etc", "/srv/a\nb"])
def test_paths_that_cannot_work_are_refused(admin: Browser, path: str) -> None:
    form = {"type": "local", "name": "Disk", "path": path}
    admin.post("/destinations", form, status=422)
    assert BOOK.listed() == []


def test_a_test_shows_its_result_in_place(operator: Browser, tmp_path: Path) -> None:
    row = make_destination(config={"path": str(tmp_path / "kept")})
    strip = operator.htmx_post(f"/destinations/{row.id}/test")
    assert "A file was written, read back and deleted." in strip.text


def test_a_destination_in_use_is_not_deleted(admin: Browser) -> None:
    row = make_destination(name="Disk")
    make_job(name="Nightly", destinations=[row.id])
    admin.post(f"/destinations/{row.id}/delete")
    assert "Disk is used by “Nightly”" in admin.follow().text


def test_a_viewer_reads_without_values(viewer: Browser) -> None:
    make_destination(name="Disk", summary="/srv/backups")
    page = viewer.get("/destinations")
    assert "Disk" in page.text
    assert "/srv/backups" not in page.text
