"""Claims and records: leases, fences, retries, expiry, broken channels."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import Connection, event, select, update

from tests.factories import make_channel
from webapp.core import clock
from webapp.core.errors import ChannelError, PermanentError, TransientError
from webapp.models import db
from webapp.models.channel import ChannelRow
from webapp.models.delivery import Attempt, Delivery, EventRow, State
from webapp.models.routing import GlobalChannel
from webapp.notify.channels.base import Receipt
from webapp.notify.events import BY_TYPE
from webapp.services import claims, due, outbox, outcomes, routing
from webapp.services.claims import Claim
from webapp.services.outcomes import Result
from webapp.services.routing import Target
from webapp.services.transaction import reading, transaction

SENT = Receipt(status="200", words="Discord answered 200.")


@pytest.fixture(autouse=True)
def _in_context(app: Flask) -> None:
    """Every test here needs tables."""


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    """Move the clock ahead."""
    ahead = timedelta()
    real = clock.now

    def move(by: timedelta) -> None:
        nonlocal ahead
        ahead += by

    monkeypatch.setattr(clock, "now", lambda: real() + ahead)
    return move


def queue(channel: ChannelRow, event_type: str = "restore_failure", **options: Any) -> str:
    """Put one delivery to the channel into the outbox; return its id."""
    target = Target(channel_id=channel.id, channel_name=channel.name, channel_type=channel.type)
    with transaction() as session:
        event_id = outbox.write(session, BY_TYPE[event_type].sample(), [target], **options)
    with reading() as session:
        return session.scalars(select(Delivery.id).where(Delivery.event_id == event_id)).one()


def claim_one() -> Claim:
    [claim] = claims.claim_due(10).claims
    return claim


def finish(
    claim: Claim, *, receipt: Receipt | None = None, error: ChannelError | None = None
) -> None:
    result = Result(
        claim=claim,
        started_at=clock.now(),
        took=timedelta(milliseconds=12),
        receipt=receipt,
        error=error,
        rendered={"method": "POST", "content_type": "text/plain", "body": "hello"},
        progress=claim.progress,
    )
    outcomes.record([result])


def stored(delivery_id: str) -> Delivery:
    with reading() as session:
        return session.get_one(Delivery, delivery_id)


def attempts(delivery_id: str) -> list[Attempt]:
    with reading() as session:
        found = select(Attempt).where(Attempt.delivery_id == delivery_id).order_by(Attempt.number)
        return list(session.scalars(found))


def channel(channel_id: int) -> ChannelRow:
    with reading() as session:
        return session.get_one(ChannelRow, channel_id)


def test_a_claim_carries_all_that_sending_needs() -> None:
    delivery_id = queue(make_channel(name="Ops"))
    claim = claim_one()
    assert (claim.delivery_id, claim.attempt, claim.event_type) == (
        delivery_id,
        1,
        "restore_failure",
    )
    assert claim.channel.name == "Ops"
    assert claim.payload["target"] == "orders_restored"
    assert stored(delivery_id).state == State.SENDING


def test_what_is_claimed_is_not_claimed_again() -> None:
    queue(make_channel())
    claim_one()
    assert claims.claim_due(10).claims == []


def test_full_lanes_are_passed_over() -> None:
    busy, free = make_channel(name="Busy"), make_channel(name="Free")
    queue(busy)
    queue(free)
    assert [claim.channel.name for claim in claims.claim_due(10, passed_over=[busy.id]).claims] == [
        "Free"
    ]


def test_a_receipt_ends_the_delivery_and_is_logged() -> None:
    delivery_id = queue(make_channel())
    finish(claim_one(), receipt=SENT)
    row = stored(delivery_id)
    assert (row.state, row.attempts, row.lease_owner) == (State.SENT, 1, None)
    [attempt] = attempts(delivery_id)
    assert (attempt.outcome, attempt.status, attempt.duration_ms) == ("sent", "200", 12)


def test_a_late_worker_does_not_overrule_the_one_that_took_over(
    later: Callable[[timedelta], None],
) -> None:
    delivery_id = queue(make_channel())
    slow = claim_one()
    later(claims.LEASE + timedelta(seconds=1))
    quick = claim_one()
    assert (quick.attempt, quick.lease_lost) == (2, True)
    finish(slow, error=PermanentError("too late"))
    assert stored(delivery_id).state == State.SENDING, "the other one is still at it"
    finish(quick, receipt=SENT)
    finish(slow, error=PermanentError("too late"))
    assert stored(delivery_id).state == State.SENT
    assert [attempt.outcome for attempt in attempts(delivery_id)] == ["lost", "sent"]


def test_a_renewed_lease_is_not_taken_over(later: Callable[[timedelta], None]) -> None:
    queue(make_channel())
    claim = claim_one()
    later(timedelta(seconds=30))
    claims.renew([claim])
    later(timedelta(seconds=30))
    assert claims.claim_due(10).claims == []


def test_a_released_claim_is_due_at_once_and_its_attempt_does_not_count() -> None:
    delivery_id = queue(make_channel())
    claims.release([claim_one()])
    row = stored(delivery_id)
    assert (row.state, row.attempts) == (State.QUEUED, 0)
    assert claim_one().attempt == 1


def test_leases_of_a_dead_process_are_freed_at_start() -> None:
    delivery_id = queue(make_channel())
    claim_one()
    owner = stored(delivery_id).lease_owner or ""
    assert claims.release_dead_leases() == 0, "this process lives"
    with transaction() as session:
        gone = owner.rpartition(":")[0] + ":boot-0"
        session.execute(update(Delivery).values(lease_owner=gone))
    assert claims.release_dead_leases() == 1
    assert claim_one().attempt == 2


def test_a_transient_error_is_retried_by_the_list(
    later: Callable[[timedelta], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.uniform", lambda _low, _high: 1.0)
    delivery_id = queue(make_channel())
    waits = []
    for _ in range(4):
        finish(claim_one(), error=TransientError("503 Service Unavailable"))
        row = stored(delivery_id)
        assert row.state == State.RETRYING
        assert row.next_attempt_at is not None
        waits.append(round((row.next_attempt_at - clock.now()).total_seconds()))
        assert claims.claim_due(1).claims == []
        later(row.next_attempt_at - clock.now())
    assert waits == [10, 60, 300, 900]


def test_the_services_own_delay_counts_when_it_is_longer() -> None:
    delivery_id = queue(make_channel())
    finish(claim_one(), error=TransientError("429", retry_after=timedelta(minutes=20)))
    due = stored(delivery_id).next_attempt_at
    assert due is not None
    assert timedelta(minutes=19) < due - clock.now() <= timedelta(minutes=20)


def test_retries_end_as_expired_after_a_day(later: Callable[[timedelta], None]) -> None:
    delivery_id = queue(make_channel())
    for _ in range(20):
        finish(claim_one(), error=TransientError("No answer"))
        row = stored(delivery_id)
        if row.state != State.RETRYING:
            break
        assert row.next_attempt_at is not None
        later(row.next_attempt_at - clock.now())
    assert row.state == State.EXPIRED
    assert "No answer" in (row.reason or "")


def test_what_waited_longer_than_a_day_gets_one_last_try(
    later: Callable[[timedelta], None],
) -> None:
    delivery_id = queue(make_channel())
    later(timedelta(hours=25))
    finish(claim_one(), error=TransientError("No answer"))
    assert stored(delivery_id).state == State.EXPIRED


def test_what_waited_longer_than_a_day_still_arrives(later: Callable[[timedelta], None]) -> None:
    delivery_id = queue(make_channel())
    later(timedelta(hours=25))
    finish(claim_one(), receipt=SENT)
    assert stored(delivery_id).state == State.SENT


def test_an_attempt_without_a_result_after_a_day_is_not_repeated(
    later: Callable[[timedelta], None],
) -> None:
    delivery_id = queue(make_channel())
    claim_one()
    later(timedelta(hours=25))
    assert claims.claim_due(10).claims == []
    assert stored(delivery_id).state == State.EXPIRED


def test_a_permanent_error_ends_the_delivery() -> None:
    delivery_id = queue(make_channel())
    finish(claim_one(), error=PermanentError("413 Too large", advice="Shorten it."))
    row = stored(delivery_id)
    assert (row.state, row.reason) == (State.FAILED, "413 Too large")
    [attempt] = attempts(delivery_id)
    assert (attempt.outcome, attempt.advice) == ("permanent", "Shorten it.")


def test_a_test_is_tried_once() -> None:
    delivery_id = queue(make_channel(), is_test=True)
    finish(claim_one(), error=TransientError("503"))
    assert stored(delivery_id).state == State.FAILED


def test_switching_a_channel_off_skips_what_waits_for_it() -> None:
    row = make_channel()
    delivery_id = queue(row)
    with transaction() as session:
        session.get_one(ChannelRow, row.id).enabled = False
    assert claims.claim_due(10).claims == []
    assert (stored(delivery_id).state, stored(delivery_id).reason) == (
        State.SKIPPED,
        routing.CHANNEL_OFF,
    )


def test_a_channel_that_is_off_can_be_tested() -> None:
    queue(make_channel(enabled=False), "channel_test", is_test=True)
    assert claim_one().is_test


def test_a_deleted_channel_fails_its_deliveries_with_words() -> None:
    row = make_channel()
    delivery_id = queue(row)
    with transaction() as session:
        session.delete(session.get_one(ChannelRow, row.id))
    assert claims.claim_due(10).claims == []
    assert stored(delivery_id).reason == due.CHANNEL_GONE


# health ---------------------------------------------------------------------------------------


def test_health_follows_deliveries_and_not_tests() -> None:
    row = make_channel()
    queue(row)
    finish(claim_one(), error=TransientError("503", advice="Wait."))
    failing = channel(row.id)
    assert failing.failing_since is not None
    assert (failing.failure_count, failing.last_error, failing.last_advice) == (1, "503", "Wait.")
    queue(row, is_test=True)
    finish(claim_one(), error=TransientError("504"))
    assert channel(row.id).failure_count == 1
    queue(row)
    finish(claim_one(), receipt=SENT)
    assert (channel(row.id).failing_since, channel(row.id).last_error) == (None, None)
    assert channel(row.id).last_delivered_at is not None


def break_channel(row: ChannelRow) -> str:
    delivery_id = queue(row)
    error = PermanentError("404 Unknown Webhook", advice="Make a new one.", breaks_channel=True)
    finish(claim_one(), error=error)
    return delivery_id


def test_an_error_about_the_channel_breaks_it_and_the_message_waits() -> None:
    row = make_channel()
    delivery_id = break_channel(row)
    assert channel(row.id).broken_at is not None
    waiting = stored(delivery_id)
    assert (waiting.state, waiting.needs_you) == (State.RETRYING, True)


def test_other_messages_to_a_broken_channel_wait_as_well() -> None:
    row = make_channel()
    first, second = queue(row), queue(row)
    taken = claims.claim_due(1).claims
    finish(taken[0], error=PermanentError("404", breaks_channel=True))
    assert claims.claim_due(10).claims == []
    assert {stored(first).state, stored(second).state} == {State.RETRYING}


def test_a_passed_test_heals_the_channel_and_sends_what_waited() -> None:
    row = make_channel()
    waiting = break_channel(row)
    queue(row, is_test=True)
    finish(claim_one(), receipt=SENT)
    assert channel(row.id).broken_at is None
    assert claim_one().delivery_id == waiting


def test_a_broken_channel_is_probed_hourly(later: Callable[[timedelta], None]) -> None:
    waiting = break_channel(make_channel())
    for _ in range(2):
        later(timedelta(hours=1, seconds=-1))
        assert claims.claim_due(10).claims == []
        later(timedelta(seconds=2))
        probe = claim_one()
        assert probe.delivery_id == waiting
        finish(probe, error=PermanentError("404", breaks_channel=True))


def events_of(event_type: str) -> list[EventRow]:
    with reading() as session:
        return list(session.scalars(select(EventRow).where(EventRow.type == event_type)))


def test_a_broken_channel_is_announced_through_another_one() -> None:
    broken, other = make_channel(name="Broken"), make_channel(name="Other")
    with transaction() as session:
        for position, row in enumerate((broken, other)):
            session.add(GlobalChannel(channel_id=row.id, position=position))
    break_channel(broken)
    [announced] = events_of("system_error")
    assert announced.payload["component"] == "Channel Broken"
    assert claim_one().channel.name == "Other"
    with reading() as session:
        about = select(Delivery).where(Delivery.event_id == announced.id)
        told = {row.channel_name: (row.state, row.reason) for row in session.scalars(about)}
    assert told == {
        "Broken": (State.SKIPPED, outbox.BROKEN_ITSELF),
        "Other": (State.SENDING, None),
    }


def test_channels_that_break_on_a_system_error_are_announced_once_each() -> None:
    rows = [make_channel(name=f"Room {number}") for number in range(3)]
    with transaction() as session:
        for position, row in enumerate(rows):
            session.add(GlobalChannel(channel_id=row.id, position=position))
    queue(rows[0], "system_error")
    for _ in range(20):  # every message breaks its channel, until nothing is left to send
        found = claims.claim_due(1).claims
        if not found:
            break
        finish(found[0], error=PermanentError("401", breaks_channel=True))
    components = sorted(str(one.payload["component"]) for one in events_of("system_error"))
    assert components[:3] == [f"Channel {row.name}" for row in rows]
    assert len(components) == 4


def test_claims_walk_the_index_of_open_deliveries_and_sort_nothing() -> None:
    asked = []
    with db.engine.connect() as connection:

        @event.listens_for(connection, "before_cursor_execute")
        def keep(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
            asked.append((statement, parameters))

        given = {"now": clock.now(), "limit": 64, "passed": [1, 2]}
        connection.execute(due.DUE, given)
        statement, parameters = asked[-1]
        plan = str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all())
    assert "SEARCH delivery USING INDEX ix_delivery_open" in plan
    assert "SCAN" not in plan
    assert "TEMP B-TREE" not in plan


def test_only_a_lease_does_not_wait_for_the_disk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[int] = []

    def look(connection: Connection, *_: object) -> claims.Claimed:
        seen.append(connection.exec_driver_sql("PRAGMA synchronous").scalar() or 0)
        return claims.Claimed()

    monkeypatch.setattr(claims, "claim", look)
    for _ in range(2):
        claims.claim_due(1)
        outcomes.record_and_claim([], 1)
        with transaction() as session:
            look(session.connection())
    normal, full = 1, 2
    assert seen == [normal, full, full] * 2
    with reading() as session:
        assert session.connection().exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
