"""Notes every change of what people configure, whoever makes it and however.

A flush of watched rows writes the entries into the same transaction. Statements that bypass the
session's rows (an upsert, a bulk delete) note themselves with `audit.note`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import event, inspect, select
from sqlalchemy.orm import Session, UOWTransaction

from webapp.core.errors import SecretError
from webapp.models.channel import ChannelRow
from webapp.models.job import DestinationRow, Job, JobDestination, SourceRow
from webapp.models.routing import GlobalChannel, JobChannel
from webapp.models.run import Restore, Run, Trigger
from webapp.models.setting import Setting
from webapp.models.user import User
from webapp.services import audit, config_schedule, config_secrets, heartbeat
from webapp.services.audit import CHANGED
from webapp.services.config_secrets import Kind
from webapp.services.installation import installation

BOOKKEEPING: Final = frozenset({"id", "version", "created_at", "summary"})
SEALED_SETTINGS: Final = frozenset({heartbeat.KEY, config_schedule.SECRET})
"""Settings whose value is sealed; sealing one anew is no change."""
SECRET_WORDS: Final = ("hash", "secret", "identity", "password", "passphrase", "token")


@dataclass(frozen=True, kw_only=True)
class Watch:
    """One table. `ignored` columns are no decision of anybody."""

    kind: str
    name: Callable[[Session, Any], str] = lambda _session, row: str(row.name)
    ignored: frozenset[str] = frozenset()
    changes_only: bool = False
    """Whether rows are made and deleted by something that notes itself."""
    sealed: Kind | None = None
    """What `config` holds; None: there is no such column."""


def _channel_name(session: Session, channel_id: int) -> str:
    name = session.scalar(select(ChannelRow.name).where(ChannelRow.id == channel_id))
    return name or f"channel {channel_id}"


def _job_channel(session: Session, row: Any) -> str:
    job = session.scalar(select(Job.name).where(Job.id == row.job_id)) or f"job {row.job_id}"
    return f"{job}: {_channel_name(session, row.channel_id)}"


def _job_destination(session: Session, row: Any) -> str:
    job = session.scalar(select(Job.name).where(Job.id == row.job_id))
    place = select(DestinationRow.name).where(DestinationRow.id == row.destination_id)
    return f"{job}: {session.scalar(place)}"


WATCHED: Final[Mapping[type[Any], Watch]] = {
    ChannelRow: Watch(
        kind="channel",
        sealed=config_secrets.CHANNELS,
        ignored=frozenset(
            {"enabled_changed_at", "last_delivered_at", "failing_since", "failure_count"}
            | {"last_error", "last_advice", "broken_at"}
        ),
    ),
    SourceRow: Watch(kind="source", sealed=config_secrets.SOURCES),
    DestinationRow: Watch(kind="destination", sealed=config_secrets.DESTINATIONS),
    Job: Watch(
        kind="job", ignored=frozenset({"folder", "served_until", "proven_at", "proof_tried_at"})
    ),
    JobChannel: Watch(
        kind="job_channel", name=_job_channel, ignored=frozenset({"job_id", "channel_id"})
    ),
    JobDestination: Watch(
        kind="job_destination",
        name=_job_destination,
        ignored=frozenset({"job_id", "destination_id", "position"}),
        changes_only=True,
    ),
    User: Watch(
        kind="user",
        name=lambda _session, row: str(row.email),
        ignored=frozenset({"email_key", "theme", "session_version", "last_login_at"})
        | {"totp_secret", "totp_draft", "totp_step"},
    ),
    Setting: Watch(
        kind="setting", name=lambda _session, row: str(row.key), ignored=frozenset({"key"})
    ),
}


def init_app() -> None:
    """Begin to watch; called again it changes nothing."""
    if not event.contains(Session, "after_flush", _after_flush):
        event.listen(Session, "after_flush", _after_flush)


def _after_flush(session: Session, _context: UOWTransaction) -> None:
    for row in session.new:
        _note(session, row, "created")
    for row in session.dirty:
        _note(session, row, "changed")
    for row in session.deleted:
        _note(session, row, "deleted")


def _note(session: Session, row: Any, change: str) -> None:
    watch = WATCHED.get(type(row))
    if watch is not None:
        if watch.changes_only and change != "changed":
            return
        before, after = _facts(row, watch, change)
        if before or after:
            action = f"{watch.kind}.{change}"
            audit.note(session, action, watch.name(session, row), before=before, after=after)
    elif isinstance(row, GlobalChannel):
        name = _channel_name(session, row.channel_id)
        is_new = change == "created"
        audit.note_change(
            session, "global_channels.changed", name, {"global": not is_new}, {"global": is_new}
        )
    elif isinstance(row, Run):
        _note_run(session, row, change)
    elif isinstance(row, Restore):
        _note_restore(session, row, change)


def _note_run(session: Session, row: Run, change: str) -> None:
    if change == "created" and row.trigger in (Trigger.MANUAL, Trigger.CLI):
        audit.note(session, "run.started", row.job_name, after={"run": row.id})
    elif change == "changed" and row.stopped_by and _has_changed(row, "stopped_by"):
        audit.note(session, "run.stopped", row.job_name, after={"run": row.id})


def _note_restore(session: Session, row: Restore, change: str) -> None:
    facts = {"restore": row.id, "target": row.target}
    if change == "created":
        audit.note(session, "restore.requested", row.artifact_key, after=facts)
    elif change == "changed" and row.stop_requested and _has_changed(row, "stop_requested"):
        audit.note(session, "restore.stopped", row.artifact_key, after=facts)


def _has_changed(row: Any, column: str) -> bool:
    return bool(inspect(row).attrs[column].history.has_changes())


def _facts(row: Any, watch: Watch, change: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what to show of a row before and after; only what differs of a changed one."""
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    for column in _columns(row, watch):
        history = inspect(row).attrs[column].history
        if change == "changed" and not history.has_changes():
            continue
        now = getattr(row, column)
        old = history.deleted[0] if history.deleted else None if change == "created" else now
        if column == "config" and watch.sealed is not None:
            was, is_ = _opened(old), _opened(now)
            _configs(watch.sealed, row.type, was, is_, change, before, after)
        elif isinstance(row, Setting) and row.key in SEALED_SETTINGS:
            if change != "changed" or _opened(old) != _opened(now):
                before[column], after[column] = CHANGED if old else None, CHANGED if now else None
        elif isinstance(row, Setting) and row.key == config_schedule.KEY:
            was, is_ = config_schedule.decisions(old), config_schedule.decisions(now)
            for name in {**was, **is_}:
                if was.get(name) != is_.get(name):
                    before[name], after[name] = was.get(name), is_.get(name)
        elif any(word in column for word in SECRET_WORDS):
            if change == "changed" and old != now:
                before[column.removesuffix("_hash")] = after[column.removesuffix("_hash")] = CHANGED
        elif change != "changed" or old != now:
            before[column], after[column] = _plain(old), _plain(now)
    return ({} if change == "created" else before), ({} if change == "deleted" else after)


def _columns(row: Any, watch: Watch) -> Iterable[str]:
    names = (attribute.key for attribute in inspect(type(row)).column_attrs)
    return (name for name in names if name not in BOOKKEEPING and name not in watch.ignored)


def _configs(
    kind: Kind,
    type_name: str,
    was: dict[str, Any],
    now: dict[str, Any],
    change: str,
    before: dict[str, Any],
    after: dict[str, Any],
) -> None:
    """Add the values of a configuration that differ; a secret only says that it did."""
    hidden = kind.split(type_name, was)[1].keys() | kind.split(type_name, now)[1].keys()
    for key in {**was, **now}:
        old, new = was.get(key), now.get(key)
        if change == "changed" and old == new:
            continue
        secret = key in hidden
        before[key] = (CHANGED if old else None) if secret else _plain(old)
        after[key] = (CHANGED if new else None) if secret else _plain(new)


def _opened(sealed: str | None) -> dict[str, Any]:
    if not sealed:
        return {}
    try:
        return installation().sealer.open(sealed)
    except SecretError:  # its key was lost; what is entered anew can still be noted
        return {}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    return (
        value
        if value is None or isinstance(value, bool | int | float | list | dict)
        else str(value)
    )
