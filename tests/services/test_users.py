"""Accounts below the pages."""

import threading

import pytest
from flask import Flask

from tests.browser import PASSWORD
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


def test_two_admins_who_remove_each_other_leave_one(app: Flask) -> None:
    both = [make_user(role=Role.ADMIN), make_user(role=Role.ADMIN)]
    refused: list[str] = []
    start = threading.Barrier(2)

    def deactivate(user_id: int) -> None:
        with app.app_context():
            start.wait()
            try:
                users.set_active(user_id, False)
            except ConflictError as error:
                refused.append(str(error))

    threads = [threading.Thread(target=deactivate, args=(user.id,)) for user in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 1
    assert [user.active for user in users.every_user()].count(True) == 1


def test_a_password_is_reset_by_email_and_ends_sessions(app: Flask) -> None:
    user = make_user(email="jonas@example.org")
    users.reset_password(" JONAS@example.org", "seven green lanterns")
    changed = users.get(user.id)
    assert passwords.matches(changed.password_hash, "seven green lanterns")
    assert users.for_session(user.id, 1) is None
    assert users.for_session(user.id, changed.session_version) is not None


def test_nobody_to_reset_is_said(app: Flask) -> None:
    with pytest.raises(NotFoundError, match=r"nobody@example\.org"):
        users.reset_password("nobody@example.org", PASSWORD)
