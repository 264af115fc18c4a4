"""How times and states are written."""

from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask

from webapp.core import clock
from webapp.models.delivery import State
from webapp.models.run import Outcome
from webapp.services import preferences
from webapp.web import filters

NOW = datetime(2026, 11, 17, 8, 39, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _now(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)
    preferences.save(instance_name="", base_url="", timezone="Europe/Berlin")


@pytest.mark.parametrize(
    ("passed", "words"),
    [
        (timedelta(0), "now"),
        (timedelta(seconds=12), "12 s ago"),
        (timedelta(minutes=3, seconds=59), "3 min ago"),
        (timedelta(hours=7), "7 h ago"),
        (timedelta(days=1), "1 day ago"),
        (timedelta(days=6, hours=23), "6 days ago"),
        (timedelta(days=15), "2 Nov"),
        (timedelta(days=380), "2 Nov 2025"),
        (-timedelta(minutes=2), "in 2 min"),
        (-timedelta(days=8), "25 Nov"),
    ],
)
def test_a_moment_is_said_as_people_say_it(app: Flask, passed: timedelta, words: str) -> None:
    with app.test_request_context():
        assert filters.relative(NOW - passed) == words


def test_the_exact_time_is_in_the_zone_of_the_instance(app: Flask) -> None:
    with app.test_request_context():
        assert filters.exact(NOW) == "17 Nov 2026, 09:39:12"
        assert filters.iso(NOW) == "2026-11-17T09:39:12+01:00"
        assert filters.zone_name(NOW) == "Europe/Berlin"


def test_the_day_is_the_readers_day(app: Flask) -> None:
    with app.test_request_context():
        assert filters.day(datetime(2026, 11, 1, 23, 30, tzinfo=UTC)) == "2 Nov"


@pytest.mark.parametrize("state", [*State, *Outcome])
def test_every_stored_state_has_its_word(state: str) -> None:
    assert state in filters.STATES


def test_numbers_have_units(app: Flask) -> None:
    template = "{{ 644100000|bytes }}, {{ 48|duration }}, {{ 182|milliseconds }}"
    assert app.jinja_env.from_string(template).render() == "644.1 MB, 48 s, 182 ms"
