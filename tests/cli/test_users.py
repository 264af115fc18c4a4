"""dbackup users."""

import json

from tests.factories import make_user
from webapp.models.user import Role
from webapp.services import passwords, users

GOOD = "winter umbrella 42 zinc"


def test_an_account_is_added_with_the_password_from_standard_input(dbackup) -> None:
    result = dbackup(
        "users", "add", "ada@example.org", "--role", "admin", "--password-stdin", stdin=f"{GOOD}\n"
    )
    assert result.exit_code == 0, result.stderr
    (user,) = users.every_user()
    assert (user.email, user.role) == ("ada@example.org", Role.ADMIN)
    assert passwords.matches(user.password_hash, GOOD)


def test_a_password_on_the_command_line_is_refused(dbackup) -> None:
    result = dbackup("users", "add", "ada@example.org", "--password", GOOD)
    assert result.exit_code == 2
    assert users.every_user() == []


def test_a_weak_password_is_refused_in_one_line(dbackup) -> None:
    result = dbackup("users", "add", "ada@example.org", "--password-stdin", stdin="short\n")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert users.every_user() == []


def test_a_new_password_ends_the_sessions_of_its_account(dbackup) -> None:
    before = make_user(email="ada@example.org")
    result = dbackup("users", "password", "Ada@example.org", "--password-stdin", stdin=f"{GOOD}\n")
    assert result.exit_code == 0, result.stderr
    after = users.get(before.id)
    assert passwords.matches(after.password_hash, GOOD)
    assert after.session_version > before.session_version


def test_the_password_of_nobody_cannot_be_set(dbackup) -> None:
    result = dbackup("users", "password", "no@example.org", "--password-stdin", stdin=f"{GOOD}\n")
    assert result.exit_code == 1
    assert "no@example.org" in result.stderr


def test_the_list_as_json_holds_no_hashes(dbackup) -> None:
    make_user(email="ada@example.org", role=Role.OPERATOR)
    result = dbackup("users", "list", "--json")
    (entry,) = json.loads(result.stdout)
    assert (entry["email"], entry["role"], entry["active"]) == ("ada@example.org", "operator", True)
    assert "argon2" not in result.stdout
