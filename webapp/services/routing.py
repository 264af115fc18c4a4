"""Which targets an event goes to, and why it does not go to the others: design's truth table."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.core.errors import AppError
from webapp.models.channel import ChannelRow
from webapp.models.routing import (
    Condition,
    EventChannel,
    EventSetting,
    GlobalChannel,
    JobChannel,
    NotifyUser,
)
from webapp.notify.channels import BY_TYPE
from webapp.notify.events import Event
from webapp.services import channels

EMAIL: Final = "email"

# Which rows of a job hear about which outcome. A run that somebody cancelled concerns only those
# who asked for everything.
CONDITIONS: Final[dict[str, frozenset[Condition]]] = {
    "backup_success": frozenset({Condition.ALWAYS, Condition.ON_SUCCESS}),
    "backup_partial": frozenset({Condition.ALWAYS, Condition.ON_FAILURE}),
    "backup_failure": frozenset({Condition.ALWAYS, Condition.ON_FAILURE}),
    "backup_interrupted": frozenset({Condition.ALWAYS, Condition.ON_FAILURE}),
    "backup_missed": frozenset({Condition.ALWAYS, Condition.ON_FAILURE}),
    "backup_cancelled": frozenset({Condition.ALWAYS}),
}
CONDITION_LABELS: Final = {
    Condition.ALWAYS: "Always",
    Condition.ON_SUCCESS: "On Success",
    Condition.ON_FAILURE: "On Failure",
}

EVENT_OFF: Final = "The event is off."
NO_CHANNELS: Final = "No channel is selected for this event."
NO_JOB_CHANNELS: Final = "The job has no notifications."
CHANNEL_OFF: Final = "The channel is switched off."
USER_ONLY: Final = "“Notify user directly” is set to User only."
COVERED: Final = "Another row of this job already told this channel."
NO_WORKING_EMAIL: Final = (
    "No selected Email channel is switched on and working, so the direct mail could not be sent "
    "and the admin channels were told."
)


@dataclass(frozen=True, kw_only=True)
class Target:
    """One line of the plan: a target, or with a reason: why nothing is sent to it."""

    channel_id: int | None = None
    channel_name: str = ""
    channel_type: str = ""
    recipient: str | None = None
    """One of the channel's recipients, when each is a target of its own, or the user."""
    is_direct: bool = False
    """True for direct mail to the person that the event is about."""
    reason: str | None = None
    broken: str | None = None
    """The error that broke the channel: the message waits until it is mended."""


@dataclass(frozen=True, kw_only=True)
class EventRouting:
    """How a system event is set, defaults filled in."""

    enabled: bool
    custom: bool
    notify_user: NotifyUser


def event_routing(session: Session, event: type[Event]) -> EventRouting:
    """Return the stored setting of a system event, or its defaults."""
    row = session.get(EventSetting, event.type)
    if row is None:
        return EventRouting(
            enabled=event.on_by_default, custom=False, notify_user=NotifyUser.DISABLED
        )
    return EventRouting(
        enabled=row.enabled, custom=row.custom, notify_user=NotifyUser(row.notify_user)
    )


def selected_channels(session: Session, event_type: str, *, custom: bool) -> list[ChannelRow]:
    """Return the event's own channels, or the global ones, in order of position."""
    rows = select(ChannelRow)
    if custom:
        rows = (
            rows.join(EventChannel, EventChannel.channel_id == ChannelRow.id)
            .where(EventChannel.event_type == event_type)
            .order_by(EventChannel.position, ChannelRow.id)
        )
    else:
        rows = rows.join(GlobalChannel, GlobalChannel.channel_id == ChannelRow.id).order_by(
            GlobalChannel.position, ChannelRow.id
        )
    return list(session.scalars(rows))


def plan_system_event(
    session: Session, event: Event, *, test_recipient: str | None = None
) -> list[Target]:
    """Return where a system event goes. A test goes there too while the event is off.

    `test_recipient` is the address of the person who pressed Test: the direct mail goes to them.
    """
    setting = event_routing(session, type(event))
    if not setting.enabled and test_recipient is None:
        return [Target(reason=EVENT_OFF)]
    rows = selected_channels(session, event.type, custom=setting.custom)
    if not rows:
        return [Target(reason=NO_CHANNELS)]
    targets = [target for row in rows for target in targets_of(row)]
    mode = setting.notify_user if event.can_notify_user else NotifyUser.DISABLED
    address = test_recipient or event.user_email
    if mode is NotifyUser.DISABLED or not address or not any(row.type == EMAIL for row in rows):
        return targets
    return _with_direct_mail(targets, rows, mode, address)


def _with_direct_mail(
    targets: list[Target], rows: Sequence[ChannelRow], mode: NotifyUser, address: str
) -> list[Target]:
    carrier = first_working_email(rows)
    if carrier is None:
        return [*targets, Target(recipient=address, is_direct=True, reason=NO_WORKING_EMAIL)]
    direct = replace(_of_channel(carrier), recipient=address, is_direct=True)
    if mode is NotifyUser.USER_ONLY:
        return [*(replace(target, reason=USER_ONLY) for target in targets), direct]
    already = _channel_that_writes_to(address, rows)
    if already is not None:
        direct = replace(direct, reason=f"{already.name} already writes to this address.")
    return [*targets, direct]


def first_working_email(rows: Iterable[ChannelRow]) -> ChannelRow | None:
    """Return the first Email channel that is switched on and not broken."""
    return next(
        (row for row in rows if row.type == EMAIL and row.enabled and row.broken_at is None), None
    )


def _channel_that_writes_to(address: str, rows: Iterable[ChannelRow]) -> ChannelRow | None:
    wanted = address.casefold()
    for row in rows:
        if row.type != EMAIL or not row.enabled:
            continue
        if wanted in {recipient.casefold() for recipient in _recipients(row)}:
            return row
    return None


def _recipients(row: ChannelRow) -> tuple[str, ...]:
    try:
        return channels.open_channel(row).recipients
    except AppError:  # its own deliveries will say what is wrong with it
        return ()


def plan_job_event(session: Session, event: Event, job_id: int) -> list[Target]:
    """Return where the outcome of a run goes: the job's rows, each channel at most once."""
    met = CONDITIONS[event.type]
    rows = session.execute(
        select(JobChannel.condition, ChannelRow)
        .join(ChannelRow, ChannelRow.id == JobChannel.channel_id)
        .where(JobChannel.job_id == job_id)
        .order_by(JobChannel.id)
    ).all()
    if not rows:
        return [Target(reason=NO_JOB_CHANNELS)]
    told: set[int] = set()
    targets = []
    for stored, row in rows:
        condition = Condition(stored)
        if condition not in met:
            reason = f"The condition “{CONDITION_LABELS[condition]}” is not met by this outcome."
            targets.append(replace(_of_channel(row), reason=reason))
        elif row.id in told:
            targets.append(replace(_of_channel(row), reason=COVERED))
        else:
            told.add(row.id)
            targets += targets_of(row)
    return targets


def targets_of(row: ChannelRow, *, even_if_off: bool = False) -> list[Target]:
    """Return what a channel stands for: itself, or each of its recipients."""
    whole = _of_channel(row)
    if even_if_off:
        whole = replace(whole, reason=None)
    kind = BY_TYPE.get(row.type)
    if kind is None or not kind.recipients_apart or whole.reason is not None:
        return [whole]
    return [replace(whole, recipient=one) for one in _recipients(row)] or [whole]


def _of_channel(row: ChannelRow) -> Target:
    return Target(
        channel_id=row.id,
        channel_name=row.name,
        channel_type=row.type,
        reason=None if row.enabled else CHANNEL_OFF,
        broken=None if row.broken_at is None else row.last_error or "unknown error",
    )
