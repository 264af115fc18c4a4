"""Deliveries as the log finds them."""

from datetime import timedelta

from webapp.core import clock, ids
from webapp.models.channel import ChannelRow
from webapp.models.delivery import Delivery, EventRow, State
from webapp.notify.events import BY_TYPE
from webapp.services import delivery_lines, delivery_log
from webapp.services.transaction import reading, transaction

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
    is_open = state in delivery_lines.OPEN
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


def old_id(age: timedelta) -> str:
    """Return an id as it would have been made that long ago."""
    return delivery_log._first_id(clock.now() - age) + ids.uuid7()[13:]


def long_ago(age: timedelta) -> dict[str, object]:
    return {"id": old_id(age), "created_at": clock.now() - age}
