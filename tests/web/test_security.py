"""What every answer says about its own safety."""

from pathlib import Path

import pytest
from flask import Flask, request

from tests.browser import Browser
from tests.conftest import make_settings
from webapp.app import create_app
from webapp.core.settings import HTMX_INTEGRITY, HTMX_URL
from webapp.web import visitor
from webapp.web.security import VENDORED_HTMX


def policy(browser: Browser) -> dict[str, list[str]]:
    parts = browser.last.headers["Content-Security-Policy"].split("; ")
    return {name: values for name, *values in (part.split() for part in parts)}


def test_only_our_own_files_and_the_one_htmx_file_may_run(admin: Browser) -> None:
    admin.get("/profile")
    found = policy(admin)
    assert found.pop("script-src") in (["'self'", HTMX_URL], ["'self'"])
    assert found == {
        "default-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }


def test_the_other_headers_are_on_every_answer(browser: Browser) -> None:
    for path, status in (("/login", 200), ("/nowhere", 404), ("/healthz", 200)):
        browser.get(path, status)
        headers = browser.last.headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "Content-Security-Policy" in headers
        assert "camera=()" in headers["Permissions-Policy"]


def test_pages_are_not_cached_and_vary_on_htmx(admin: Browser) -> None:
    admin.get("/profile")
    assert admin.last.headers["Cache-Control"] == "no-store"
    assert "HX-Request" in admin.last.headers["Vary"]


def test_an_error_is_not_cached_where_files_are(admin: Browser) -> None:
    for path in ("/static/nothing.css", "/static/nothing.css?v=1", "/bootstrap/static/nothing.css"):
        admin.get(path, 404)
        assert admin.last.headers["Cache-Control"] == "no-store"


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


# TLS and proxies --------------------------------------------------------------------------------


def test_https_is_demanded_for_a_year_once_it_was_used(browser: Browser) -> None:
    browser._open("/login", method="GET", base_url="https://localhost")
    assert browser.last.headers["Strict-Transport-Security"] == "max-age=31536000"
    browser.get("/login")
    assert "Strict-Transport-Security" not in browser.last.headers


def test_no_page_may_use_what_the_product_does_not_need(browser: Browser) -> None:
    browser.get("/login")
    policy_ = browser.last.headers["Permissions-Policy"].split(", ")
    assert {"camera=()", "microphone=()", "geolocation=()", "usb=()", "serial=()"} <= set(policy_)
    assert all(each.endswith("=()") for each in policy_)
    assert browser.last.headers["Cross-Origin-Resource-Policy"] == "same-origin"


@pytest.mark.parametrize(
    ("hops", "forwarded", "address"),
    [
        (0, "198.51.100.1", "127.0.0.1"),
        (1, "198.51.100.1", "198.51.100.1"),
        (1, "10.0.0.1, 192.0.2.1, 198.51.100.1", "198.51.100.1"),
        (2, "10.0.0.1, 192.0.2.1, 198.51.100.1", "192.0.2.1"),
        (2, "198.51.100.1", "127.0.0.1"),
        (1, None, "127.0.0.1"),
        (1, "198.51.100.1:50123", "198.51.100.1"),
        (1, "[2001:db8::7]:50123", "2001:db8::7"),
        (1, "[2001:db8::7]", "2001:db8::7"),
        (1, "2001:db8::7", "2001:db8::7"),
    ],
)
def test_only_what_trusted_proxies_added_is_believed(
    tmp_path: Path, hops: int, forwarded: str | None, address: str
) -> None:
    app = create_app(make_settings(tmp_path, trusted_proxies=hops))
    seen = []

    @app.before_request
    def note() -> None:
        seen.append((visitor.address(), request.is_secure))

    headers = {"X-Real-IP": "203.0.113.9", "Forwarded": "for=203.0.113.9;proto=https"}
    if forwarded:
        headers["X-Forwarded-For"] = forwarded
    with app.app_context():
        app.test_client().get("/healthz", headers=headers)
    assert seen == [(address, False)]
