"""Forms of configurations with secrets: what is kept, what is removed, what goes nowhere else."""

from typing import ClassVar

import pytest
from werkzeug.datastructures import MultiDict
from wtforms import StringField

from webapp.core.form_fields import LARGEST, ConfigForm, NumberField, SecretField, whole

STORED = {"host": "db.lan", "password": "tall ships", "note": "old"}


class Connection(ConfigForm):
    """A server with a password that it cannot do without, and a note that it can."""

    bound_to: ClassVar[tuple[str, ...]] = ("host",)

    host = StringField("Host")
    password = SecretField("Password", required=True)
    note = SecretField("Note")


def form(**typed: str) -> Connection:
    return Connection(MultiDict({"host": "db.lan"} | typed), stored=STORED)


def test_a_blank_secret_keeps_the_stored_one_and_a_box_removes_an_optional_one() -> None:
    assert form().merged(STORED) == STORED
    cleared = form(**{"note-clear": "1"})
    assert cleared.validate()
    assert cleared.merged(STORED) == STORED | {"note": ""}


def test_a_required_secret_cannot_be_cleared_away() -> None:
    cleared = form(**{"password-clear": "1"})
    assert not cleared.validate()
    assert "password" in cleared.errors


def test_a_secret_is_entered_again_when_the_server_changes() -> None:
    assert form(host="DB.lan.").validate()
    moved = form(host="evil.example")
    assert not moved.validate()
    assert set(moved.errors) == {"password", "note"}


@pytest.mark.parametrize("wrong", ["env:A=B", "env:", "file:relative"])
def test_a_reference_must_look_like_one(wrong: str) -> None:
    assert not form(password=wrong).validate()
    assert form(password="env:DB_PASSWORD").validate()


def test_a_number_that_no_table_holds_is_the_nearest_one() -> None:
    class Numbers(ConfigForm):
        port = NumberField("Port")

    assert Numbers(MultiDict({"port": "9" * 30})).data == {"port": LARGEST}
    with pytest.raises(ValueError, match="too large"):
        whole("2147483648")
