"""Records what became of attempts: the log, the next state, the channel's health.

A record is fenced by the attempt's number: who was too slow may not overrule the one that took
over. Many results are recorded in one transaction.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, bindparam, func, insert, select, update
from sqlalchemy.orm import Session

from webapp.core import clock, text
from webapp.core.errors import ChannelError, PermanentError, TransientError
from webapp.core.retry import LONGEST_HINT, delay
from webapp.models.channel import ChannelRow
from webapp.models.delivery import Attempt, Delivery, State
from webapp.notify.channels.base import Receipt
from webapp.notify.events.system_error import SystemError
from webapp.services import channel_health, channels, claims, fallbacks, outbox, rates
from webapp.services.channel_health import Sign
from webapp.services.claims import Claim, Claimed
from webapp.services.probes import PROBE_EVERY
from webapp.services.transaction import transaction

logger = logging.getLogger(__name__)

NO_TRY_LEFT: Final = "It could not be delivered within 24 hours."


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of one attempt: a receipt or an error."""

    claim: Claim
    started_at: datetime
    took: timedelta
    receipt: Receipt | None = None
    error: ChannelError | None = None
    rendered: Mapping[str, Any] | None = None
    """The message as it left, secrets masked; None when it could not be rendered."""
    progress: Mapping[str, Any] = field(default_factory=dict)


def record(results: Sequence[Result]) -> None:
    """Write the attempts and move their deliveries; late results are left out."""
    if results:
        with transaction() as session:
            _record(session, results)


def record_and_claim(
    results: Sequence[Result], limit: int, *, passed_over: Collection[int] = ()
) -> Claimed:
    """Record and lease the next deliveries in one transaction."""
    with transaction() as session:
        _record(session, results)
        session.flush()
        return claims.claim(session.connection(), limit, passed_over)


def _record(session: Session, results: Sequence[Result]) -> None:
    connection = session.connection()
    mine = _still_mine(connection, results)
    if len(mine) < len(results):
        logger.warning("late results left out", extra={"count": len(results) - len(mine)})
    if not mine:
        return
    whole = [(result, one) for result in mine for one in result.claim.whole]
    connection.execute(_LOG, [_attempt(result, one) for result, one in whole])
    lost = _lost(session, [result.claim for result in mine if result.error is not None])
    tries = {
        result.claim.delivery_id: result.claim.attempt - lost.get(result.claim.delivery_id, 0)
        for result in mine
    }
    states = {
        result.claim.delivery_id: _next_state(result, tries[result.claim.delivery_id])
        for result in mine
    }
    connection.execute(
        _MOVE,
        [states[result.claim.delivery_id] | {"of": one.delivery_id} for result, one in whole],
    )
    for result in mine:
        _keep_what_the_service_said(session, result)
    for row in channel_health.note(session, [_sign(result) for result in mine]):
        _tell_that_broken(session, row)
    fallbacks.settle(
        session,
        [
            fallbacks.Settled(
                claim=result.claim,
                error=result.error,
                tries=tries[result.claim.delivery_id],
                has_ended=states[result.claim.delivery_id]["new_next_attempt_at"] is None,
                waits_long=_waits_long(states[result.claim.delivery_id]),
            )
            for result in mine
        ],
    )


def _waits_long(state: Mapping[str, Any]) -> bool:
    again = state["new_next_attempt_at"]
    return again is not None and again - clock.now() > fallbacks.TOO_LONG


def _lost(session: Session, claims: Sequence[Claim]) -> dict[str, int]:
    """Return how many attempts of deliveries ended with a process and not with an error.

    Most of them were never begun: they tell nothing about the channel, so they neither lengthen the
    wait nor call for the fallback.
    """
    again = [claim.delivery_id for claim in claims if claim.attempt > 1]
    if not again:
        return {}
    found = session.execute(
        select(Attempt.delivery_id, func.count())
        .where(Attempt.delivery_id.in_(again), Attempt.outcome == "lost")
        .group_by(Attempt.delivery_id)
    )
    return {row[0]: row[1] for row in found}


def _keep_what_the_service_said(session: Session, result: Result) -> None:
    row, error = result.claim.channel, result.error
    if result.receipt is not None and result.receipt.config_changes:
        channels.store_config_changes(session, row.id, result.receipt.config_changes)
    if isinstance(error, TransientError) and error.retry_after and _is_429(error):
        until = clock.now() + min(error.retry_after, LONGEST_HINT)
        rates.block(session.connection(), row, until)
        fallbacks.take_over_while_paused(session, row.id, until)


def _is_429(error: ChannelError) -> bool:
    return (error.status or "").partition(" ")[0] == "429"  # a code of the service may follow


_LOG: Final = insert(Attempt)
_MOVE: Final = (
    update(Delivery)
    .where(Delivery.id == bindparam("of"))
    .values(
        {
            name: bindparam(f"new_{name}")
            for name in ("state", "reason", "needs_you", "next_attempt_at", "finished_at")
        }
        | {name: bindparam(f"new_{name}") for name in ("rendered", "progress")}
        | {"lease_owner": None, "leased_until": None}
    )
)


_MINE: Final = (
    select(Delivery.id, Delivery.attempts)
    .where(Delivery.id.in_(bindparam("ids", expanding=True)), Delivery.state == State.SENDING)
    .with_for_update()
)


def _still_mine(connection: Connection, results: Sequence[Result]) -> list[Result]:
    ids = [one.delivery_id for result in results for one in result.claim.whole]
    stored = {row.id: row.attempts for row in connection.execute(_MINE, {"ids": ids})}
    return [mine for result in results if (mine := _part_of(result, stored)) is not None]


def _part_of(result: Result, stored: Mapping[str, int]) -> Result | None:
    """Return the result with those of its deliveries that are still ours."""
    whole = result.claim.whole
    mine = [one for one in whole if stored.get(one.delivery_id) == one.attempt]
    if len(mine) == len(whole):
        return result
    return replace(result, claim=replace(mine[0], others=tuple(mine[1:]))) if mine else None


def _attempt(result: Result, claim: Claim) -> dict[str, Any]:
    known = {
        "delivery_id": claim.delivery_id,
        "number": claim.attempt,
        "started_at": result.started_at,
        "duration_ms": round(result.took.total_seconds() * 1000),
    }
    if result.receipt is not None:
        return known | {
            "outcome": "sent",
            "status": result.receipt.status,
            "message": text.clean(result.receipt.words),
            "excerpt": text.clean(result.receipt.excerpt),
            "advice": "",
        }
    error = _error(result)
    return known | {
        "outcome": "transient" if isinstance(error, TransientError) else "permanent",
        "status": error.status,
        "message": text.clean(str(error)),
        "excerpt": text.clean(error.excerpt),
        "advice": error.advice,
    }


def _next_state(result: Result, tries: int) -> dict[str, Any]:
    """Return the parameters of the statement that moves the delivery."""
    now = clock.now()
    values: dict[str, Any] = {
        "reason": None,
        "needs_you": False,
        "next_attempt_at": None,
        "finished_at": now,
        "rendered": None if result.rendered is None else dict(result.rendered),
        "progress": dict(result.progress) or None,
    }
    if result.receipt is not None:
        values["state"] = State.SENT
    else:
        values |= _after_error(result, tries, now)
    return {f"new_{key}": value for key, value in values.items()}


def _after_error(result: Result, tries: int, now: datetime) -> dict[str, Any]:
    error = _error(result)
    wait = None if result.claim.is_test else _wait(error, tries)
    if wait is None:
        return {"state": State.FAILED, "reason": str(error)}
    if result.claim.expires_at is not None and now + wait >= result.claim.expires_at:
        return {"state": State.EXPIRED, "reason": f"{NO_TRY_LEFT} Last error: {error}"}
    return {
        "state": State.RETRYING,
        "reason": str(error),
        "needs_you": isinstance(error, PermanentError)
        or (isinstance(error, TransientError) and error.needs_you),
        "next_attempt_at": now + wait,
        "finished_at": None,
    }


def _wait(error: ChannelError, tries: int) -> timedelta | None:
    if isinstance(error, PermanentError) and error.breaks_channel:
        return PROBE_EVERY  # the channel can be mended within a day, and then the message goes out
    return delay(error, tries)


def _sign(result: Result) -> Sign:
    delivered = Sign(channel_id=result.claim.channel.id, is_test=result.claim.is_test)
    if result.receipt is not None:
        return delivered
    error = _error(result)
    return replace(
        delivered,
        error=str(error),
        advice=error.advice,
        breaks=isinstance(error, PermanentError) and error.breaks_channel,
    )


def _error(result: Result) -> ChannelError:
    if result.error is None:
        raise ValueError("a result is a receipt or an error")
    return result.error


def _tell_that_broken(session: Session, row: ChannelRow) -> None:
    """Tell the admins through another channel.

    This cannot go round for ever, whatever was being delivered: a channel breaks once until it is
    mended, and one that is broken is sent nothing.
    """
    advice = f"\n{row.last_advice}" if row.last_advice else ""
    outbox.publish(
        session,
        SystemError(
            component=f"Channel {row.name}",
            error=f"{row.last_error}{advice}",
            first_seen=clock.now().isoformat(),
        ),
        except_channel_id=row.id,
    )
