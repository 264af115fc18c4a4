"""One truth for /readyz, the overview and the heartbeat."""

import sqlite3
import time
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import event, text

from tests.browser import Browser
from tests.factories import make_channel
from webapp.core import clock
from webapp.models import db
from webapp.models.delivery import Delivery, EventRow, State
from webapp.notify.events import BY_TYPE
from webapp.services import health, pulse
from webapp.services.pulse import Pulse
from webapp.services.transaction import transaction
from webapp.workers import runtime


def waiting(age: timedelta, state: State = State.RETRYING, **values: object) -> str:
    with transaction() as session:
        made = EventRow(type="user_login", payload=BY_TYPE["user_login"].sample().payload())
        session.add(made)
        session.flush()
        is_open = state in {State.QUEUED, State.SENDING, State.RETRYING}
        row = Delivery(
            event_id=made.id,
            state=state,
            channel_name="Ops alerts",
            channel_type="webhook",
            created_at=clock.now() - age,
            next_attempt_at=clock.now() + timedelta(hours=1) if is_open else None,
            **values,
        )
        session.add(row)
        session.flush()
        return row.id


def keys() -> list[str]:
    return [problem.key for problem in health.look()]


def test_nothing_is_wrong_with_a_quiet_installation(app: Flask, admin: Browser) -> None:
    assert health.look() == ()
    assert admin.get("/readyz").text == "ok\n"
    alarms = admin.get("/").select_one("#alarms")
    assert alarms is not None
    assert alarms.has_attr("hidden")


@pytest.mark.parametrize("state", [State.QUEUED, State.SENDING, State.RETRYING])
def test_a_message_that_waits_for_ten_minutes_counts_whatever_it_waits_for(
    app: Flask, state: State
) -> None:
    waiting(timedelta(minutes=10, seconds=1), state)
    assert keys() == ["waiting"]


def test_a_message_that_waits_for_less_is_nothing_to_worry_about(app: Flask) -> None:
    waiting(timedelta(minutes=9, seconds=50))
    assert keys() == []


def test_what_ended_counts_no_more(app: Flask) -> None:
    for state in (State.SENT, State.FAILED, State.EXPIRED, State.CANCELLED, State.SKIPPED):
        waiting(timedelta(hours=20), state)
    assert keys() == []


def test_readyz_overview_and_settings_say_the_same(app: Flask, admin: Browser) -> None:
    delivery_id = waiting(timedelta(minutes=14), reason="The host is unknown.")
    words = "A message has been waiting for 14 min"
    admin.get("/readyz", status=503)
    assert words in admin.last.text
    assert "Ops alerts" not in admin.last.text, "names are for those who are signed in"
    for page in ("/", "/settings/monitoring"):
        found = admin.get(page)
        assert words in found.get_text()
        assert "It is for Ops alerts. The host is unknown." in found.get_text()
        assert found.select(f'a[href="/deliveries/{delivery_id}"]')


def test_threads_that_stand_still_are_named(app: Flask) -> None:
    moved = {"dispatcher": time.monotonic(), "scheduler": time.monotonic()}
    pulse.install(app, Pulse(lambda: moved["dispatcher"], lambda: moved["scheduler"]))
    assert keys() == []
    moved["dispatcher"] -= 61
    assert keys() == ["dispatcher"]
    moved["scheduler"] -= 200
    assert keys() == ["dispatcher", "scheduler"]
    assert "has not moved for 3 min 20 s" in health.look()[1].words


def test_a_server_that_works_is_well(app: Flask) -> None:
    running = runtime.start(app)
    try:
        assert pulse.current() is not None
        assert keys() == []
    finally:
        assert running.stop(20)


def test_a_database_that_does_not_answer_is_said(app: Flask, admin: Browser) -> None:
    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    event.listen(db.engine, "before_cursor_execute", fail)
    try:
        assert keys() == ["database"]
    finally:
        event.remove(db.engine, "before_cursor_execute", fail)


def test_the_question_reads_open_deliveries_only(app: Flask) -> None:
    make_channel()
    with transaction() as session:
        statement = str(health._OLDEST.compile(dialect=db.engine.dialect))
        plan = " ".join(
            row.detail for row in session.execute(text(f"EXPLAIN QUERY PLAN {statement}"))
        )
    assert "ix_delivery_open" in plan
