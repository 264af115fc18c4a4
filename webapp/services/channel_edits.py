"""Adds, changes, switches and deletes channels."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, func, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from webapp.core import clock
from webapp.core.errors import ConflictError, InvalidError, NotFoundError, SecretError
from webapp.models.channel import ChannelRow
from webapp.models.delivery import IS_OPEN, Delivery, State
from webapp.models.routing import GlobalChannel, JobChannel
from webapp.notify.channels import BY_TYPE
from webapp.services import audit, channel_health, channel_usage, channels
from webapp.services.channel_list import GONE
from webapp.services.channel_usage import Usage
from webapp.services.notification_settings import EventSetup
from webapp.services.transaction import reading, transaction

NAME_LIMIT: Final = 60
STALE: Final = (
    "Somebody else changed this channel while you had it open. What you typed is still here; "
    "save again to replace their change, or open the channel anew to see it."
)
DELETED: Final = "The channel was deleted."
FALLBACK_GONE: Final = (
    "The fallback channel was deleted meanwhile. Choose another one, or none, and save again."
)


@dataclass(frozen=True, kw_only=True)
class Values:
    """What the form of a channel says."""

    name: str
    config: Mapping[str, Any]
    is_global: bool
    fallback_id: int | None = None
    """The channel that takes over while this one fails."""


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A channel as its form needs it. `config` holds secrets and never reaches a page."""

    row: ChannelRow
    config: Mapping[str, Any]
    is_global: bool
    problem: str = ""
    """Why the configuration cannot be opened; everything must be entered anew then."""


@dataclass(frozen=True, kw_only=True)
class Switched:
    """A channel after it was switched, and the events that tell nobody now."""

    row: ChannelRow
    silent: tuple[EventSetup, ...]


def stored(channel_id: int) -> Stored:
    """Return a channel for editing.

    Raises:
        NotFoundError: there is no such channel.
        PermanentError: this version does not know its type.
    """
    with reading() as session:
        row = _existing(session, channel_id)
        is_global = session.get(GlobalChannel, channel_id) is not None
    channels.type_of(row.type)
    try:
        config = channels.config_of(row)
    except SecretError as error:
        return Stored(row=row, config={}, is_global=is_global, problem=str(error))
    return Stored(row=row, config=config, is_global=is_global)


def create(channel_type: str, values: Values) -> ChannelRow:
    """Add a channel.

    Raises:
        InvalidError: there is no such type, the name is taken, or the fallback is gone.
    """
    if channel_type not in BY_TYPE:
        raise InvalidError("Choose one of the services.", "type")
    with transaction() as session:
        _claim_name(session, values.name)
        row = ChannelRow(type=channel_type, name=values.name)
        channels.seal_into(row, values.config)
        row.fallback_id = _fallback(session, values)
        session.add(row)
        _flush_name(session, values.name)
        _set_global(session, row.id, values.is_global)
    return row


def save(channel_id: int, version: int, values: Values) -> ChannelRow:
    """Change a channel. It counts as healed, and what waits for it is tried at once.

    Raises:
        NotFoundError: there is no such channel any more.
        ConflictError: it is no longer the version that was edited.
        InvalidError: the name is taken, or the fallback cannot be used.
    """
    with transaction() as session:
        row = _existing(session, channel_id, lock=True)
        if row.version != version:
            raise ConflictError(STALE)
        _claim_name(session, values.name, but=channel_id)
        row.name = values.name
        row.version += 1
        row.fallback_id = _fallback(session, values, of=channel_id)
        channels.seal_into(row, values.config)
        _flush_name(session, values.name)
        _set_global(session, channel_id, values.is_global)
        row.failing_since = row.last_error = row.last_advice = None
        row.failure_count = 0
        channel_health.heal(session, row)
    return row


def set_enabled(channel_id: int, on: bool) -> Switched:
    """Turn a channel on or off; say which events tell nobody because of it."""
    with transaction() as session:
        row = _existing(session, channel_id, lock=True)
        if row.enabled != on:
            row.enabled = on
            row.enabled_changed_at = clock.now()
    return Switched(row=row, silent=() if on else channel_usage.silent_events(channel_id))


def set_global(channel_id: int, on: bool) -> ChannelRow:
    """Add the channel to the global ones, as the last of them, or take it away."""
    with transaction() as session:
        row = _existing(session, channel_id)
        _set_global(session, channel_id, on)
    return row


def delete(channel_id: int, *, everywhere: bool) -> str:
    """Delete a channel; return its name. Messages that wait for it are cancelled, the log stays.

    `everywhere` also takes it from the events, jobs and global channels that use it.

    Raises:
        ConflictError: something uses it, and `everywhere` was not said.
    """
    usage = channel_usage.uses_of(channel_id)
    if not everywhere and usage.in_use:
        raise ConflictError("This channel is in use. Remove it everywhere, or turn it off instead.")
    with transaction() as session:
        row = _existing(session, channel_id, lock=True)
        session.execute(
            update(Delivery)
            .where(_waits_for(channel_id), Delivery.state != State.SENDING)
            .values(
                state=State.CANCELLED,
                reason=DELETED,
                needs_you=False,
                finished_at=clock.now(),
                next_attempt_at=None,
            )
            .execution_options(synchronize_session=False)
        )
        _take_out(session, channel_id, usage)
        session.delete(row)
        return row.name


def _take_out(session: Session, channel_id: int, usage: Usage) -> None:
    """Take a channel from all that uses it. The database would do it, too, but note nothing."""
    for event in usage.events:
        if event.custom:
            names = [channel.name for channel in event.channels]
            left = [channel.name for channel in event.channels if channel.id != channel_id]
            before, after = {"channels": names}, {"channels": left}
            audit.note_change(session, "event.changed", event.event.label, before, after)
    for kind in (JobChannel, GlobalChannel):
        for used in session.scalars(select(kind).where(kind.channel_id == channel_id)).all():
            session.delete(used)
    for other in session.scalars(select(ChannelRow).where(ChannelRow.fallback_id == channel_id)):
        other.fallback_id = None
    session.flush()


def fallback_choices(channel_id: int | None = None) -> list[tuple[int, str]]:
    """Return the channels that may take over for this one (None: one that is not stored yet)."""
    others = select(ChannelRow.id, ChannelRow.name, ChannelRow.enabled).order_by(
        func.lower(ChannelRow.name), ChannelRow.id
    )
    with reading() as session:
        rows = session.execute(others).all()
    return [
        (row.id, row.name if row.enabled else f"{row.name} (off)")
        for row in rows
        if row.id != channel_id
    ]


def count_waiting(channel_id: int) -> int:
    """Return how many messages wait for the channel."""
    waiting = select(func.count()).select_from(Delivery).where(_waits_for(channel_id))
    with reading() as session:
        return session.scalar(waiting) or 0


def _waits_for(channel_id: int) -> ColumnElement[bool]:
    """Match open deliveries; "+ 0" keeps the planner from reading the channel's whole log."""
    return and_(text(IS_OPEN), Delivery.channel_id + 0 == channel_id)


def _existing(session: Session, channel_id: int, *, lock: bool = False) -> ChannelRow:
    row = session.get(ChannelRow, channel_id, with_for_update=lock or None)
    if row is None:
        raise NotFoundError(GONE)
    return row


def _fallback(session: Session, values: Values, *, of: int | None = None) -> int | None:
    if values.fallback_id is None:
        return None
    if values.fallback_id == of:
        raise InvalidError("A channel cannot be its own fallback. Choose another.", "fallback_id")
    if session.get(ChannelRow, values.fallback_id) is None:
        raise InvalidError(FALLBACK_GONE, "fallback_id")
    return values.fallback_id


def _claim_name(session: Session, name: str, *, but: int | None = None) -> None:
    """Refuse a name that differs from another channel's only by upper and lower case."""
    taken = {
        other.casefold(): other
        for key, other in session.execute(select(ChannelRow.id, ChannelRow.name))
        if key != but
    }
    if name.casefold() in taken:
        raise _taken(taken[name.casefold()], taken)


def _flush_name(session: Session, name: str) -> None:
    try:
        session.flush()
    except IntegrityError as error:  # another process was faster
        raise _taken(name, ()) from error


def _taken(name: str, others: Mapping[str, str] | tuple[()]) -> InvalidError:
    number = 2
    while (free := f"{name[: NAME_LIMIT - 5]} ({number})").casefold() in others:
        number += 1
    return InvalidError(
        f"Another channel is called “{name}”. Choose a different name, for example “{free}”.",
        "name",
    )


def _set_global(session: Session, channel_id: int, on: bool) -> None:
    present = session.get(GlobalChannel, channel_id)
    if on and present is None:
        last = session.scalar(select(func.max(GlobalChannel.position)))
        session.add(GlobalChannel(channel_id=channel_id, position=0 if last is None else last + 1))
    if not on and present is not None:
        session.delete(present)
