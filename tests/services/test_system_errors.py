"""Unexpected errors are announced once, then counted."""

from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from tests.factories import make_user
from webapp.core import clock
from webapp.core.errors import InvalidError
from webapp.models.delivery import EventRow
from webapp.services import system_errors
from webapp.services.transaction import reading, transaction


@pytest.fixture(autouse=True)
def _in_context(app: Flask) -> None:
    """Every test here needs tables."""


def fail() -> Exception:
    try:
        raise ValueError("the disk is on fire")
    except ValueError as error:
        return error


def announced() -> list[tuple[str, int]]:
    with reading() as session:
        events = session.scalars(select(EventRow).order_by(EventRow.id))
        return [(event.payload["error"], event.payload["times_seen"]) for event in events]


def test_the_first_is_announced_at_once() -> None:
    system_errors.report("Scheduler", fail())
    assert announced() == [("ValueError: the disk is on fire", 1)]


def test_repetitions_within_the_hour_are_counted_and_followed_up_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for _ in range(5):
        system_errors.report("Scheduler", fail())
    system_errors.follow_up()
    assert len(announced()) == 1, "the hour is not over"
    real = clock.now
    monkeypatch.setattr(clock, "now", lambda: real() + timedelta(minutes=61))
    system_errors.follow_up()
    system_errors.follow_up()
    assert [times for _, times in announced()] == [1, 5]


def test_a_single_error_has_no_follow_up(monkeypatch: pytest.MonkeyPatch) -> None:
    system_errors.report("Scheduler", fail())
    real = clock.now
    monkeypatch.setattr(clock, "now", lambda: real() + timedelta(minutes=61))
    system_errors.follow_up()
    assert len(announced()) == 1
    system_errors.report("Scheduler", fail())
    assert len(announced()) == 2, "a new hour, a new announcement"


def test_different_components_are_different_errors() -> None:
    system_errors.report("Scheduler", fail())
    system_errors.report("Web page", fail())
    assert len(announced()) == 2


def test_reporting_within_a_transaction_does_not_raise() -> None:
    with transaction():
        system_errors.report("Scheduler", fail())
    assert announced() == []


def test_an_error_of_the_database_names_no_value() -> None:
    make_user(email="mara@example.org")
    with pytest.raises(IntegrityError) as caught:
        make_user(email="mara@example.org")
    assert "UNIQUE" in str(caught.value)
    assert "argon2" not in str(caught.value)
    assert "mara@" not in str(caught.value)


def test_our_own_errors_are_told_in_their_words_and_others_with_their_kind() -> None:
    ours = InvalidError("The destination was deleted. Choose another one.")
    assert system_errors.describe(ours) == "The destination was deleted. Choose another one."
    assert system_errors.describe(KeyError("job")) == "KeyError: 'job'"
