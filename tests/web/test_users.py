"""The users page."""

import pytest
from flask import Flask
from sqlalchemy import select

from tests.browser import PASSWORD, Browser
from tests.factories import make_user
from webapp.models.delivery import EventRow
from webapp.models.user import Role
from webapp.services import users
from webapp.services.transaction import reading

NEW = {
    "name": "Jonas Berg",
    "email": "jonas@example.org",
    "role": "operator",
    "password": "seven green lanterns",
}


def fields_of(browser: Browser, user_id: int) -> dict[str, str]:
    page = browser.get(f"/users/{user_id}")
    checked = page.select_one("input[name=role][checked]")
    return {
        "name": page.select_one("#name")["value"],
        "email": page.select_one("#email")["value"],
        "version": page.select_one("#version")["value"],
        "role": checked["value"],
        "active": "y" if page.select_one("#active").has_attr("checked") else "",
    }


def test_a_new_user_can_sign_in_and_is_announced(app: Flask, admin: Browser) -> None:
    admin.post("/users/new", NEW)
    assert "jonas@example.org" in admin.follow().text
    Browser(app).sign_in("jonas@example.org", NEW["password"])
    with reading() as session:
        event = session.scalars(select(EventRow).where(EventRow.type == "user_created")).one()
    assert event.payload["created_by"] == "Mara Lindqvist"
    assert event.payload["ip_address"] == "127.0.0.1"
    assert event.payload["browser"].startswith("Werkzeug")


def test_a_refused_user_is_not_announced(admin: Browser) -> None:
    make_user(email="JONAS@example.org")
    page = admin.post("/users/new", NEW, 422)
    assert "Another account has this email" in page.select_one("#email-error").text
    with reading() as session:
        kinds = set(session.scalars(select(EventRow.type)))
    assert kinds == {"user_login"}


def test_an_edit_is_there_after_saving(app: Flask, admin: Browser) -> None:
    user = make_user(role=Role.VIEWER)
    admin.post(f"/users/{user.id}", fields_of(admin, user.id) | {"role": "operator", "name": "Neo"})
    saved = users.get(user.id)
    assert (saved.name, saved.role, saved.active) == ("Neo", Role.OPERATOR, True)


def test_a_new_password_by_an_admin_ends_the_persons_sessions(app: Flask, admin: Browser) -> None:
    user = make_user(email="vera@example.org")
    hers = Browser(app)
    hers.sign_in("vera@example.org")
    admin.post(f"/users/{user.id}", fields_of(admin, user.id) | {"password": NEW["password"]})
    hers.get("/profile", 303)
    hers.sign_in("vera@example.org", NEW["password"])


def test_without_a_new_password_the_present_one_stays(app: Flask, admin: Browser) -> None:
    user = make_user(email="vera@example.org")
    admin.post(f"/users/{user.id}", fields_of(admin, user.id))
    Browser(app).sign_in("vera@example.org", PASSWORD)


def test_an_admin_who_resets_their_own_password_stays_signed_in(admin: Browser) -> None:
    own = users.every_user()[0]
    admin.post(f"/users/{own.id}", fields_of(admin, own.id) | {"password": NEW["password"]})
    admin.get("/users")


def test_a_stale_edit_is_refused_with_words(admin: Browser) -> None:
    user = make_user(name="Before")
    seen = fields_of(admin, user.id)
    admin.post(f"/users/{user.id}", seen | {"name": "First"})
    page = admin.post(f"/users/{user.id}", seen | {"name": "Second"}, 409)
    assert "Somebody else changed this account" in page.select_one("#form-errors").text
    assert users.get(user.id).name == "First"


@pytest.mark.parametrize("change", [{"role": "operator"}, {"active": ""}])
def test_the_last_active_admin_stays_one(admin: Browser, change: dict[str, str]) -> None:
    own = users.every_user()[0]
    make_user(role=Role.ADMIN, active=False)
    page = admin.post(f"/users/{own.id}", fields_of(admin, own.id) | change, 409)
    assert "last active admin" in page.select_one("#form-errors").text
    assert users.get(own.id).role == Role.ADMIN


def test_the_last_active_admin_cannot_be_deactivated_from_the_list(admin: Browser) -> None:
    own = users.every_user()[0]
    admin.post(f"/users/{own.id}/active", {"active": "0"})
    assert "last active admin" in admin.follow().select_one(".callout-bad").text
    assert users.get(own.id).active


def test_one_of_two_admins_may_go(admin: Browser) -> None:
    other = make_user(role=Role.ADMIN)
    admin.post(f"/users/{other.id}/active", {"active": "0"})
    assert not users.get(other.id).active
    admin.post(f"/users/{other.id}/active", {"active": "1"})
    assert users.get(other.id).active


@pytest.mark.parametrize("path", ["/users", "/users/new", "/users/1"])
def test_only_admins_see_users(operator: Browser, viewer: Browser, path: str) -> None:
    operator.get(path, 403)
    viewer.get(path, 403)
    assert viewer.get("/profile").find("a", href="/users") is None


def test_an_unknown_user_is_a_page_that_says_so(admin: Browser) -> None:
    assert "There is no such account" in admin.get("/users/999", 404).text
