"""Sessions on the server: the list, their ends, and asking for the password again."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import event as sql_event
from sqlalchemy import select

from tests.browser import PASSWORD, Browser
from tests.factories import make_user
from webapp.core import clock
from webapp.models import db
from webapp.models.security import UserSession
from webapp.models.user import Role
from webapp.services import users
from webapp.services.transaction import reading

PHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like "
    "Gecko) Version/18.5 Mobile/15E148 Safari/604.1"
)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    """Move the clock on from now."""
    start = clock.now()

    def set_clock(passed: timedelta) -> None:
        monkeypatch.setattr(clock, "now", lambda: start + passed)

    return set_clock


def stored() -> list[UserSession]:
    with reading() as session:
        return list(session.scalars(select(UserSession).order_by(UserSession.id)))


def token_of(browser: Browser) -> str:
    with browser.client.session_transaction() as cookie:
        return str(cookie["_user_id"])


def phone_of(app: Flask, email: str) -> Browser:
    browser = Browser(app)
    browser.post(
        "/login",
        {"email": email, "password": PASSWORD},
        headers={"User-Agent": PHONE},
        environ_base={"REMOTE_ADDR": "192.0.2.77"},
    )
    return browser


def test_the_profile_lists_where_one_is_signed_in(app: Flask, admin: Browser) -> None:
    phone_of(app, "mara@example.org")
    rows = admin.get("/profile").select("#sessions tbody tr")
    words = [" ".join(row.text.split()) for row in rows]
    assert len(words) == 2
    assert any("Safari 18 on iPhone" in each and "192.0.2.77" in each for each in words)
    assert sum("This one" in each for each in words) == 1


def test_the_cookie_s_token_is_stored_nowhere(admin: Browser) -> None:
    (row,) = stored()
    assert token_of(admin) not in str(vars(row))
    assert len(token_of(admin)) >= 43


def test_one_session_can_be_ended(app: Flask, admin: Browser) -> None:
    phone = phone_of(app, "mara@example.org")
    phone.get("/profile")
    admin.post(f"/profile/sessions/{stored()[1].id}/end")
    phone.get("/profile", 303)
    admin.get("/profile")


def test_signing_out_everywhere_else_leaves_this_one(app: Flask, admin: Browser) -> None:
    phone = phone_of(app, "mara@example.org")
    admin.post("/profile/sessions/end")
    phone.get("/profile", 303)
    assert "1 other session ended" in admin.follow().text
    assert len(stored()) == 1


def test_nobody_ends_the_session_of_somebody_else(admin: Browser, viewer: Browser) -> None:
    viewer.post(f"/profile/sessions/{stored()[0].id}/end", status=404)
    admin.get("/profile")


def test_an_admin_can_sign_somebody_out_everywhere(admin: Browser, viewer: Browser) -> None:
    vera = next(user for user in users.every_user() if user.role == Role.VIEWER)
    admin.post(f"/users/{vera.id}/sessions/end")
    viewer.get("/profile", 303)


def test_signing_out_ends_the_session_on_the_server(admin: Browser) -> None:
    token = token_of(admin)
    with admin.client.session_transaction() as cookie:
        kept = dict(cookie)
    admin.post("/logout")
    assert stored() == []
    with admin.client.session_transaction() as cookie:
        cookie.update(kept)  # the very cookie that was good a moment ago
    assert token_of(admin) == token
    admin.get("/profile", 303)


def test_each_sign_in_has_a_token_of_its_own(app: Flask, admin: Browser) -> None:
    first = token_of(admin)
    admin.post("/logout")
    admin.sign_in("mara@example.org")
    assert token_of(admin) != first


def test_a_new_password_changes_the_token_and_ends_the_others(app: Flask, admin: Browser) -> None:
    phone, before = phone_of(app, "mara@example.org"), token_of(admin)
    new = "seven green lanterns"
    admin.post("/profile/password", {"present": PASSWORD, "new": new, "repeated": new})
    assert token_of(admin) != before
    admin.get("/profile")
    phone.get("/profile", 303)


def test_a_page_view_writes_at_most_once_a_minute(
    admin: Browser, later: Callable[[timedelta], None]
) -> None:
    begun: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        begun.append(statement)

    sql_event.listen(db.engine, "before_cursor_execute", note)
    later(timedelta(seconds=50))
    admin.get("/profile")
    assert [each for each in begun if each.startswith(("UPDATE", "INSERT", "DELETE"))] == []
    later(timedelta(seconds=61))
    admin.get("/profile")
    admin.get("/profile")
    assert len([each for each in begun if each.startswith("UPDATE user_session")]) == 1


def test_a_page_asks_once_for_session_and_account(admin: Browser) -> None:
    asked: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if "user_session" in statement:
            asked.append(statement)

    admin.get("/settings/notifications")
    sql_event.listen(db.engine, "before_cursor_execute", note)
    admin.get("/settings/notifications")
    (statement,) = asked
    with db.engine.connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", ("x", "x")).all()
    steps = [row[3] for row in plan]
    assert not [step for step in steps if step.startswith("SCAN") and "CONSTANT" not in step], steps


# asking for the password again ------------------------------------------------------------------


def test_a_sensitive_change_asks_for_the_password_after_ten_minutes(
    admin: Browser, later: Callable[[timedelta], None]
) -> None:
    later(timedelta(minutes=9, seconds=59))
    admin.get("/users/new")
    later(timedelta(minutes=10))
    admin.get("/users/new", 303)
    assert admin.last.location == "/profile/confirm?next=/users/new"
    admin.follow()
    admin.post("/profile/confirm", {"present": PASSWORD, "next": "/users/new"})
    assert admin.last.location == "/users/new"
    admin.follow()


def test_what_is_sensitive_asks_again(admin: Browser, later: Callable[[timedelta], None]) -> None:
    views = admin.app.view_functions
    asking = {name for name, view in views.items() if hasattr(view, "needs_confirmation")}
    assert asking == {
        *("profile.end_session", "profile.end_sessions"),  # OWASP ASVS 5.0, 7.5.2
        *("settings_config.create", "settings_config.index"),
        *("settings_config.save_plan", "security.save"),
        *("second_factor.disable", "second_factor.enable"),
        *("second_factor.index", "second_factor.new_codes"),
        *("users.edit", "users.end_sessions", "users.new"),
        *("users.reset_second_factor", "users.set_active"),
    }
    form = {"csrf_token": admin.token()}
    later(timedelta(minutes=11))
    for rule in admin.app.url_map.iter_rules():
        if rule.endpoint in asking:
            path = str(rule).replace("<int:user_id>", "1").replace("<int:session_id>", "1")
            for method in (rule.methods or set()) & {"GET", "POST"}:
                admin._open(path, method=method, data=form if method == "POST" else None)
                assert admin.last.status_code == 303, path
                assert admin.last.location.startswith("/profile/confirm"), path


def test_the_password_given_again_makes_the_old_cookie_worthless(
    admin: Browser, later: Callable[[timedelta], None]
) -> None:
    copied = admin.client.get_cookie("dbackup_session")
    assert copied is not None
    form = {"csrf_token": admin.token(), "name": "Mara", "email": "mara@example.org"}
    later(timedelta(minutes=11))
    admin.post("/profile/confirm", {"present": PASSWORD})
    thief = Browser(admin.app)
    thief.client.set_cookie("dbackup_session", copied.value)
    thief.get("/profile", 303)
    assert thief.last.location.startswith("/login")
    admin.post("/profile", form | {"timezone": "", "theme": "auto"})  # a page that was open before
    admin.get("/users/new")


def test_a_poll_that_comes_late_does_not_end_the_session_that_was_just_confirmed(
    admin: Browser, later: Callable[[timedelta], None]
) -> None:
    """It was sent before the new cookie arrived, and its answer may come after it."""
    before = admin.client.get_cookie("dbackup_session")
    assert before is not None
    later(timedelta(minutes=11))
    admin.post("/profile/confirm", {"present": PASSWORD})
    other_tab = Browser(admin.app)
    other_tab.client.set_cookie("dbackup_session", before.value)
    other_tab.htmx_get("/runs", status=401)
    assert "Set-Cookie" not in other_tab.last.headers
    page = other_tab.get(other_tab.last.headers["HX-Redirect"])
    assert "Your session has ended" in page.text
    assert "Your session has ended" not in other_tab.get("/login").text


def test_a_change_that_was_sent_too_late_is_not_made(
    admin: Browser, later: Callable[[timedelta], None]
) -> None:
    vera = make_user(email="vera@example.org")
    later(timedelta(minutes=11))
    admin.post(
        f"/users/{vera.id}/active",
        {"active": "0"},
        headers={"Referer": "http://localhost/users"},
    )
    assert admin.last.location == "/profile/confirm?next=/users"
    assert "Nothing was saved yet" in admin.follow().text
    assert users.get(vera.id).active


def test_the_confirmation_cannot_lead_off_the_site(admin: Browser) -> None:
    admin.post("/profile/confirm", {"present": PASSWORD, "next": "https://evil.example/"})
    assert admin.last.location == "/profile"


def test_ones_own_email_is_sensitive_and_the_rest_of_the_profile_is_not(
    admin: Browser, later: Callable[[timedelta], None]
) -> None:
    later(timedelta(minutes=11))
    form = {"name": "Mara L", "email": "mara@example.org", "timezone": "", "theme": "dark"}
    admin.post("/profile", form)
    assert admin.last.location == "/profile"
    admin.post("/profile", form | {"email": "new@example.org"})
    assert admin.last.location.startswith("/profile/confirm")
    assert users.every_user()[0].email == "mara@example.org"


def test_after_a_new_password_one_can_sign_in_with_it(app: Flask, admin: Browser) -> None:
    users.reset_password("mara@example.org", "seven green lanterns")
    admin.get("/profile", 303)
    fresh = Browser(app)
    fresh.sign_in("mara@example.org", "seven green lanterns")
    fresh.get("/profile")


def test_a_wrong_password_confirms_nothing(
    admin: Browser, later: Callable[[timedelta], None]
) -> None:
    later(timedelta(minutes=11))
    page = admin.post("/profile/confirm", {"present": "wrong password here"}, 422)
    assert "not your present password" in page.text
    admin.get("/users/new", 303)


@pytest.mark.postgres
def test_sessions_work_on_postgresql(postgres_app: Flask) -> None:
    make_user(role=Role.ADMIN, email="mara@example.org")
    browser = Browser(postgres_app)
    browser.sign_in("mara@example.org")
    browser.get("/profile")
    browser.post("/profile/sessions/end")
    browser.post("/logout")
    assert stored() == []
