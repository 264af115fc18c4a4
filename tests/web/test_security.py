"""What every answer says about its own safety."""

from pathlib import Path

import pytest
from flask import Flask

from tests.browser import Browser
from tests.conftest import make_settings
from webapp.app import create_app
from webapp.core.settings import HTMX_INTEGRITY, HTMX_URL
from webapp.web.security import VENDORED_HTMX


def policy(browser: Browser) -> dict[str, list[str]]:
    parts = browser.last.headers["Content-Security-Policy"].split("; ")
    return {name: values for name, *values in (part.split() for part in parts)}


def test_only_our_own_files_and_the_one_htmx_file_may_run(admin: Browser) -> None:
    admin.get("/profile")
    found = policy(admin)
    assert found["default-src"] == ["'self'"]
    assert found["script-src"] in (["'self'", HTMX_URL], ["'self'"])
    assert found["frame-ancestors"] == ["'none'"]
    assert "unsafe" not in str(found)


def test_the_other_headers_are_on_every_answer(browser: Browser) -> None:
    for path, status in (("/login", 200), ("/nowhere", 404), ("/healthz", 200)):
        browser.get(path, status)
        headers = browser.last.headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["X-Frame-Options"] == "DENY"
        assert "camera=()" in headers["Permissions-Policy"]


def test_pages_are_not_cached_and_vary_on_htmx(admin: Browser) -> None:
    admin.get("/profile")
    assert admin.last.headers["Cache-Control"] == "no-store"
    assert "HX-Request" in admin.last.headers["Vary"]


def test_files_are_cached_by_their_content(browser: Browser) -> None:
    page = browser.get("/login")
    sheets = [link["href"] for link in page.select("link[rel=stylesheet]")]
    assert len(sheets) == 3
    for address in sheets:
        browser._open(address, method="GET", buffered=True)
        assert browser.last.status_code == 200
        assert "immutable" in browser.last.headers["Cache-Control"]


def test_htmx_comes_from_the_cdn_with_its_hash(app: Flask, browser: Browser) -> None:
    script = browser.get("/login").select_one("script[integrity]")
    assert script["integrity"] == HTMX_INTEGRITY
    assert script["src"] in (HTMX_URL, f"/static/{VENDORED_HTMX}")
    assert script["crossorigin"] == "anonymous"


def test_another_address_of_htmx_is_used_and_allowed(tmp_path: Path) -> None:
    app = create_app(make_settings(tmp_path, htmx_url="https://mirror.example.org/htmx.js?x=1"))
    with app.app_context():
        browser = Browser(app)
        browser._open("/healthz", method="GET")
    assert policy(browser)["script-src"] == ["'self'", "https://mirror.example.org/htmx.js"]


def test_a_form_without_its_token_is_refused_with_a_page_that_says_what_to_do(
    browser: Browser,
) -> None:
    browser._open("/login", method="POST", data={"email": "else@example.org", "password": "x"})
    page = browser._checked(400)
    assert "Nothing was saved. Go back, reload the page and send the form again." in page.text


def test_htmx_without_its_token_gets_a_toast(admin: Browser) -> None:
    admin._open(
        "/profile/theme", method="POST", data={"theme": "dark"}, headers={"HX-Request": "true"}
    )
    assert admin.last.status_code == 400
    assert "reload the page" in admin.last.headers["HX-Trigger"]
    assert admin.last.headers["HX-Reswap"] == "none"


@pytest.mark.parametrize("header", ["X-Forwarded-Host", "X-Forwarded-Proto"])
def test_forwarding_headers_of_strangers_are_ignored(browser: Browser, header: str) -> None:
    browser._open("/login", method="GET", headers={header: "https"})
    assert browser.last.request.scheme == "http"
    assert browser.last.status_code == 200
