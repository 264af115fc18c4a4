"""All settings as one document, open values and secrets apart.

Rows refer to each other by their names, which are unique, so a document says nothing of the ids
of the installation it came from. Lists keep the order in which things are shown.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.core import clock
from webapp.models.channel import ChannelRow
from webapp.models.job import DestinationRow, Job, JobDestination, SourceRow
from webapp.models.routing import EventChannel, EventSetting, GlobalChannel, JobChannel
from webapp.models.setting import Setting
from webapp.models.user import User
from webapp.services import config_secrets, preferences
from webapp.services.config_secrets import Kind
from webapp.services.installation import installation

FORMAT: Final = "dbackup-configuration"
VERSION: Final = 1
PREFERENCES: Final = ("base_url", "instance_name", "timezone", "runs_at_once")
USER_FIELDS: Final = ("email", "name", "role", "active", "timezone", "theme")
JOB_FIELDS: Final = (
    "name",
    "folder",
    "enabled",
    "schedule",
    "timezone",
    "compression",
    "encryption",
    "recipients",
    "identity",
    "keep_last",
    "name_pattern",
    "time_limit",
    "retries",
    "retry_pause",
    "prove_every",
)


@dataclass(frozen=True)
class Collected:
    """The document and the secrets that belong to it, by section and name."""

    document: dict[str, Any]
    secrets: dict[str, dict[str, Any]]


def collect(session: Session, product_version: str) -> Collected:
    """Read everything that is set.

    Raises:
        SecretError: a stored configuration cannot be opened with the present keys.
    """
    channels, channel_secrets = _configured(session, ChannelRow, config_secrets.CHANNELS)
    sources, source_secrets = _configured(session, SourceRow, config_secrets.SOURCES)
    places, place_secrets = _configured(session, DestinationRow, config_secrets.DESTINATIONS)
    users = session.scalars(select(User).order_by(User.id)).all()
    document = {
        "format": FORMAT,
        "version": VERSION,
        "created_at": clock.now().isoformat(timespec="seconds"),
        "dbackup": product_version,
        "instance": preferences.load(session.connection()).instance_name,
        "preferences": _preferences(session),
        "channels": channels,
        "global_channels": _global_channels(session),
        "events": _events(session),
        "sources": sources,
        "destinations": places,
        "jobs": _jobs(session),
        "users": [{field: getattr(user, field) for field in USER_FIELDS} for user in users],
    }
    return Collected(
        document,
        {
            "channels": channel_secrets,
            "sources": source_secrets,
            "destinations": place_secrets,
            "users": {user.email: {"password_hash": user.password_hash} for user in users},
        },
    )


def _preferences(session: Session) -> dict[str, str]:
    rows = session.scalars(select(Setting).where(Setting.key.in_(PREFERENCES)))
    return {row.key: row.value for row in rows}


def _configured(
    session: Session, table: type[ChannelRow] | type[SourceRow] | type[DestinationRow], kind: Kind
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    entries, secrets = [], {}
    rows: Iterable[Any] = session.scalars(select(table).order_by(table.id)).all()
    names = {row.id: row.name for row in rows}
    for row in rows:
        shown, hidden = kind.split(row.type, installation().sealer.open(row.config))
        entry = {"name": row.name, "type": row.type, "config": shown}
        if isinstance(row, ChannelRow):
            entry |= {"enabled": row.enabled, "fallback": names.get(row.fallback_id)}
        entries.append(entry | {"secret_fields": sorted(hidden)})
        secrets[row.name] = hidden
    return entries, {name: hidden for name, hidden in secrets.items() if hidden}


def _global_channels(session: Session) -> list[str]:
    return list(
        session.scalars(
            select(ChannelRow.name)
            .join(GlobalChannel, GlobalChannel.channel_id == ChannelRow.id)
            .order_by(GlobalChannel.position, ChannelRow.id)
        )
    )


def _events(session: Session) -> list[dict[str, Any]]:
    own: dict[str, list[str]] = {}
    for event_type, name in session.execute(
        select(EventChannel.event_type, ChannelRow.name)
        .join(ChannelRow, ChannelRow.id == EventChannel.channel_id)
        .order_by(EventChannel.position, ChannelRow.id)
    ):
        own.setdefault(event_type, []).append(name)
    return [
        {
            "type": row.event_type,
            "enabled": row.enabled,
            "custom": row.custom,
            "notify_user": row.notify_user,
            "channels": own.get(row.event_type, []),
        }
        for row in session.scalars(select(EventSetting).order_by(EventSetting.event_type))
    ]


def _jobs(session: Session) -> list[dict[str, Any]]:
    places = _grouped(
        session,
        select(JobDestination.job_id, DestinationRow.name, JobDestination.rules)
        .join(DestinationRow, DestinationRow.id == JobDestination.destination_id)
        .order_by(JobDestination.position, DestinationRow.id),
    )
    told = _grouped(
        session,
        select(JobChannel.job_id, ChannelRow.name, JobChannel.condition)
        .join(ChannelRow, ChannelRow.id == JobChannel.channel_id)
        .order_by(JobChannel.id),
    )
    rows = session.execute(
        select(Job, SourceRow.name).join(SourceRow, SourceRow.id == Job.source_id).order_by(Job.id)
    )
    return [
        {field: getattr(job, field) for field in JOB_FIELDS}
        | {
            "source": source,
            "destinations": [name for name, _ in places.get(job.id, [])],
            "rules": {name: rules for name, rules in places.get(job.id, []) if rules is not None},
            "notifications": [
                {"channel": name, "condition": condition}
                for name, condition in told.get(job.id, [])
            ],
        }
        for job, source in rows
    ]


def _grouped(session: Session, query: Any) -> Mapping[int, list[tuple[Any, ...]]]:
    found: dict[int, list[tuple[Any, ...]]] = {}
    for key, *values in session.execute(query):
        found.setdefault(key, []).append(tuple(values))
    return found
