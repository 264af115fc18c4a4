import re
from pathlib import Path

import pytest

from tests.browser import Browser
from tests.factories import make_job, make_source
from webapp.services.sources import BOOK

SECRET = "deep blue lagoon"
POSTGRES = {
    "type": "postgresql",
    "name": "Shop",
    "host": "127.0.0.1",
    "port": "1",
    "database": "shop",
    "user": "backup",
    "password": SECRET,
    "sslmode": "prefer",
    "sslrootcert": "",
}


def _only() -> tuple[str, dict[str, object]]:
    (item,) = BOOK.listed()
    return item.row.name, dict(BOOK.stored(item.row.id).config)


def test_the_empty_page_offers_the_first_step(admin: Browser) -> None:
    page = admin.get("/sources")
    assert "No sources yet" in page.text
    assert page.select_one('a[href="/sources/new"]')


def test_the_form_of_each_type_is_shown_and_a_typed_name_is_kept(admin: Browser) -> None:
    page = admin.get("/sources/new?type=sqlite&name=Shop")
    assert page.select_one("#path")
    assert page.select_one("#name")["value"] == "Shop"
    part = admin.htmx_get("/sources/new?type=postgresql")
    assert part.select_one("form#connection-form #database")
    assert part.select_one("html") is None


def test_a_source_is_added_and_listed_without_its_password(admin: Browser) -> None:
    admin.post("/sources", POSTGRES)
    page = admin.follow()
    assert "Shop added" in page.text
    assert "shop on 127.0.0.1:1" in page.text
    assert SECRET not in str(page)
    assert _only()[1]["password"] == SECRET


def test_saving_with_an_empty_password_keeps_the_stored_one(admin: Browser) -> None:
    admin.post("/sources", POSTGRES)
    (item,) = BOOK.listed()
    form = admin.get(f"/sources/{item.row.id}")
    assert SECRET not in str(form)
    assert "Stored encrypted" in form.text
    changes = {"name": "Till", "password": "", "version": "1"}
    admin.post(f"/sources/{item.row.id}", POSTGRES | changes)
    assert _only()[0] == "Till"
    assert _only()[1]["password"] == SECRET


@pytest.mark.parametrize(
    "change",
    [
        {"host": "evil.example"},
        {"port": "2"},
        {"sslmode": "disable"},
        {"sslrootcert": "/tmp/of-somebody.pem"},
    ],
)
def test_a_stored_password_goes_to_no_other_server(admin: Browser, change: dict[str, str]) -> None:
    admin.post("/sources", POSTGRES)
    (item,) = BOOK.listed()
    moved = POSTGRES | change | {"password": "", "version": "1"}
    tested = admin.htmx_post("/sources/test", moved | {"row_id": str(item.row.id)}, status=422)
    assert "Enter it again" in tested.text
    page = admin.post(f"/sources/{item.row.id}", moved, 422)
    assert "Enter it again" in page.select_one("#password-error").text
    name = next(iter(change))
    assert _only()[1][name] != change[name]
    # typed once, it is kept for the next try of the same form
    page = admin.post(f"/sources/{item.row.id}", moved | {"password": "anew", "name": ""}, 422)
    draft = page.select_one("[name=draft]")["value"]
    admin.post(f"/sources/{item.row.id}", moved | {"draft": draft})
    assert _only()[1]["password"] == "anew"


def test_a_password_can_be_removed(admin: Browser) -> None:
    admin.post("/sources", POSTGRES)
    (item,) = BOOK.listed()
    changes = {"password": "", "password-clear": "1", "version": "1"}
    admin.post(f"/sources/{item.row.id}", POSTGRES | changes)
    assert _only()[1]["password"] == ""


def test_a_refused_form_comes_back_with_what_was_typed_and_keeps_the_password_sealed(
    admin: Browser,
) -> None:
    page = admin.post("/sources", POSTGRES | {"port": "99999"}, status=422)
    assert "Enter a number from 1 to 65535." in page.text
    assert page.select_one("#host")["value"] == "127.0.0.1"
    assert SECRET not in str(page)
    draft = str(page.select_one("input[name=draft]")["value"])
    admin.post("/sources", POSTGRES | {"password": "", "draft": draft})
    assert _only()[1]["password"] == SECRET


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("name", "", "Enter a name"),
        ("host", "a b", "Enter one name or address"),
        ("host", "one,two", "Enter one name or address"),
        ("password", "env:not a name", "Write a reference as"),
        ("sslmode", "whatever", "Not a valid choice"),
        ("sslmode", "verify-full", "Enter the certificate authority file"),
        ("sslrootcert", "ca.pem", "beginning with a slash"),
    ],
)
def test_what_cannot_work_is_refused_at_its_field(
    admin: Browser, field: str, value: str, words: str
) -> None:
    page = admin.htmx_post("/sources", POSTGRES | {field: value}, status=422)
    assert words in page.text
    assert page.select_one(f"#{field}[aria-invalid=true]")
    assert BOOK.listed() == []


def test_a_relative_path_is_refused(admin: Browser) -> None:
    form = {"type": "sqlite", "name": "Shop", "path": "shop.db"}
    assert "beginning with a slash" in admin.post("/sources", form, status=422).text


def test_a_taken_name_is_refused_at_its_field(admin: Browser) -> None:
    make_source(name="Shop")
    page = admin.post("/sources", POSTGRES, status=422)
    assert "called “Shop” already" in page.text


def test_the_second_of_two_admins_is_told_and_may_save_again(admin: Browser) -> None:
    row = make_source(name="Shop")
    form = {"name": "Mine", "path": "/srv/mine.db", "version": "1"}
    admin.post(f"/sources/{row.id}", form | {"name": "Theirs"})
    page = admin.post(f"/sources/{row.id}", form, status=422)
    assert "Somebody else changed this source" in page.text
    assert _only()[0] == "Theirs"
    again = str(page.select_one("input[name=version]")["value"])
    admin.post(f"/sources/{row.id}", form | {"version": again})
    assert _only()[0] == "Mine"


def test_a_test_shows_its_result_in_place(admin: Browser, tmp_path: Path) -> None:
    row = make_source(config={"path": str(tmp_path / "dbackup.db")})
    strip = admin.htmx_post(f"/sources/{row.id}/test")
    assert strip.select_one(f"tr#source-{row.id}-test .strip")
    assert "SQLite 3." in strip.text
    assert "announce" in admin.last.headers["HX-Trigger"]
    closed = admin.htmx_get(f"/sources/{row.id}/test/close")
    assert closed.select_one(f"tr#source-{row.id}-test[hidden]")


def test_a_test_works_without_javascript(admin: Browser, tmp_path: Path) -> None:
    row = make_source(name="Shop", config={"path": str(tmp_path / "missing.db")})
    admin.post(f"/sources/{row.id}/test")
    assert re.search(r"Test of Shop failed\. .*missing\.db does not exist", admin.follow().text)


def test_a_draft_is_tested_without_being_stored(admin: Browser) -> None:
    strip = admin.htmx_post("/sources/test", POSTGRES)
    assert "Nothing answers at 127.0.0.1:1" in strip.text
    assert SECRET not in str(strip)
    page = admin.post("/sources/test", POSTGRES, status=200)
    assert "Nothing answers at 127.0.0.1:1" in page.text
    assert page.select_one("#name")["value"] == "Shop"
    assert BOOK.listed() == []


def test_a_draft_of_a_stored_source_uses_its_stored_password(
    admin: Browser, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    admin.post("/sources", POSTGRES | {"password": f"file:{key}"})
    (item,) = BOOK.listed()
    draft = POSTGRES | {"password": "", "row_id": str(item.row.id)}
    assert f"{key} cannot be read" in admin.htmx_post("/sources/test", draft).text


def test_a_draft_with_mistakes_is_not_tested(admin: Browser) -> None:
    part = admin.htmx_post("/sources/test", POSTGRES | {"host": ""}, status=422)
    assert "Not tested" in part.text
    assert admin.last.headers["HX-Retarget"] == "#connection-form"


def test_a_source_in_use_is_not_deleted_and_the_jobs_are_named(admin: Browser) -> None:
    row = make_source(name="Shop")
    make_job(name="Nightly", source_id=row.id)
    page = admin.get("/sources")
    assert "Used by Nightly" in page.text
    assert page.select_one(f"#delete-{row.id}") is None
    admin.post(f"/sources/{row.id}/delete")
    assert "Shop is used by “Nightly”" in admin.follow().text
    assert len(BOOK.listed()) == 1


def test_a_source_is_deleted_after_a_question(admin: Browser) -> None:
    row = make_source(name="Shop")
    page = admin.get("/sources")
    assert "Delete Shop?" in page.select_one(f"#delete-{row.id}").text
    admin.post(f"/sources/{row.id}/delete")
    assert "Shop deleted" in admin.follow().text
    assert BOOK.listed() == []


def test_what_is_gone_is_said(admin: Browser) -> None:
    assert "There is no such source" in admin.get("/sources/99", status=404).text


def test_a_type_of_another_version_does_not_break_the_list(admin: Browser) -> None:
    make_source(name="Old", type="oracle")
    assert "Old" in admin.get("/sources").text


def test_an_operator_tests_but_does_not_change(operator: Browser, tmp_path: Path) -> None:
    row = make_source(name="Shop", summary="/srv/shop.db", config={"path": "/srv/shop.db"})
    page = operator.get("/sources")
    assert "/srv/shop.db" in page.text
    assert page.select_one(f'form[action="/sources/{row.id}/test"]')
    assert page.select_one('a[href="/sources/new"]') is None
    operator.htmx_post(f"/sources/{row.id}/test")
    for path in ("/sources/new", f"/sources/{row.id}"):
        operator.get(path, status=403)
    for path in ("/sources", f"/sources/{row.id}", f"/sources/{row.id}/delete", "/sources/test"):
        operator.post(path, POSTGRES, status=403)


def test_a_viewer_reads_without_values(viewer: Browser) -> None:
    row = make_source(name="Shop", summary="/srv/shop.db")
    page = viewer.get("/sources")
    assert "Shop" in page.text
    assert "/srv/shop.db" not in page.text
    viewer.post(f"/sources/{row.id}/test", status=403)
