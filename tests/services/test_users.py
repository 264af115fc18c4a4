"""Accounts below the pages."""

import threading
from collections.abc import Callable
from functools import partial

import pytest
from flask import Flask

from tests.browser import PASSWORD, Browser
from tests.factories import make_user
from webapp.core.errors import ConflictError, InvalidError, NotFoundError
from webapp.models.user import Role
from webapp.services import passwords, users
from webapp.services.users import Account, Origin

BY_MARA = Origin(name="Mara", ip_address="192.0.2.1", browser="Firefox 128 on Linux")


def test_a_name_is_one_line_of_text(app: Flask) -> None:
    account = Account(name=" Jonas\r\nBcc: x ", email="jonas@example.org", role=Role.VIEWER)
    assert users.create(account, PASSWORD, BY_MARA).name == "Jonas Bcc: x"


def test_the_password_is_stored_as_an_argon2id_hash(app: Flask) -> None:
    account = Account(name="Jonas", email="jonas@example.org", role=Role.VIEWER)
    stored = users.create(account, PASSWORD, BY_MARA).password_hash
    assert stored.startswith("$argon2id$")
    assert PASSWORD not in stored


def test_emails_that_differ_in_case_are_one(app: Flask) -> None:
    make_user(email="Jonas@example.org")
    account = Account(name="Jonas", email="jonas@EXAMPLE.org", role=Role.VIEWER)
    with pytest.raises(InvalidError) as caught:
        users.create(account, PASSWORD, BY_MARA)
    assert caught.value.field == "email"


def at_once(app: Flask, *calls: Callable[[], object]) -> list[str]:
    """Run the calls in threads that start together; return what was refused."""
    refused: list[str] = []
    start = threading.Barrier(len(calls))

    def run(call: Callable[[], object]) -> None:
        with app.app_context():
            start.wait()
            try:
                call()
            except ConflictError as error:
                refused.append(str(error))

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return refused


def two_admins_remove_each_other(app: Flask) -> None:
    both = [make_user(role=Role.ADMIN), make_user(role=Role.ADMIN)]
    refused = at_once(app, *(partial(users.set_active, user.id, False) for user in both))
    assert refused == [users.LAST_ADMIN]
    assert [user.active for user in users.every_user()].count(True) == 1


def two_people_set_up(app: Flask) -> None:
    refused = at_once(
        app,
        *(
            partial(
                users.create_first_admin,
                name=name,
                email=f"{name}@example.org",
                password=PASSWORD,
                timezone="UTC",
                code=None,
                is_local=True,
            )
            for name in ("a", "b")
        ),
    )
    assert len(refused) == 1
    assert len(users.every_user()) == 1


def test_two_admins_who_remove_each_other_leave_one(app: Flask) -> None:
    two_admins_remove_each_other(app)


def test_two_people_who_set_up_at_once_make_one_admin(app: Flask) -> None:
    two_people_set_up(app)


@pytest.mark.postgres
def test_two_admins_leave_one_on_postgresql(postgres_app: Flask) -> None:
    two_admins_remove_each_other(postgres_app)


@pytest.mark.postgres
def test_two_setups_make_one_admin_on_postgresql(postgres_app: Flask) -> None:
    two_people_set_up(postgres_app)


@pytest.mark.postgres
def test_the_pages_work_on_postgresql(postgres_app: Flask) -> None:
    make_user(role=Role.ADMIN, email="mara@example.org")
    browser = Browser(postgres_app)
    browser.sign_in("MARA@example.org")
    for path in ("/profile", "/users", "/settings/general"):
        browser.get(path)


def test_a_password_is_reset_by_email_and_ends_sessions(app: Flask) -> None:
    user = make_user(email="jonas@example.org")
    users.reset_password(" JONAS@example.org", "seven green lanterns")
    changed = users.get(user.id)
    assert passwords.matches(changed.password_hash, "seven green lanterns")
    assert changed.session_version == user.session_version + 1


def test_nobody_to_reset_is_said(app: Flask) -> None:
    with pytest.raises(NotFoundError, match=r"nobody@example\.org"):
        users.reset_password("nobody@example.org", PASSWORD)


OWN = ("mara@example.org", "Mara Lindqvist")


@pytest.mark.parametrize("own", [OWN[0], OWN[1]])
def test_ones_own_name_and_email_are_no_password_wherever_one_is_set(app: Flask, own: str) -> None:
    account = Account(name=OWN[1], email=OWN[0], role=Role.ADMIN)
    origin = Origin(name="x", ip_address="", browser="")
    setup = {"timezone": "UTC", "code": None, "is_local": True}
    ways: list[Callable[[], object]] = [
        lambda: users.create_first_admin(name=OWN[1], email=OWN[0], password=own, **setup),  # type: ignore[arg-type]  # both kinds
        lambda: users.create(account, own, origin),
    ]
    for way in ways:
        with pytest.raises(InvalidError, match="name or email"):
            way()
    mara = make_user(role=Role.ADMIN, name=OWN[1], email=OWN[0])
    for way in (
        lambda: users.update(mara.id, account, version=mara.version, password=own),
        lambda: users.change_password(mara.id, present=PASSWORD, new=own),
        lambda: users.reset_password(mara.email, own),
    ):
        with pytest.raises(InvalidError, match="name or email"):
            way()
