"""The log of deliveries: lists by key, details, Resend, Stop retrying, what needs a person."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import event as sql_event
from sqlalchemy import select

from tests.factories import make_job
from webapp.core import bell, clock, ids
from webapp.core.errors import ConflictError, NotFoundError
from webapp.models import db
from webapp.models.channel import ChannelRow
from webapp.models.delivery import Attempt, Delivery, EventRow, State
from webapp.notify.events import BY_TYPE
from webapp.services import claims, delivery_log
from webapp.services.delivery_log import Filters
from webapp.services.transaction import reading, transaction

pytestmark = pytest.mark.usefixtures("app")

DAY = timedelta(days=1)


def channel(name: str = "Ops alerts", type: str = "discord", *, enabled: bool = True) -> int:
    with transaction() as session:
        row = ChannelRow(type=type, name=name, config="", enabled=enabled)
        session.add(row)
        session.flush()
        return row.id


def happened(event_type: str = "user_login", *, is_test: bool = False) -> str:
    with transaction() as session:
        row = EventRow(
            type=event_type, payload=BY_TYPE[event_type].sample().payload(), is_test=is_test
        )
        session.add(row)
        session.flush()
        return row.id


def deliver(
    state: State = State.SENT,
    *,
    event_id: str = "",
    channel_id: int | None = None,
    **values: object,
) -> str:
    event_id = event_id or happened()
    is_open = state in delivery_log.OPEN
    defaults: dict[str, object] = {
        "channel_name": "Ops alerts",
        "channel_type": "discord",
        "next_attempt_at": clock.now() + DAY if is_open else None,
        "finished_at": None if is_open else clock.now(),
    }
    with transaction() as session:
        row = Delivery(event_id=event_id, channel_id=channel_id, state=state, **(defaults | values))
        session.add(row)
        session.flush()
        return row.id


def stored(delivery_id: str) -> Delivery:
    with reading() as session:
        return session.get_one(Delivery, delivery_id)


def shown(filters: Filters | None = None, **where: str) -> list[str]:
    return [line.id for line in delivery_log.page(filters or Filters(), **where).lines]


def old_id(age: timedelta) -> str:
    """Return an id as it would have been made that long ago."""
    return delivery_log._first_id(clock.now() - age) + ids.uuid7()[13:]


def long_ago(age: timedelta) -> dict[str, object]:
    return {"id": old_id(age), "created_at": clock.now() - age}


# lists --------------------------------------------------------------------------------------------


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


def test_direct_mail_has_the_title_that_the_person_reads() -> None:
    delivery_id = deliver(recipient="mara@example.org", is_direct=True)
    assert delivery_log.line(delivery_id).title == "New sign-in to DBackup"


@pytest.mark.parametrize(
    ("event_type", "kind"),
    [
        ("backup_failure", "Job notification"),
        ("system_error", "System event"),
        ("channel_test", "Channel test"),
    ],
)
def test_a_line_says_what_made_it(event_type: str, kind: str) -> None:
    assert delivery_log.line(deliver(event_id=happened(event_type))).kind == kind


def test_an_event_of_another_version_is_listed_by_its_type() -> None:
    with transaction() as session:
        session.add(EventRow(id="later", type="storage_full", payload={}))
        session.add(EventRow(id="changed", type="user_login", payload={"who": "Mara"}))
    assert delivery_log.line(deliver(event_id="later")).title == "storage_full"
    assert delivery_log.line(deliver(event_id="changed")).title == "User Login"


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


def test_a_line_shows_how_long_the_latest_attempt_took() -> None:
    delivery_id = deliver(attempts=2)
    with transaction() as session:
        for number, duration in ((2, 96), (1, 10_000)):
            session.add(
                Attempt(
                    delivery_id=delivery_id,
                    number=number,
                    started_at=clock.now(),
                    duration_ms=duration,
                    outcome="sent",
                )
            )
    assert delivery_log.line(delivery_id).took == timedelta(milliseconds=96)


# details ------------------------------------------------------------------------------------------


def test_details_hold_attempts_the_other_deliveries_and_their_reasons() -> None:
    event_id = happened()
    delivery_id = deliver(State.FAILED, event_id=event_id, attempts=1)
    skipped = deliver(State.SKIPPED, event_id=event_id, reason="The channel is switched off.")
    with transaction() as session:
        session.add(
            Attempt(
                delivery_id=delivery_id,
                number=1,
                started_at=clock.now(),
                duration_ms=412,
                outcome="permanent",
                status="404",
                message="Discord answered 404.",
                excerpt="Unknown Webhook",
                advice="Create a new webhook.",
            )
        )
    detail = delivery_log.detail(delivery_id, with_message=True)
    assert [(one.number, one.status, one.excerpt) for one in detail.tries] == [
        (1, "404", "Unknown Webhook")
    ]
    assert [(other.id, other.reason) for other in detail.others] == [
        (skipped, "The channel is switched off.")
    ]
    assert detail.message is None


def test_the_message_is_given_only_when_asked_for() -> None:
    rendered = {"content_type": "text/plain", "body": "Hello", "method": "POST"}
    delivery_id = deliver(rendered=rendered, channel_type="unknown")
    with_it = delivery_log.detail(delivery_id, with_message=True)
    assert with_it.message is not None
    assert (with_it.message.raw, with_it.message.preview) == ("Hello", None)
    assert delivery_log.detail(delivery_id, with_message=False).message is None


def test_an_unknown_delivery_is_not_found() -> None:
    for ask in (
        lambda: delivery_log.line("nowhere"),
        lambda: delivery_log.detail("nowhere", with_message=True),
        lambda: delivery_log.resend("nowhere"),
        lambda: delivery_log.cancel("nowhere"),
    ):
        with pytest.raises(NotFoundError):
            ask()


# Resend -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [State.FAILED, State.EXPIRED, State.CANCELLED])
def test_resend_queues_a_linked_copy_and_wakes_the_dispatcher(state: State) -> None:
    here = channel()
    old = deliver(state, channel_id=here, attempts=5, recipient="mara@example.org")
    bell.wait(0)
    before = clock.now()
    resent = delivery_log.resend(old)
    assert bell.wait(0)
    copy = stored(resent.delivery_id)
    assert resent.channel_name == "Ops alerts"
    assert (copy.state, copy.attempts, copy.resend_of) == (State.QUEUED, 0, old)
    assert (copy.event_id, copy.recipient) == (stored(old).event_id, "mara@example.org")
    assert copy.next_attempt_at is not None
    assert copy.expires_at is not None
    assert before <= copy.next_attempt_at <= clock.now()
    assert copy.expires_at - copy.next_attempt_at == DAY
    assert stored(old).state == state
    assert delivery_log.detail(old, with_message=False).resent_as == copy.id
    assert delivery_log.detail(copy.id, with_message=False).resend_of == old


def test_the_copy_is_claimed_by_the_dispatcher() -> None:
    old = deliver(State.FAILED, channel_id=channel())
    copy = delivery_log.resend(old).delivery_id
    assert [claim.delivery_id for claim in claims.claim_due(10).claims] == [copy]


def test_recipients_who_took_the_message_do_not_get_the_copy() -> None:
    old = deliver(State.EXPIRED, channel_id=channel(), progress={"accepted": ["a@example.org"]})
    copy = stored(delivery_log.resend(old).delivery_id)
    assert copy.progress == {"accepted": ["a@example.org"]}


def test_resending_what_waits_tries_it_at_once_without_a_copy() -> None:
    waiting = deliver(State.RETRYING, channel_id=channel(), attempts=2)
    bell.wait(0)
    assert delivery_log.resend(waiting).delivery_id == waiting
    assert bell.wait(0)
    tried = stored(waiting)
    assert tried.next_attempt_at is not None
    assert tried.next_attempt_at <= clock.now()
    assert (tried.state, tried.attempts) == (State.RETRYING, 2)
    assert len(shown()) == 1


def test_pressing_resend_twice_queues_one_copy() -> None:
    old = deliver(State.FAILED, channel_id=channel())
    delivery_log.resend(old)
    with pytest.raises(ConflictError, match="queued again already"):
        delivery_log.resend(old)


@pytest.mark.parametrize("state", [State.SENT, State.QUEUED, State.SENDING, State.SKIPPED])
def test_only_what_ended_without_success_is_sent_again(state: State) -> None:
    delivery_id = deliver(state, channel_id=channel())
    with pytest.raises(ConflictError, match="ended without success"):
        delivery_log.resend(delivery_id)


def test_resend_says_why_it_cannot_a_test_a_channel_that_is_off_or_gone() -> None:
    of_test = deliver(State.FAILED, event_id=happened(is_test=True), channel_id=channel("A"))
    off = deliver(State.FAILED, channel_id=channel("B", enabled=False), channel_name="B")
    gone = deliver(State.FAILED)
    for delivery_id, words in ((of_test, "Press Test"), (off, "B is off"), (gone, "was deleted")):
        with pytest.raises(ConflictError, match=words):
            delivery_log.resend(delivery_id)
    assert not delivery_log.line(of_test).can_resend


def test_resend_all_takes_what_was_given_up_since_then_and_nothing_else() -> None:
    here = channel()
    failed = deliver(State.FAILED, channel_id=here)
    expired = deliver(State.EXPIRED, channel_id=here)
    deliver(State.CANCELLED, channel_id=here)
    deliver(State.SENT, channel_id=here)
    deliver(State.FAILED, channel_id=channel("Off", enabled=False))
    deliver(State.FAILED)
    deliver(State.FAILED, channel_id=here, event_id=happened(is_test=True))
    deliver(State.FAILED, channel_id=here, **long_ago(3 * DAY))  # type: ignore[arg-type]
    assert delivery_log.resend_failed(DAY) == 2
    with reading() as session:
        queued = session.scalars(select(Delivery.resend_of).where(Delivery.state == "queued"))
        assert set(queued) == {failed, expired}
    assert delivery_log.resend_failed(DAY) == 0


# Stop retrying ----------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [State.QUEUED, State.RETRYING, State.SENDING])
def test_stop_retrying_cancels_what_is_on_its_way(state: State) -> None:
    delivery_id = deliver(state, needs_you=True, lease_owner="somebody")
    assert delivery_log.cancel(delivery_id).state == State.CANCELLED
    stopped = stored(delivery_id)
    assert (stopped.needs_you, stopped.next_attempt_at, stopped.lease_owner) == (False, None, None)
    assert stopped.finished_at is not None


@pytest.mark.parametrize("state", [State.SENT, State.FAILED, State.CANCELLED, State.SKIPPED])
def test_what_has_ended_cannot_be_stopped(state: State) -> None:
    delivery_id = deliver(state)
    with pytest.raises(ConflictError, match="nothing to stop"):
        delivery_log.cancel(delivery_id)
    assert stored(delivery_id).state == state


# what needs a person ------------------------------------------------------------------------------


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
    delivery_log.resend(deliver(State.FAILED, channel_id=channel()))
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
    copy = delivery_log.resend(old).delivery_id
    assert delivery_log.cancel(copy).state == State.CANCELLED
    assert shown(Filters(channel_id=here, since=DAY)) == [copy, old]
    assert shown(before=copy)[-1] == old
    assert delivery_log.detail(old, with_message=True).resent_as == copy
    assert delivery_log.resend_failed(DAY) == 0
