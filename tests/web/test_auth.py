"""Setup, signing in and out, and sessions that end."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select, update

from tests.browser import PASSWORD, Browser
from tests.conftest import make_settings
from tests.factories import make_user
from webapp.app import create_app
from webapp.core import clock
from webapp.models import db
from webapp.models.delivery import EventRow
from webapp.models.user import Role, User
from webapp.services import preferences, setup_code, users
from webapp.services.transaction import reading, transaction
from webapp.web.login import safe_next

SETUP = {
    "name": "Mara Lindqvist",
    "email": "Mara@Example.org",
    "password": PASSWORD,
    "repeated": PASSWORD,
    "timezone": "Europe/Berlin",
}
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    """Set the clock to a fixed moment plus this much."""
    start = datetime(2026, 11, 17, 9, 0, tzinfo=UTC)

    def set_clock(passed: timedelta) -> None:
        monkeypatch.setattr(clock, "now", lambda: start + passed)

    set_clock(timedelta(0))
    return set_clock


def everyone() -> list[User]:
    with reading() as session:
        return list(session.scalars(select(User)))


# setup ------------------------------------------------------------------------------------------


def test_the_first_visit_leads_to_the_setup(app: Flask) -> None:
    browser = Browser(app)
    browser.get("/profile", 303)
    assert browser.last.location == "/setup"
    browser.get("/login", 303)
    assert browser.last.location == "/setup"
    assert browser.get("/setup").h1.text == "Create the first admin"


def test_setup_makes_an_admin_who_is_signed_in(app: Flask) -> None:
    browser = Browser(app)
    browser.post("/setup", SETUP)
    assert browser.last.location == "/"
    (user,) = everyone()
    assert preferences.current().timezone == "Europe/Berlin"
    assert (user.role, user.email) == (Role.ADMIN, "Mara@Example.org")
    assert "Mara Lindqvist" in browser.get("/profile").select_one(".who").text


def test_setup_is_closed_for_good_once_there_is_an_account(browser: Browser) -> None:
    browser.get("/setup", 303)
    assert browser.last.location == "/login"
    browser.post("/setup", SETUP, 404)
    assert len(everyone()) == 1


def test_setup_says_what_is_wrong_at_the_field(app: Flask) -> None:
    browser = Browser(app)
    page = browser.post("/setup", SETUP | {"password": "password1234", "repeated": "other"}, 422)
    assert "among those that are tried first" not in page.text
    assert "not the same password" in page.select_one("#repeated-error").text
    page = browser.post(
        "/setup", SETUP | {"password": "password1234", "repeated": "password1234"}, 422
    )
    assert "tried first" in page.select_one("#password-error").text
    assert page.select_one("#password")["aria-invalid"] == "true"
    assert not page.select_one("#password").get("value")
    assert everyone() == []


@pytest.mark.parametrize(
    ("address", "headers"),
    [
        ("192.0.2.7", {}),
        ("127.0.0.1", {"X-Forwarded-For": "192.0.2.7"}),
    ],
    ids=["another address", "behind a proxy"],
)
def test_setup_from_elsewhere_asks_for_the_code(
    app: Flask, address: str, headers: dict[str, str]
) -> None:
    browser = Browser(app)
    more = {"environ_base": {"REMOTE_ADDR": address}, "headers": headers}
    page = browser.post("/setup", SETUP, 422, **more)
    assert "not the code" in page.select_one("#code-error").text
    assert everyone() == []
    browser.post("/setup", SETUP | {"code": setup_code.current().lower()}, **more)
    assert len(everyone()) == 1


def test_setup_at_this_machine_needs_no_code(app: Flask) -> None:
    assert Browser(app).get("/setup").select_one("#code") is None


def test_a_server_that_listens_everywhere_asks_everybody_for_the_code(tmp_path: Path) -> None:
    app = create_app(make_settings(tmp_path, host="0.0.0.0"))
    with app.app_context():
        db.create_all()
        assert Browser(app).get("/setup").select_one("#code") is not None
        path = tmp_path / "setup_code"
        assert path.exists()
        assert setup_code.current() == path.read_text().strip()
        assert path.stat().st_mode & 0o777 == 0o600
        db.engine.dispose()


def test_the_code_is_removed_by_the_setup(app: Flask, tmp_path: Path) -> None:
    setup_code.current()
    Browser(app).post("/setup", SETUP)
    assert not (tmp_path / "setup_code").exists()


def test_the_list_of_rules_follows_the_typing(app: Flask) -> None:
    typed = {"password": PASSWORD, "repeated": ""}
    partial = Browser(app).htmx_post("/setup/password-check", typed)
    words = [item.text.strip() for item in partial.select("#pw-rules li")]
    assert words == [
        "Has at least 12 characters: met",
        "Is not a commonly used password: met",
        "Is typed the same way twice: not yet met",
    ]


# signing in -------------------------------------------------------------------------------------


def test_a_wrong_password_and_an_unknown_email_get_the_same_answer(browser: Browser) -> None:
    make_user(email="off@example.org", active=False)
    answers = {
        browser.post("/login", {"email": email, "password": word}, 422)
        .select_one("[role=alert]")
        .text
        for email, word in [
            ("else@example.org", "wrong password here"),
            ("nobody@example.org", PASSWORD),
            ("off@example.org", PASSWORD),
        ]
    }
    assert [answer.strip() for answer in answers] == [
        "That email and password do not match. Try again, or ask an admin to reset your password."
    ]


def test_a_refused_sign_in_keeps_the_email_and_not_the_password(browser: Browser) -> None:
    page = browser.post(
        "/login", {"email": "else@example.org", "password": "wrong-wrong-wrong"}, 422
    )
    assert page.select_one("#email")["value"] == "else@example.org"
    assert "wrong-wrong-wrong" not in str(page)


def test_the_email_is_compared_without_case(browser: Browser) -> None:
    browser.sign_in(" ELSE@example.org ")
    assert browser.last.location == "/"


def test_signing_in_publishes_user_login_with_address_and_browser(browser: Browser) -> None:
    browser.post(
        "/login",
        {"email": "else@example.org", "password": PASSWORD},
        headers={"User-Agent": FIREFOX},
        environ_base={"REMOTE_ADDR": "192.0.2.9"},
    )
    with reading() as session:
        (event,) = session.scalars(select(EventRow))
    assert event.type == "user_login"
    assert event.payload == {
        "user": "Somebody Else",
        "email": "else@example.org",
        "ip_address": "192.0.2.9",
        "browser": "Firefox 128 on Linux",
    }


def test_a_forged_forwarding_header_does_not_change_the_address(browser: Browser) -> None:
    browser.post(
        "/login",
        {"email": "else@example.org", "password": PASSWORD},
        headers={"X-Forwarded-For": "198.51.100.1"},
    )
    with reading() as session:
        assert session.scalars(select(EventRow)).one().payload["ip_address"] == "127.0.0.1"


def test_a_trusted_proxy_tells_the_address_and_https(tmp_path: Path) -> None:
    app = create_app(make_settings(tmp_path, trusted_proxies=1))
    with app.app_context():
        db.create_all()
        make_user(email="else@example.org")
        browser = Browser(app)
        page = browser.get("/login", x_forwarded_proto="https")
        token = str(page.select_one("[name=csrf_token]")["value"])
        browser.post(
            "/login",
            {"email": "else@example.org", "password": PASSWORD, "csrf_token": token},
            headers={
                "X-Forwarded-For": "203.0.113.5, 198.51.100.1",
                "X-Forwarded-Proto": "https",
                "Referer": "https://localhost/login",
            },
        )
        with reading() as session:
            event = session.scalars(select(EventRow)).one()
        assert event.payload["ip_address"] == "198.51.100.1"
        assert "Secure" in browser.last.headers["Set-Cookie"]
        db.engine.dispose()


def test_the_cookie_is_kept_from_scripts_and_other_sites(browser: Browser) -> None:
    browser.sign_in("else@example.org")
    cookies = browser.last.headers.getlist("Set-Cookie")
    for cookie in cookies:
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        assert "Secure" not in cookie  # plain http on loopback would lose it
    (present,) = [cookie for cookie in cookies if cookie.startswith("dbackup_session=")]
    assert "Expires" not in present


def test_over_https_cookies_are_bound_to_this_host(browser: Browser) -> None:
    page = browser.get("/login", base_url="https://localhost")
    token = str(page.select_one("[name=csrf_token]")["value"])
    browser.post(
        "/login",
        {"csrf_token": token, "email": "else@example.org", "password": PASSWORD},
        base_url="https://localhost",
        headers={"Referer": "https://localhost/"},
    )
    cookies = browser.last.headers.getlist("Set-Cookie")
    assert {cookie.partition("=")[0] for cookie in cookies} == {
        "__Host-dbackup_session",
        "__Host-dbackup_device",
    }
    for cookie in cookies:
        assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= set(cookie.split("; "))
        assert "Domain" not in cookie
    browser.get("/profile", base_url="https://localhost")


def test_a_cookie_from_an_unencrypted_way_opens_nothing_over_https(browser: Browser) -> None:
    browser.sign_in("else@example.org")
    browser.get("/profile")
    browser.get("/profile", 303, base_url="https://localhost")


def test_signing_in_starts_a_fresh_session(browser: Browser) -> None:
    before = browser.token()
    browser.sign_in("else@example.org")
    data = {"csrf_token": before, "theme": "dark"}
    browser.post("/profile/theme", data, 400)


@pytest.mark.parametrize(
    ("target", "goes_to"),
    [
        ("/users?page=2", "/users?page=2"),
        ("", "/"),
        ("//evil.example", "/"),
        ("///evil.example", "/"),  # no host to Python, one to browsers
        ("/\\evil.example", "/"),
        ("\\\\evil.example", "/"),
        ("https://evil.example/", "/"),
        ("javascript:alert(1)", "/"),
        ("/\tevil", "/"),
        ("/users\r\nX-Evil: 1", "/"),
        ("users", "/"),
    ],
)
def test_next_cannot_leave_the_site(target: str, goes_to: str) -> None:
    assert safe_next(target, "/") == goes_to


def test_after_signing_in_the_wanted_page_opens(browser: Browser) -> None:
    browser.get("/users?x=1", 303)
    page = browser.follow()
    target = page.select_one("input[name=next]")["value"]
    assert target == "/users?x=1"
    browser.sign_in("else@example.org", next=target)
    assert browser.last.location == "/users?x=1"


def test_htmx_is_sent_to_the_sign_in_and_back_to_its_page(browser: Browser) -> None:
    browser._open(
        "/users/1",
        method="POST",
        headers={"HX-Request": "true", "HX-Current-URL": "http://localhost/settings/general"},
    )
    assert browser.last.status_code == 401
    assert browser.last.headers["HX-Redirect"] == "/login?next=/settings/general"


def test_signing_out_ends_the_session(admin: Browser) -> None:
    admin.post("/logout")
    admin.get("/profile", 303)
    assert admin.last.location.startswith("/login")


def test_signing_out_by_a_link_is_not_possible(admin: Browser) -> None:
    admin.get("/logout", 405)
    admin.get("/profile")


# sessions that end ------------------------------------------------------------------------------


def test_an_idle_session_ends_and_says_so(
    browser: Browser, at: Callable[[timedelta], None]
) -> None:
    browser.sign_in("else@example.org")
    at(timedelta(hours=11, minutes=59))
    browser.get("/profile")
    at(timedelta(hours=23, minutes=58))
    browser.get("/profile")
    at(timedelta(hours=35, minutes=59))
    browser.get("/profile", 303)
    assert "Your session has ended" in browser.follow().text


def test_an_open_page_that_polls_does_not_keep_a_session_alive(
    browser: Browser, at: Callable[[timedelta], None]
) -> None:
    browser.sign_in("else@example.org")
    at(timedelta(hours=11))
    browser.htmx_get("/profile")
    at(timedelta(hours=12, minutes=1))
    browser.get("/profile", 303)


def test_a_remembered_session_survives_idleness_but_not_its_days(
    browser: Browser, at: Callable[[timedelta], None]
) -> None:
    browser.sign_in("else@example.org", remember="y")
    assert "Expires" in browser.last.headers["Set-Cookie"]
    at(timedelta(days=13))
    browser.get("/profile")
    at(timedelta(days=14))
    browser.get("/profile", 303)


def test_deactivation_ends_every_session_of_the_account(app: Flask, admin: Browser) -> None:
    vera = make_user(email="vera@example.org")
    hers = Browser(app)
    hers.sign_in("vera@example.org")
    users.set_active(vera.id, False)
    hers.get("/profile", 303)
    users.set_active(vera.id, True)
    hers.get("/profile", 303)


def test_an_account_that_is_off_opens_nothing_however_that_came(admin: Browser) -> None:
    with transaction() as session:  # as by hand in the database: no session was ended
        session.execute(update(User).values(active=False))
    admin.get("/profile", 303)


def test_a_session_of_a_removed_version_is_nobody(admin: Browser) -> None:
    with admin.client.session_transaction() as stored:
        stored["_user_id"] = "1:99"
    admin.get("/profile", 303)
    with admin.client.session_transaction() as stored:
        stored["_user_id"] = "x"
    admin.get("/profile", 303)
