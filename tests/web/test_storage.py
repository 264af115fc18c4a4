"""The storage explorer in the browser."""

from pathlib import Path

from tests.browser import Browser
from tests.factories import make_destination
from tests.services.restoring import sqlite_artifact
from tests.services.test_artifacts import add
from webapp.services import artifacts


def test_an_empty_installation_is_told_what_to_do(admin: Browser) -> None:
    page = admin.get("/storage")
    assert "No destination yet" in page.text
    assert page.select_one("main a.btn-primary")["href"] == "/destinations/new"  # type: ignore[index]


def test_artifacts_are_listed_with_job_size_and_short_checksum(
    operator: Browser, tmp_path: Path
) -> None:
    artifact = sqlite_artifact(tmp_path)
    row = operator.get("/storage").select_one(f"#artifact-{artifact.id}")
    assert row is not None
    assert artifact.key in row.text
    assert f"{artifact.sha256[:8]}…" in row.text
    assert [link["href"] for link in row.select("a")] == [
        f"/storage/{artifact.id}/download",
        f"/restores/new?artifact={artifact.id}",
    ]


def test_a_viewer_reads_but_finds_no_way_to_take_anything_away(
    viewer: Browser, tmp_path: Path
) -> None:
    artifact = sqlite_artifact(tmp_path)
    page = viewer.get("/storage")
    assert artifact.key in page.text
    assert page.select("main tbody a") == []
    assert str(tmp_path) not in page.text
    viewer.get(f"/storage/{artifact.id}/download", 403)


def test_a_download_is_the_stored_file_as_an_attachment(operator: Browser, tmp_path: Path) -> None:
    artifact = sqlite_artifact(tmp_path)
    operator._open(f"/storage/{artifact.id}/download")
    answer = operator.last
    assert answer.data == (tmp_path / "backups" / artifact.key).read_bytes()
    assert answer.headers["Content-Disposition"] == "attachment; filename=2026-03-01.sqlite.gz"
    assert answer.content_length == artifact.size
    assert answer.mimetype == "application/octet-stream"


def test_a_file_that_is_gone_is_a_page_in_words(operator: Browser, tmp_path: Path) -> None:
    artifact = sqlite_artifact(tmp_path)
    (tmp_path / "backups" / artifact.key).unlink()
    page = operator.get(f"/storage/{artifact.id}/download", 422)
    assert "does not exist" in page.text


def test_each_destination_has_its_own_address(admin: Browser) -> None:
    one, two = make_destination(name="one"), make_destination(name="two")
    add(one.id, "key-of-one")
    add(two.id, "second")
    page = admin.get(f"/storage?destination={two.id}")
    assert [tab.text for tab in page.select(".tabs [aria-current=page]")] == ["two"]
    assert "second" in page.text
    assert "key-of-one" not in page.select_one("#artifacts").text  # type: ignore[union-attr]
    admin.get("/storage?destination=77", 404)


def test_older_pages_are_partials_for_htmx(admin: Browser) -> None:
    place = make_destination()
    for number in range(artifacts.PAGE_SIZE + 1):
        add(place.id, f"backup-{number}")
    page = admin.get("/storage")
    older = page.select_one("a[rel=next]")
    assert older is not None
    partial = admin.htmx_get(str(older["href"]))
    assert [tag.get("id") for tag in partial.find_all(recursive=False)] == ["artifacts"]
    assert "backup-0" in partial.text
    assert partial.select_one("a[rel=prev]") is not None


def test_where_the_last_destination_is_gone_an_open_page_starts_anew(viewer: Browser) -> None:
    viewer.htmx_get("/storage", 204)
    assert viewer.last.headers["HX-Redirect"] == "/storage"
    viewer.get("/storage")
