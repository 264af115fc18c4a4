"""Settings → Notifications: how each system event is set, and each way to change it.

Every change is one small transaction that writes only its own field, so that two admins at once
both keep theirs. The rules of routing are in services/routing.py; this is what they read.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from typing import Any, Final

from sqlalchemy import Insert, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from webapp.core import clock
from webapp.core.errors import InvalidError, NotFoundError
from webapp.models.channel import ChannelRow
from webapp.models.routing import EventChannel, EventSetting, GlobalChannel, NotifyUser
from webapp.models.setting import RateBucket
from webapp.notify import channels as registry
from webapp.notify.events import SYSTEM_EVENTS, Event, Group
from webapp.services import audit, event_words, rates
from webapp.services.fallbacks import TOO_LONG
from webapp.services.transaction import reading, transaction

EMAIL: Final = "email"
CHANGED: Final = "event.changed"
_UNKNOWN_ICON: Final = "bell"  # a type that this version does not have

_BY_KEY: Final[dict[str, type[Event]]] = {event.type: event for event in SYSTEM_EVENTS}

# Plain columns, built once: these run on every page and on every click.
_CHANNELS: Final = (
    select(
        ChannelRow.id,
        ChannelRow.name,
        ChannelRow.type,
        ChannelRow.enabled,
        ChannelRow.failing_since,
        ChannelRow.broken_at,
        ChannelRow.fallback_id,
        ChannelRow.summary,
        GlobalChannel.position,
        select(func.max(RateBucket.blocked_until)).scalar_subquery().label("a_rest"),
    )
    .outerjoin(GlobalChannel, GlobalChannel.channel_id == ChannelRow.id)
    .order_by(ChannelRow.id)
)
_SETTINGS: Final = select(
    EventSetting.event_type, EventSetting.enabled, EventSetting.custom, EventSetting.notify_user
)
_SETTING_OF_ONE: Final = _SETTINGS.where(EventSetting.event_type == bindparam("key"))
_GLOBAL_NAMES: Final = (
    select(ChannelRow.name)
    .join(GlobalChannel, GlobalChannel.channel_id == ChannelRow.id)
    .order_by(GlobalChannel.position, ChannelRow.id)
)
_OWN: Final = select(EventChannel.event_type, EventChannel.channel_id).order_by(
    EventChannel.position, EventChannel.channel_id
)
_OWN_OF_ONE: Final = _OWN.where(EventChannel.event_type == bindparam("key"))


@dataclass(frozen=True, slots=True)
class ChannelChoice:
    """A channel as the pickers offer it."""

    id: int
    name: str
    type: str
    label: str
    icon: str
    on: bool
    failing: bool
    broken: bool
    fallback: str = ""
    """The channel that would take over now, if one would."""
    fallback_rest: timedelta | None = None
    """For how much longer that one gets nothing because its service asked for it."""
    people: str = ""
    """Whom it writes to, as far as it may be shown."""
    rest: timedelta | None = None
    """For how much longer it gets nothing because its service asked for it."""

    @property
    def works(self) -> bool:
        """Say whether a message would go out through it now."""
        return self.on and not self.broken


@dataclass(frozen=True, kw_only=True)
class EventSetup:
    """How one system event is set, with the channels that result from it."""

    event: type[Event]
    enabled: bool
    custom: bool
    notify_user: NotifyUser
    channels: tuple[ChannelChoice, ...]
    """The selection in force: its own, else the global one; channels that are off included."""

    @property
    def key(self) -> str:
        """The id of the event type."""
        return self.event.type

    @property
    def ids(self) -> frozenset[int]:
        """The ids of the selected channels."""
        return frozenset(channel.id for channel in self.channels)

    @property
    def tells_nobody(self) -> bool:
        """Say whether the event is on and yet no selected channel could carry it."""
        return self.enabled and not any(channel.on for channel in self.channels)

    @property
    def has_email(self) -> bool:
        """Say whether an Email channel is selected."""
        return any(channel.type == EMAIL for channel in self.channels)

    @property
    def offers_direct(self) -> bool:
        """Say whether "Notify user directly" is shown."""
        return self.enabled and self.event.can_notify_user and self.has_email

    @property
    def direct_is_inert(self) -> bool:
        """Say whether a stored mode has no effect because no Email channel is left."""
        return (
            self.enabled
            and self.event.can_notify_user
            and self.notify_user != NotifyUser.DISABLED
            and not self.has_email
        )

    @property
    def direct_channel(self) -> ChannelChoice | None:
        """The Email channel that direct mail would go through now."""
        mails = (channel for channel in self.channels if channel.type == EMAIL)
        return next((channel for channel in mails if channel.works), None)

    def goes_to(self, *, names_people: bool) -> str:
        """Return where the event would go now, in words, and to whom for readers who may know."""
        if not self.enabled:
            return event_words.OFF
        mode = self.notify_user if self.offers_direct else None
        shown = self.channels
        if not names_people:
            shown = tuple(replace(channel, people="") for channel in shown)
        return event_words.goes_to(shown, mode, self.direct_channel)


@dataclass(frozen=True, kw_only=True)
class GroupSetup:
    """One group of the page and how many of its events are on."""

    name: Group
    on: int
    of: int
    events: tuple[EventSetup, ...]
    """Those that were asked for."""

    @property
    def slug(self) -> str:
        """The group's name for ids in the page."""
        return self.name.lower()


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What the page shows, or the part of it that one change touches."""

    channels: tuple[ChannelChoice, ...]
    global_channels: tuple[ChannelChoice, ...]
    groups: tuple[GroupSetup, ...]

    @property
    def events(self) -> tuple[EventSetup, ...]:
        """The events that were asked for, in the order of the page."""
        return tuple(event for group in self.groups for event in group.events)

    @property
    def global_ids(self) -> frozenset[int]:
        """The ids of the global channels."""
        return frozenset(channel.id for channel in self.global_channels)

    def group_of(self, event: EventSetup) -> GroupSetup:
        """Return the group that an event stands in."""
        return next(group for group in self.groups if group.name == event.event.group)


@dataclass(frozen=True, kw_only=True)
class Changed:
    """One event after a change, with what its row needs."""

    setup: Setup
    event: EventSetup
    before: tuple[int, ...] = ()
    """The channels of its own selection before the change, for Undo."""

    @property
    def group(self) -> GroupSetup:
        """The group that the event stands in."""
        return self.setup.group_of(self.event)


def overview() -> Setup:
    """Return everything on the page."""
    with reading() as session:
        return _load(session)


def one(key: str) -> Changed:
    """Return one event as it is set.

    Raises:
        NotFoundError: there is no such system event.
    """
    _known(key)
    with reading() as session:
        return _changed(session, key)


def set_enabled(key: str, on: bool) -> Changed:
    """Turn an event on or off."""
    with transaction() as session:
        before = _facts(session, key)
        _save(session, key, enabled=on)
        audit.note_change(session, CHANGED, _known(key).label, before, before | {"enabled": on})
        return _changed(session, key)


def set_notify_user(key: str, mode: str) -> Changed:
    """Store whether the person an event is about is told directly.

    Raises:
        InvalidError: there is no such mode, or the event is about nobody.
    """
    if mode not in set(NotifyUser):
        raise InvalidError("Choose Disabled, Admin & User or User only.", "notify_user")
    if not _known(key).can_notify_user:
        raise InvalidError(f"{_known(key).label} is not about one person.", "notify_user")
    with transaction() as session:
        before = _facts(session, key)
        _save(session, key, notify_user=mode)
        after = before | {"notify_user": mode}
        audit.note_change(session, CHANGED, _known(key).label, before, after)
        return _changed(session, key)


def choose_channels(key: str, channel_ids: Iterable[int]) -> Changed:
    """Give an event its own channels, in this order; none of them means that nobody is told.

    The selection is the event's own even when it equals the global one.
    """
    with transaction() as session:
        _known(key)
        before = _own_ids(session, key)
        session.execute(delete(EventChannel).where(EventChannel.event_type == key))
        rows = [
            {"event_type": key, "channel_id": channel_id, "position": position}
            for position, channel_id in enumerate(_existing(session, channel_ids))
        ]
        facts = _facts(session, key)
        _save(session, key, custom=True)
        if rows:
            session.execute(insert(EventChannel), rows)
        changed = _changed(session, key, before)
        _note_selection(session, changed, facts, before)
        return changed


def reset_channels(key: str) -> Changed:
    """Let an event follow the global channels again; `before` holds what it had."""
    _known(key)
    with transaction() as session:
        facts, before = _facts(session, key), _own_ids(session, key)
        session.execute(
            update(EventSetting).where(EventSetting.event_type == key).values(custom=False)
        )
        session.execute(delete(EventChannel).where(EventChannel.event_type == key))
        changed = _changed(session, key, before)
        _note_selection(session, changed, facts, before)
        return changed


def choose_global(channel_ids: Iterable[int]) -> Setup:
    """Choose the channels of every event without its own selection."""
    with transaction() as session:
        before = session.scalars(_GLOBAL_NAMES).all()
        session.execute(delete(GlobalChannel))
        rows = [
            {"channel_id": channel_id, "position": position}
            for position, channel_id in enumerate(_existing(session, channel_ids))
        ]
        if rows:
            session.execute(insert(GlobalChannel), rows)
        setup = _load(session)
        after = [channel.name for channel in setup.global_channels]
        audit.note_change(
            session,
            "global_channels.changed",
            "",
            {"channels": list(before)},
            {"channels": after},
        )
        return setup


def _facts(session: Session, key: str) -> dict[str, Any]:
    """Return how an event is set, for the audit log."""
    event = _known(key)
    row = session.connection().execute(_SETTING_OF_ONE, {"key": key}).one_or_none()
    if row is None:
        return {
            "enabled": event.on_by_default,
            "custom": False,
            "notify_user": NotifyUser.DISABLED.value,
        }
    return {"enabled": row.enabled, "custom": row.custom, "notify_user": row.notify_user}


def _note_selection(
    session: Session, changed: Changed, facts: dict[str, Any], own: tuple[int, ...]
) -> None:
    names = {channel.id: channel.name for channel in changed.setup.channels}
    was = [names[channel_id] for channel_id in own] if facts["custom"] else None
    custom = changed.event.custom
    now = [channel.name for channel in changed.event.channels] if custom else None
    before = {"custom": facts["custom"], "channels": was}
    after = {"custom": custom, "channels": now}
    audit.note_change(session, CHANGED, changed.event.event.label, before, after)


def _known(key: str) -> type[Event]:
    try:
        return _BY_KEY[key]
    except KeyError:
        raise NotFoundError("There is no such system event.") from None


def _save(session: Session, key: str, **values: Any) -> None:
    """Write these columns and no other; a new row gets the event's defaults for the rest."""
    event = _known(key)
    fresh = {
        "event_type": key,
        "enabled": event.on_by_default,
        "custom": False,
        "notify_user": NotifyUser.DISABLED,
    }
    dialect = session.get_bind().dialect.name
    session.execute(_upsert(dialect, tuple(values)), fresh | values)


@cache
def _upsert(dialect: str, columns: tuple[str, ...]) -> Insert:
    """Return the statement that overwrites these columns of a row that is there."""
    fresh = (postgresql if dialect == "postgresql" else sqlite).insert(EventSetting)
    conflict: dict[str, Any] = {
        "index_elements": [EventSetting.event_type],
        "set_": {name: fresh.excluded[name] for name in columns},
    }
    statement: Insert = fresh.on_conflict_do_update(**conflict)
    return statement


def _existing(session: Session, channel_ids: Iterable[int]) -> list[int]:
    """Return each id once, in the order given, without channels deleted in the meantime."""
    wanted = list(dict.fromkeys(channel_ids))
    there = set(session.scalars(select(ChannelRow.id).where(ChannelRow.id.in_(wanted))))
    return [channel_id for channel_id in wanted if channel_id in there]


def _own_ids(session: Session, key: str) -> tuple[int, ...]:
    rows = session.execute(_OWN_OF_ONE, {"key": key})
    return tuple(row.channel_id for row in rows)


def _changed(session: Session, key: str, before: tuple[int, ...] = ()) -> Changed:
    setup = _load(session, key)
    return Changed(setup=setup, event=setup.events[0], before=before)


def _load(session: Session, only: str | None = None) -> Setup:
    """Read all events, or just one; three statements either way."""
    choices: dict[int, ChannelChoice] = {}
    positions: list[tuple[int, int]] = []
    rows = session.execute(_CHANNELS).all()
    working = {row.id: row.name for row in rows if row.enabled and row.broken_at is None}
    now = clock.now()
    rests = any(row.a_rest and row.a_rest > now for row in rows)
    resting = rates.resting(session) if rests else {}
    rest = {channel_id: until - now for channel_id, until in resting.items()}
    for row in rows:
        choices[row.id] = _choice(row, working.get(row.fallback_id, ""), rest)
        if row.position is not None:
            positions.append((row.position, row.id))
    everywhere = tuple(choices[channel_id] for _, channel_id in sorted(positions))

    stored = {row.event_type: row for row in session.execute(_SETTINGS)}
    own: dict[str, list[ChannelChoice]] = {}
    wanted = _OWN if only is None else _OWN_OF_ONE
    for event_type, channel_id in session.execute(wanted, {"key": only} if only else None):
        own.setdefault(event_type, []).append(choices[channel_id])

    def setup_of(event: type[Event]) -> EventSetup:
        row = stored.get(event.type)
        custom = row is not None and row.custom
        return EventSetup(
            event=event,
            enabled=_is_on(event, stored),
            custom=custom,
            notify_user=NotifyUser.DISABLED if row is None else NotifyUser(row.notify_user),
            channels=tuple(own.get(event.type, ())) if custom else everywhere,
        )

    groups = []
    for name in Group:
        members = [event for event in SYSTEM_EVENTS if event.group == name]
        asked = [event for event in members if only in (None, event.type)]
        groups.append(
            GroupSetup(
                name=name,
                on=sum(_is_on(event, stored) for event in members),
                of=len(members),
                events=tuple(setup_of(event) for event in asked),
            )
        )
    return Setup(channels=tuple(choices.values()), global_channels=everywhere, groups=tuple(groups))


def _is_on(event: type[Event], stored: dict[str, Any]) -> bool:
    row = stored.get(event.type)
    return event.on_by_default if row is None else bool(row.enabled)


def _choice(row: Any, fallback: str, rest: Mapping[int, timedelta]) -> ChannelChoice:
    is_out = row.broken_at is not None or rest.get(row.id, timedelta(0)) > TOO_LONG
    kind = registry.BY_TYPE.get(row.type)
    return ChannelChoice(
        id=row.id,
        name=row.name,
        type=row.type,
        label=kind.label if kind else row.type,
        icon=kind.icon if kind else _UNKNOWN_ICON,
        on=row.enabled,
        failing=row.failing_since is not None,
        broken=row.broken_at is not None,
        fallback=fallback if is_out else "",
        fallback_rest=rest.get(row.fallback_id),
        people=kind.people_in(row.summary) if kind else "",
        rest=rest.get(row.id),
    )


def words(channels: Sequence[ChannelChoice]) -> str:
    """Return "3 channels", "1 channel" or "No channels"."""
    count = len(channels)
    return f"{count} channel{'' if count == 1 else 's'}" if count else "No channels"
