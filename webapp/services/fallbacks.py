"""Sends a message through a channel's fallback when the channel itself fails.

At once on a permanent error, when no try is left or the service asked for a long pause, after the
second transient one otherwise.
Whichever of the two is delivered first ends the other, so nobody gets a second copy when the
channel recovers. The other may be under way at that moment: then its error ends it.

A fallback is told of an event once, whoever needs it, and one that is broken itself is told when it
is mended.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import and_, bindparam, insert, or_, select, text, update
from sqlalchemy.orm import Session, aliased

from webapp.core import clock, ids
from webapp.core.errors import ChannelError, PermanentError
from webapp.core.retry import EXPIRES_AFTER
from webapp.models.channel import ChannelRow
from webapp.models.delivery import OPEN_STATES, Delivery, EventRow, State
from webapp.services import routing
from webapp.services.claims import Claim
from webapp.services.probes import PROBE_EVERY, waits_for_repair
from webapp.services.transaction import RING

AFTER_ATTEMPTS: Final = 2
TOO_LONG: Final = timedelta(minutes=10)
"""With a fallback nobody waits for longer until a second try: the service asked for that pause."""
PAUSED: Final = "The service asked for a pause."
RECOVERED: Final = "The channel recovered and delivered it itself."


@dataclass(frozen=True)
class Waiting:
    """A delivery that waits until its channel is mended."""

    delivery_id: str
    event_id: str
    expires_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Settled:
    """What was just recorded of one message."""

    claim: Claim
    error: ChannelError | None
    tries: int
    """Calls that were really made, this one included."""
    has_ended: bool
    """True when there will be no further try."""
    waits_long: bool = False
    """True when the next try is further away than a fallback has to wait."""


def settle(session: Session, results: Sequence[Settled]) -> None:
    """Queue, or call off, the stand-ins for deliveries that were just recorded."""
    arrived: list[Claim] = []
    failed: list[Claim] = []
    for result in results:
        if result.claim.is_test:
            continue
        if result.error is None:
            arrived += result.claim.whole
            continue
        failed += result.claim.whole
        is_permanent = isinstance(result.error, PermanentError)
        will_not_be_soon = is_permanent or result.has_ended or result.waits_long
        if will_not_be_soon or result.tries >= AFTER_ATTEMPTS:
            _queue_stand_ins(session, result.claim)
    _call_off_those_told(session, [one.delivery_id for one in failed])
    _call_off_stand_ins(
        session,
        [one.delivery_id for one in arrived if one.stands_in_for is None and not one.is_fresh],
    )
    for one in arrived:
        if one.stands_in_for is not None:
            _call_off_original(session, one)


def take_over(session: Session, channel_id: int) -> None:
    """Queue stand-ins for what waits for a channel that is broken."""
    fallback = _of_channel(session, channel_id)
    if fallback is None:
        return
    waiting = session.execute(
        select(Delivery.id, Delivery.event_id, Delivery.expires_at).where(
            text(OPEN_STATES),
            text("state = 'retrying'"),
            Delivery.channel_id == channel_id,
            Delivery.is_direct.is_(False),
            Delivery.fallback_for.is_(None),
        )
    ).all()
    for row in waiting:
        _queue(session, Waiting(row.id, row.event_id, row.expires_at), fallback)


def take_over_while_paused(session: Session, channel_id: int, until: datetime) -> None:
    """Queue stand-ins for what waits for a channel whose service wants nothing for long."""
    if until - clock.now() <= TOO_LONG or _of_channel(session, channel_id) is None:
        return
    tests = select(EventRow.id).where(EventRow.id == Delivery.event_id, EventRow.is_test)
    session.execute(
        update(Delivery)
        .where(
            text(OPEN_STATES),
            text("state = 'queued'"),
            Delivery.channel_id == channel_id,
            Delivery.fallback_for.is_(None),
            ~tests.exists(),
        )
        .values(state=State.RETRYING, reason=PAUSED, next_attempt_at=until)
        .execution_options(synchronize_session=False)
    )
    take_over(session, channel_id)


def _queue_stand_ins(session: Session, claim: Claim) -> None:
    fallback = _fallback_of(session, claim)
    if fallback is not None:
        for one in claim.whole:
            _queue(session, one, fallback)


def _fallback_of(session: Session, claim: Claim) -> ChannelRow | None:
    """Stand-ins and direct mail have no fallback of their own."""
    if claim.stands_in_for is not None or claim.is_direct:
        return None
    return _of_channel(session, claim.channel.id)


def _of_channel(session: Session, channel_id: int) -> ChannelRow | None:
    """Return the channel to use instead, if there is one that is on; one step only."""
    fallback_id = session.scalar(select(ChannelRow.fallback_id).where(ChannelRow.id == channel_id))
    if fallback_id is None or fallback_id == channel_id:
        return None
    row = session.get(ChannelRow, fallback_id)
    return row if row is not None and row.enabled else None


def _queue(session: Session, claim: Claim | Waiting, fallback: ChannelRow) -> None:
    if _is_told_anyway(session, claim, fallback):
        return
    now = clock.now()
    fate: dict[str, Any] = {"state": State.QUEUED, "next_attempt_at": now}
    if fallback.broken_at is not None:
        fate = {
            "state": State.RETRYING,
            "next_attempt_at": now + PROBE_EVERY,
            "needs_you": True,
            "reason": waits_for_repair(fallback.last_error or "unknown error"),
        }
    session.execute(
        insert(Delivery),
        [
            {
                "id": ids.uuid7(),
                "event_id": claim.event_id,
                "channel_id": fallback.id,
                "channel_name": fallback.name,
                "channel_type": fallback.type,
                "recipient": target.recipient,
                "created_at": now,
                "expires_at": claim.expires_at or now + EXPIRES_AFTER,
                "fallback_for": claim.delivery_id,
            }
            | fate
            for target in routing.targets_of(fallback)
        ],
    )
    session.info[RING] = True


def _is_told_anyway(session: Session, claim: Claim | Waiting, fallback: ChannelRow) -> bool:
    """Say whether the fallback hears of this event without another stand-in, or has refused it."""
    is_told = Delivery.state.in_((*_ON_ITS_WAY, State.SENT))
    found = session.scalar(
        select(Delivery.id)
        .where(
            Delivery.event_id == claim.event_id,
            or_(
                and_(Delivery.fallback_for == claim.delivery_id, is_told),
                and_(
                    Delivery.fallback_for == claim.delivery_id,
                    Delivery.channel_id == fallback.id,
                    Delivery.state != State.SKIPPED,  # it was off then
                ),
                and_(Delivery.channel_id == fallback.id, Delivery.is_direct.is_(False), is_told),
            ),
        )
        .limit(1)
    )
    return found is not None


_ON_ITS_WAY: Final = (State.QUEUED, State.SENDING, State.RETRYING)
_CALL_OFF: Final = (
    update(Delivery)
    .where(text("state IN ('queued', 'retrying')"))
    .values(
        state=State.CANCELLED,
        reason=bindparam("why"),
        finished_at=bindparam("now"),
        next_attempt_at=None,
    )
)
_CALL_OFF_STAND_INS: Final = _CALL_OFF.where(
    Delivery.fallback_for.in_(bindparam("ids", expanding=True))
)
_CALL_OFF_ORIGINAL: Final = _CALL_OFF.where(Delivery.id == bindparam("of"))
_LOCK_ORIGINAL: Final = (
    # another process may be recording its error: its state counts when that is done
    select(Delivery.id).where(Delivery.id == bindparam("of")).with_for_update()
)
_LOCK_STAND_INS: Final = (
    select(Delivery.fallback_for, Delivery.event_id, Delivery.channel_id)
    .where(Delivery.fallback_for.in_(bindparam("ids", expanding=True)))
    .with_for_update()
)
_STOOD_IN: Final = select(Delivery.fallback_for, Delivery.channel_name).where(
    Delivery.fallback_for.in_(bindparam("ids", expanding=True)), Delivery.state == State.SENT
)
_original = aliased(Delivery)
_RECOVERED: Final = (
    select(_original.id)
    .join(Delivery, Delivery.fallback_for == _original.id)
    .where(Delivery.id.in_(bindparam("ids", expanding=True)), _original.state == State.SENT)
)


def _call_off_stand_ins(session: Session, originals: Sequence[str]) -> None:
    """The channels delivered it themselves: nothing stands in for them any more."""
    if originals:
        for row in set(session.execute(_LOCK_STAND_INS, {"ids": list(originals)}).all()):
            _hand_over(session, row.fallback_for, row.event_id, row.channel_id)
        session.connection().execute(
            _CALL_OFF_STAND_INS,
            {
                "ids": list(originals),
                "why": RECOVERED,
                "now": clock.now(),
            },
        )


def _hand_over(
    session: Session, original: str | None, event_id: str, channel_id: int | None
) -> None:
    """Let what stood in for a delivery stand in for another one that shares its fallback.

    That one got no stand-in of its own, because the fallback was told anyway.
    """
    other = session.scalar(
        select(Delivery.id)
        .join(ChannelRow, ChannelRow.id == Delivery.channel_id)
        .where(
            Delivery.event_id == event_id,
            Delivery.id != original,
            Delivery.state.in_((State.RETRYING, State.FAILED, State.EXPIRED)),
            Delivery.fallback_for.is_(None),
            Delivery.is_direct.is_(False),
            ChannelRow.fallback_id == channel_id,
        )
        .limit(1)
    )
    if other is not None:
        session.execute(
            update(Delivery)
            .where(text("state IN ('queued', 'retrying')"), Delivery.fallback_for == original)
            .values(fallback_for=other)
            .execution_options(synchronize_session=False)
        )


def _call_off_original(session: Session, claim: Claim) -> None:
    """The stand-in arrived: end the delivery that it stood in for."""
    original = session.scalar(select(Delivery.fallback_for).where(Delivery.id == claim.delivery_id))
    _end_original(session, original, claim.channel.name)


def _end_original(session: Session, delivery_id: str | None, stood_in: str) -> None:
    session.execute(_LOCK_ORIGINAL, {"of": delivery_id})
    session.connection().execute(
        _CALL_OFF_ORIGINAL,
        {
            "of": delivery_id,
            "why": f"Delivered through the fallback channel {stood_in}.",
            "now": clock.now(),
        },
    )


def _call_off_those_told(session: Session, delivery_ids: Collection[str]) -> None:
    """End what failed while its other half, which was under way as well, arrived."""
    if not delivery_ids:
        return
    for row in session.execute(_STOOD_IN, {"ids": list(delivery_ids)}).all():
        _end_original(session, row[0], row[1])
    _call_off_stand_ins(session, session.scalars(_RECOVERED, {"ids": list(delivery_ids)}).all())
