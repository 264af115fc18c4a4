"""dbackup deliveries."""

import json

from tests.factories import make_channel
from webapp.models.delivery import Delivery, State
from webapp.notify.events import BY_TYPE
from webapp.services import outbox
from webapp.services.routing import Target
from webapp.services.transaction import transaction


def failed_delivery() -> str:
    channel = make_channel(name="Ops")
    with transaction() as session:
        target = Target(channel_id=channel.id, channel_name="Ops", channel_type="webhook")
        outbox.write(session, BY_TYPE["restore_failure"].sample(), [target])
        (row,) = session.query(Delivery).all()
        row.state, row.next_attempt_at = State.FAILED, None
    return row.id


def test_a_failed_delivery_is_queued_again(dbackup) -> None:
    delivery_id = failed_delivery()
    result = dbackup("deliveries", "resend", delivery_id)
    assert result.exit_code == 0, result.stderr
    entries = json.loads(dbackup("deliveries", "list", "--json").stdout)
    assert sorted(entry["state"] for entry in entries) == ["failed", "queued"]


def test_the_list_can_be_narrowed_to_a_state(dbackup) -> None:
    delivery_id = failed_delivery()
    found = json.loads(dbackup("deliveries", "list", "--state", "failed", "--json").stdout)
    assert [entry["id"] for entry in found] == [delivery_id]
    assert json.loads(dbackup("deliveries", "list", "--state", "sent", "--json").stdout) == []


def test_what_is_not_in_the_log_cannot_be_sent_again(dbackup) -> None:
    result = dbackup("deliveries", "resend", "nothing")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
