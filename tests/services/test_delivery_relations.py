"""Fallbacks and bundles in words, as the page of a delivery says them."""

import pytest

from webapp.core import ids
from webapp.models.delivery import Delivery, EventRow, State
from webapp.notify.events import BY_TYPE
from webapp.services import delivery_detail
from webapp.services.transaction import transaction

pytestmark = pytest.mark.usefixtures("app")


def deliver(state: State, name: str, **values: object) -> str:
    with transaction() as session:
        event = EventRow(type="user_login", payload=BY_TYPE["user_login"].sample().payload())
        session.add(event)
        session.flush()
        row = Delivery(
            event_id=event.id, state=state, channel_name=name, channel_type="webhook", **values
        )
        session.add(row)
        session.flush()
        return row.id


def said(delivery_id: str) -> list[str]:
    found = delivery_detail.detail(delivery_id, with_message=False).relations
    return [f"{each.label}: {each.words}" for each in found]


def test_both_ends_of_a_fallback_name_the_other() -> None:
    failed = deliver(State.CANCELLED, "Ops alerts")
    stand_in = deliver(State.SENT, "On-call", fallback_for=failed)
    assert said(failed) == ["Fallback: Delivered through the fallback channel On-call"]
    assert said(stand_in) == ["Sent instead of: Ops alerts, which failed"]


def test_a_stand_in_that_failed_as_well_says_so() -> None:
    failed = deliver(State.FAILED, "Ops alerts")
    deliver(State.FAILED, "On-call", fallback_for=failed)
    assert said(failed) == ["Fallback: On-call: was not delivered there either"]


def test_everyone_in_a_bundle_says_how_many_events_its_message_named() -> None:
    leader = ids.uuid7()
    deliver(State.SENT, "Ops alerts", id=leader, bundle_id=leader)
    others = [deliver(State.SENT, "Ops alerts", bundle_id=leader) for _ in range(11)]
    assert said(leader) == said(others[0]) == ["Message: One message named 12 events"]
    [own] = delivery_detail.detail(leader, with_message=False).relations
    [other] = delivery_detail.detail(others[0], with_message=False).relations
    assert (own.delivery_id, other.delivery_id) == (None, leader)


def test_a_delivery_of_its_own_has_no_relations() -> None:
    assert said(deliver(State.SENT, "Ops alerts")) == []
