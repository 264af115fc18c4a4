"""The details of a delivery: attempts, the others of its event, the message."""

import pytest

from tests.services.delivered import deliver, happened
from webapp.core import clock
from webapp.models.delivery import Attempt, State
from webapp.services import delivery_detail
from webapp.services.transaction import transaction

pytestmark = pytest.mark.usefixtures("app")


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
    detail = delivery_detail.detail(delivery_id, with_message=True)
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
    with_it = delivery_detail.detail(delivery_id, with_message=True)
    assert with_it.message is not None
    assert (with_it.message.raw, with_it.message.preview) == ("Hello", None)
    assert delivery_detail.detail(delivery_id, with_message=False).message is None
