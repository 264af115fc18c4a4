"""What deliveries tell about their channel: delivered, failing since, broken, healed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam, select, text, update
from sqlalchemy.orm import Session

from webapp.core import clock
from webapp.models.channel import ChannelRow
from webapp.models.delivery import OPEN_STATES, Delivery, State
from webapp.services import fallbacks
from webapp.services.probes import PROBE_EVERY, waits_for_repair
from webapp.services.transaction import RING


@dataclass(frozen=True, kw_only=True)
class Sign:
    """One result as the channel's health sees it."""

    channel_id: int
    is_test: bool
    error: str | None = None
    """None: delivered."""
    advice: str = ""
    breaks: bool = False


def note(session: Session, signs: Iterable[Sign]) -> list[ChannelRow]:
    """Write the signs to their channels; return the channels that were broken just now.

    Tests stay out of the figures, but one that passes heals its channel.
    """
    latest: dict[int, list[Sign]] = {}
    for sign in signs:
        latest.setdefault(sign.channel_id, []).append(sign)
    if len(latest) > 1:  # in one order, or two processes would wait for each other
        session.execute(_IN_ORDER, {"ids": list(latest)})
    for channel_id in _simply_delivered(session, latest):
        del latest[channel_id]
    if not latest:
        return []
    rows = session.scalars(
        select(ChannelRow).where(ChannelRow.id.in_(latest)).with_for_update()
    ).all()
    return [row for row in rows if _apply(session, row, latest[row.id])]


_IN_ORDER: Final = (
    select(ChannelRow.id)
    .where(ChannelRow.id.in_(bindparam("ids", expanding=True)))
    .order_by(ChannelRow.id)
    .with_for_update()
)
_DELIVERED: Final = (
    update(ChannelRow)
    .where(ChannelRow.id.in_(bindparam("ids", expanding=True)), ChannelRow.broken_at.is_(None))
    .values(
        last_delivered_at=bindparam("now"),
        failing_since=None,
        last_error=None,
        last_advice=None,
        failure_count=0,
    )
    .returning(ChannelRow.id)
)


def _simply_delivered(session: Session, signs: Mapping[int, Sequence[Sign]]) -> list[int]:
    """Write the usual case in one statement: delivered, not a test, not broken before."""
    ids = [
        channel_id
        for channel_id, latest in signs.items()
        if all(sign.error is None and not sign.is_test for sign in latest)
    ]
    if not ids:
        return []
    done = session.connection().execute(_DELIVERED, {"ids": ids, "now": clock.now()})
    return [row.id for row in done]


def _apply(session: Session, row: ChannelRow, signs: Iterable[Sign]) -> bool:
    broke = False
    for sign in signs:
        if sign.error is None:
            _delivered(session, row, sign)
            broke = False
        elif not sign.is_test:
            _failed(row, sign)
            if sign.breaks:
                broke = broke or row.broken_at is None
                row.broken_at = row.broken_at or clock.now()
                _hold_back(session, row)
    return broke


def _delivered(session: Session, row: ChannelRow, sign: Sign) -> None:
    if not sign.is_test:
        row.last_delivered_at = clock.now()
    if not sign.is_test or row.broken_at is not None:
        row.failing_since = row.last_error = row.last_advice = None
        row.failure_count = 0
    if row.broken_at is not None:
        heal(session, row)


def _failed(row: ChannelRow, sign: Sign) -> None:
    row.failing_since = row.failing_since or clock.now()
    row.failure_count += 1
    row.last_error = sign.error
    row.last_advice = sign.advice


def _hold_back(session: Session, row: ChannelRow) -> None:
    """Let what waits for a broken channel wait for its next probe; its fallback takes over."""
    session.execute(
        update(Delivery)
        .where(
            text("state IN ('queued', 'retrying')"),
            Delivery.channel_id == row.id,
            Delivery.next_attempt_at < clock.now() + PROBE_EVERY,
        )
        .values(
            state=State.RETRYING,
            needs_you=True,
            reason=waits_for_repair(row.last_error or ""),
            next_attempt_at=clock.now() + PROBE_EVERY,
        )
        .execution_options(synchronize_session=False)
    )
    fallbacks.take_over(session, row.id)


def heal(session: Session, row: ChannelRow) -> None:
    """Say that the channel works again, or may: it was edited. What waits for it is sent now."""
    row.broken_at = None
    session.execute(
        update(Delivery)
        .where(
            text(OPEN_STATES),
            text("state = 'retrying'"),
            Delivery.channel_id == row.id,
        )
        .values(next_attempt_at=clock.now())
        .execution_options(synchronize_session=False)
    )
    session.info[RING] = True
