"""One's own account."""

import pytest
from flask import Flask
from sqlalchemy import select

from tests.browser import PASSWORD, Browser
from tests.factories import make_user
from webapp.models.user import User
from webapp.services.transaction import reading

VALUES = {"name": "Mara L.", "email": "mara@new.example", "timezone": "Asia/Tokyo", "theme": "dark"}
NEW = "seven green lanterns"


def mara() -> User:
    with reading() as session:
        return session.scalars(select(User).where(User.name.startswith("Mara"))).one()


def test_the_profile_is_there_after_saving(admin: Browser) -> None:
    admin.post("/profile", VALUES)
    page = admin.follow()
    assert page.select_one("#name")["value"] == "Mara L."
    assert page.select_one("#email")["value"] == "mara@new.example"
    assert page.select_one("#timezone option[selected]")["value"] == "Asia/Tokyo"
    assert page.html["data-bs-theme"] == "dark"


def test_times_are_shown_in_the_zone_of_the_profile(admin: Browser) -> None:
    admin.post("/profile", VALUES)
    assert "+09:00" in admin.get("/users").select_one("time")["datetime"]
    admin.post("/profile", VALUES | {"timezone": ""})
    assert "+00:00" in admin.get("/users").select_one("time")["datetime"]


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("name", "  ", "Enter your name"),
        ("email", "mara", "Enter an email address"),
        ("email", "a b@example.org", "Enter an email address"),
        ("email", "Else@Example.org", "Another account has this email"),
        ("timezone", "Mars/Olympus", "Not a valid choice"),
        ("theme", "pink", "Not a valid choice"),
    ],
)
def test_a_wrong_value_is_named_at_its_field(
    admin: Browser, field: str, value: str, words: str
) -> None:
    make_user(email="else@example.org")
    page = admin.post("/profile", VALUES | {field: value}, 422)
    assert words in page.select_one(f"#{field}-error").text
    assert mara().email == "mara@example.org"


def test_the_theme_button_returns_to_the_page(admin: Browser) -> None:
    admin.post("/profile/theme", {"theme": "dark", "next": "/users"})
    assert admin.last.location == "/users"
    assert mara().theme == "dark"
    words = admin.follow().select_one("#account-menu").text
    assert "Use light theme" in words
    assert "Use dark theme" not in words


def test_an_unknown_theme_is_refused(admin: Browser) -> None:
    admin.post("/profile/theme", {"theme": "pink"}, 422)
    assert mara().theme == "auto"


def test_a_new_password_ends_the_other_sessions_and_keeps_this_one(
    app: Flask, admin: Browser
) -> None:
    other = Browser(app)
    other.sign_in("mara@example.org")
    admin.post("/profile/password", {"present": PASSWORD, "new": NEW, "repeated": NEW})
    assert "signed out everywhere else" in admin.follow().text
    other.get("/profile", 303)
    Browser(app).sign_in("mara@example.org", NEW)


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"present": "not this one"}, "present", "not your present password"),
        ({"new": "short", "repeated": "short"}, "new", "at least 12 characters"),
        ({"repeated": "something else"}, "repeated", "not the same password"),
        ({"new": "Password1234!", "repeated": "Password1234!"}, "new", "tried first"),
    ],
)
def test_a_password_is_only_changed_when_all_is_right(
    admin: Browser, changes: dict[str, str], field: str, words: str
) -> None:
    before = mara().password_hash
    data = {"present": PASSWORD, "new": NEW, "repeated": NEW} | changes
    page = admin.post("/profile/password", data, 422)
    assert words in page.select_one(f"#{field}-error").text
    assert page.select_one("#name")["value"] == "Mara Lindqvist"
    assert mara().password_hash == before
