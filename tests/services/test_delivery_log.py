"""The log of deliveries: lists by key, filters, what needs a person."""

from collections.abc import Callable

import pytest
from flask import Flask
from sqlalchemy import event as sql_event

from tests.factories import make_job
from tests.services.delivered import DAY, channel, deliver, happened, long_ago
from webapp.models import db
from webapp.models.delivery import Delivery, EventRow, State
from webapp.services import delivery_actions, delivery_detail, delivery_log
from webapp.services.delivery_log import Filters
from webapp.services.transaction import transaction

pytestmark = pytest.mark.usefixtures("app")


def shown(filters: Filters | None = None, **where: str) -> list[str]:
    return [line.id for line in delivery_log.page(filters or Filters(), **where).lines]


def test_an_empty_log_is_an_empty_page() -> None:
    page = delivery_log.page(Filters())
    assert (page.lines, page.newer, page.older, page.words) == ((), None, None, "No deliveries")


def test_the_newest_delivery_comes_first_and_says_what_its_event_says() -> None:
    first = deliver()
    second = deliver(event_id=happened("restore_failure"))
    page = delivery_log.page(Filters())
    assert [line.id for line in page.lines] == [second, first]
    assert page.lines[1].title == "User login: Mara Lindqvist"
    assert page.words == "2 deliveries"


def test_filters_narrow_by_state_channel_event_job_and_time() -> None:
    nightly = make_job(name="Nightly").id
    here = channel()
    of_job = happened("backup_failure")
    with transaction() as session:
        session.get_one(EventRow, of_job).job_id = nightly
    failed = deliver(State.FAILED)
    there = deliver(channel_id=here)
    job = deliver(event_id=of_job)
    ancient = deliver(**long_ago(30 * DAY))  # type: ignore[arg-type]
    assert shown(Filters(state="failed")) == [failed]
    assert shown(Filters(channel_id=here)) == [there]
    assert shown(Filters(event_type="backup_failure")) == [job]
    assert shown(Filters(job_id=nightly)) == [job]
    assert shown(Filters(since=DAY)) == [job, there, failed]
    assert shown(Filters(since=60 * DAY)) == [job, there, failed, ancient]
    assert shown(Filters(state="failed", job_id=nightly)) == []


def test_skipped_deliveries_are_listed_when_asked_for() -> None:
    sent, skipped = deliver(), deliver(State.SKIPPED, reason="The event is off.")
    assert shown() == [sent]
    assert shown(Filters(state="skipped")) == [skipped]
    assert shown(Filters(state=delivery_log.EVERYTHING)) == [skipped, sent]


def test_pages_go_older_and_newer_by_key_without_losing_or_repeating_a_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(delivery_log, "PAGE_SIZE", 3)
    event_id = happened()
    made = [deliver(event_id=event_id) for _ in range(8)][::-1]
    first = delivery_log.page(Filters())
    second = delivery_log.page(Filters(), before=first.older or "")
    third = delivery_log.page(Filters(), before=second.older or "")
    seen = [line.id for page in (first, second, third) for line in page.lines]
    assert seen == made
    assert (first.newer, third.older) == (None, None)
    assert second.words == "8 deliveries"
    back = delivery_log.page(Filters(), after=third.newer or "")
    assert back.lines == second.lines
    top = delivery_log.page(Filters(), after=back.newer or "")
    assert top.lines == first.lines
    assert top.newer is None


def test_counts_stop_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery_log, "PAGE_SIZE", 2)
    monkeypatch.setattr(delivery_log, "COUNT_LIMIT", 4)
    event_id = happened()
    for _ in range(6):
        deliver(event_id=event_id)
    assert delivery_log.page(Filters()).words == "4+ deliveries"


@pytest.mark.parametrize(
    ("make", "count"),
    [
        (lambda: deliver(State.FAILED), 1),
        (lambda: deliver(State.EXPIRED), 1),
        (lambda: deliver(State.RETRYING, needs_you=True), 1),
        (lambda: deliver(State.RETRYING), 0),
        (lambda: deliver(State.CANCELLED), 0),
        (lambda: deliver(State.SENT), 0),
        (lambda: deliver(State.FAILED, event_id=happened(is_test=True)), 0),
        (lambda: deliver(State.FAILED, **long_ago(6 * DAY)), 1),
        (lambda: deliver(State.FAILED, **long_ago(8 * DAY)), 0),
    ],
)
def test_attention_is_for_what_was_given_up_lately_or_seldom_heals(
    make: Callable[[], str], count: int
) -> None:
    make()
    assert delivery_log.attention_count() == count


def test_what_was_sent_again_needs_nobody() -> None:
    delivery_actions.resend(deliver(State.FAILED, channel_id=channel()))
    assert delivery_log.attention_count() == 0


def test_the_count_of_attention_stops_above_a_hundred() -> None:
    event_id = happened()
    with transaction() as session:
        session.add_all(
            Delivery(event_id=event_id, state=State.FAILED, channel_name="A") for _ in range(150)
        )
    assert delivery_log.attention_count() == 101


def test_the_count_of_attention_walks_indexes_only() -> None:
    seen: list[str] = []

    def note(*args: object) -> None:
        seen.append(str(args[2]))

    sql_event.listen(db.engine, "before_cursor_execute", note)
    delivery_log.attention_count()
    sql_event.remove(db.engine, "before_cursor_execute", note)
    (statement,) = [one for one in seen if "SELECT" in one]
    values = tuple("x" for _ in range(statement.count("?")))
    with db.engine.connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all()
    steps = [row[3] for row in plan]
    of_deliveries = [step for step in steps if "delivery" in step]
    assert len(of_deliveries) == 3
    assert all(step.startswith("SEARCH delivery") for step in of_deliveries)
    assert any("ix_delivery_state_id (state=? AND id>?)" in step for step in steps)


@pytest.mark.postgres
def test_the_log_works_on_postgresql(postgres_app: Flask) -> None:
    assert db.engine.dialect.name == "postgresql"
    here = channel()
    old = deliver(State.FAILED, channel_id=here)
    deliver(State.RETRYING, needs_you=True)
    assert delivery_log.attention_count() == 2
    copy = delivery_actions.resend(old).delivery_id
    assert delivery_actions.cancel(copy).state == State.CANCELLED
    assert shown(Filters(channel_id=here, since=DAY)) == [copy, old]
    assert shown(before=copy)[-1] == old
    assert delivery_detail.detail(old, with_message=True).resent_as == copy
    assert delivery_actions.resend_failed(DAY) == 0
