"""Resend, Resend all, Stop retrying."""

import pytest
from sqlalchemy import select

from tests.services.delivered import DAY, channel, deliver, happened, long_ago, stored
from webapp.core import bell, clock
from webapp.core.errors import ConflictError
from webapp.models.delivery import Delivery, State
from webapp.services import claims, delivery_actions, delivery_detail, delivery_lines, delivery_log
from webapp.services.delivery_log import Filters
from webapp.services.transaction import reading

pytestmark = pytest.mark.usefixtures("app")


@pytest.mark.parametrize("state", [State.FAILED, State.EXPIRED, State.CANCELLED])
def test_resend_queues_a_linked_copy_and_wakes_the_dispatcher(state: State) -> None:
    here = channel()
    old = deliver(state, channel_id=here, attempts=5, recipient="mara@example.org")
    bell.wait(0)
    before = clock.now()
    resent = delivery_actions.resend(old)
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
    assert delivery_detail.detail(old, with_message=False).resent_as == copy.id
    assert delivery_detail.detail(copy.id, with_message=False).resend_of == old


def test_the_copy_is_claimed_by_the_dispatcher() -> None:
    old = deliver(State.FAILED, channel_id=channel())
    copy = delivery_actions.resend(old).delivery_id
    assert [claim.delivery_id for claim in claims.claim_due(10).claims] == [copy]


def test_recipients_who_took_the_message_do_not_get_the_copy() -> None:
    old = deliver(State.EXPIRED, channel_id=channel(), progress={"accepted": ["a@example.org"]})
    copy = stored(delivery_actions.resend(old).delivery_id)
    assert copy.progress == {"accepted": ["a@example.org"]}


def test_resending_what_waits_tries_it_at_once_without_a_copy() -> None:
    waiting = deliver(State.RETRYING, channel_id=channel(), attempts=2)
    bell.wait(0)
    assert delivery_actions.resend(waiting).delivery_id == waiting
    assert bell.wait(0)
    tried = stored(waiting)
    assert tried.next_attempt_at is not None
    assert tried.next_attempt_at <= clock.now()
    assert (tried.state, tried.attempts) == (State.RETRYING, 2)
    assert len(delivery_log.page(Filters()).lines) == 1


def test_pressing_resend_twice_queues_one_copy() -> None:
    old = deliver(State.FAILED, channel_id=channel())
    delivery_actions.resend(old)
    with pytest.raises(ConflictError, match="queued again already"):
        delivery_actions.resend(old)


@pytest.mark.parametrize("state", [State.SENT, State.QUEUED, State.SENDING, State.SKIPPED])
def test_only_what_ended_without_success_is_sent_again(state: State) -> None:
    delivery_id = deliver(state, channel_id=channel())
    with pytest.raises(ConflictError, match="ended without success"):
        delivery_actions.resend(delivery_id)


def test_resend_says_why_it_cannot_a_test_a_channel_that_is_off_or_gone() -> None:
    of_test = deliver(State.FAILED, event_id=happened(is_test=True), channel_id=channel("A"))
    off = deliver(State.FAILED, channel_id=channel("B", enabled=False), channel_name="B")
    gone = deliver(State.FAILED)
    for delivery_id, words in ((of_test, "Press Test"), (off, "B is off"), (gone, "was deleted")):
        with pytest.raises(ConflictError, match=words):
            delivery_actions.resend(delivery_id)
    assert not delivery_lines.line(of_test).can_resend


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
    assert delivery_actions.resend_failed(DAY) == 2
    with reading() as session:
        queued = session.scalars(select(Delivery.resend_of).where(Delivery.state == "queued"))
        assert set(queued) == {failed, expired}
    assert delivery_actions.resend_failed(DAY) == 0


@pytest.mark.parametrize("state", [State.QUEUED, State.RETRYING, State.SENDING])
def test_stop_retrying_cancels_what_is_on_its_way(state: State) -> None:
    delivery_id = deliver(state, needs_you=True, lease_owner="somebody")
    assert delivery_actions.cancel(delivery_id).state == State.CANCELLED
    stopped = stored(delivery_id)
    assert (stopped.needs_you, stopped.next_attempt_at, stopped.lease_owner) == (False, None, None)
    assert stopped.finished_at is not None


@pytest.mark.parametrize("state", [State.SENT, State.FAILED, State.CANCELLED, State.SKIPPED])
def test_what_has_ended_cannot_be_stopped(state: State) -> None:
    delivery_id = deliver(state)
    with pytest.raises(ConflictError, match="nothing to stop"):
        delivery_actions.cancel(delivery_id)
    assert stored(delivery_id).state == state
