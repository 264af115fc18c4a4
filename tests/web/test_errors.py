"""Errors become pages that say what to do, or toasts."""

import json
from collections.abc import Callable

import pytest
from flask import Flask, abort
from sqlalchemy import select

from tests.browser import Browser
from webapp.core.errors import ConflictError, InvalidError, NotFoundError, SecretError
from webapp.models.delivery import EventRow
from webapp.services import system_errors
from webapp.services.transaction import reading


def raising(error: Exception) -> Callable[[], str]:
    def view() -> str:
        raise error

    return view


@pytest.fixture(autouse=True)
def _broken_pages(app: Flask) -> None:
    errors = {
        "gone": NotFoundError("The job was deleted."),
        "stale": ConflictError("Somebody was faster."),
        "wrong": InvalidError("Enter a name."),
        "sealed": SecretError("The key file is missing."),
        "bug": ZeroDivisionError("password=hunter2"),
    }
    for name, error in errors.items():
        app.add_url_rule(f"/raise/{name}", name, raising(error), methods=["GET", "POST"])
    app.add_url_rule("/raise/large", "large", lambda: abort(413))


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/raise/gone", 404, "The job was deleted."),
        ("/raise/stale", 409, "Somebody was faster."),
        ("/raise/wrong", 422, "Enter a name."),
        ("/raise/sealed", 422, "The key file is missing."),
        ("/raise/large", 413, "Send less at once."),
        ("/nowhere", 404, "Check the address"),
        ("/logout", 405, "use the button on the page"),
    ],
)
def test_an_error_is_a_page_in_words(admin: Browser, path: str, status: int, words: str) -> None:
    page = admin.get(path, status)
    assert words in page.main.text
    assert page.select_one("nav.sidebar") is not None


def test_for_htmx_an_error_is_a_toast_and_nothing_is_swapped(admin: Browser) -> None:
    admin.htmx_post("/raise/stale", status=409)
    toast = json.loads(admin.last.headers["HX-Trigger"])["toast"]
    assert toast["kind"] == "bad"
    assert "Somebody was faster." in toast["text"]
    assert admin.last.headers["HX-Reswap"] == "none"
    assert admin.last.data == b""


def test_an_unexpected_error_is_a_calm_page_and_a_system_error(admin: Browser) -> None:
    page = admin.get("/raise/bug", 500)
    assert "The error was recorded" in page.text
    assert "hunter2" not in str(page)
    assert "ZeroDivisionError" not in str(page)
    with reading() as session:
        event = session.scalars(select(EventRow).where(EventRow.type == "system_error")).one()
    assert event.payload["component"] == "Web page"


def test_the_calm_page_comes_even_when_reporting_fails(
    admin: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system_errors, "report", raising(OSError("disk full")))
    assert "The error was recorded" not in admin.get("/raise/gone", 404).text
    assert "Something went wrong" in admin.get("/raise/bug", 500).text


def test_the_calm_page_comes_without_a_database(
    app: Flask, settings: object, admin: Browser
) -> None:
    with reading() as session:
        session.connection().exec_driver_sql('ALTER TABLE "user" RENAME TO gone')
        session.commit()
    assert "Something went wrong" in admin.get("/profile", 500).text


def test_signed_out_people_see_errors_without_the_menu(browser: Browser) -> None:
    page = browser.get("/nowhere", 404)
    assert page.select_one("nav.sidebar") is None
    assert "There is nothing here" in page.h1.text
