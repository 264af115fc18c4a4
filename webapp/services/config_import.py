"""Writes a document of settings into a fresh installation, all of it or nothing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import exists, select
from sqlalchemy.exc import OperationalError, StatementError
from sqlalchemy.orm import Session

from webapp.core.errors import ConflictError, InvalidError
from webapp.models.channel import ChannelRow
from webapp.models.job import DestinationRow, Job, JobDestination, SourceRow
from webapp.models.routing import (
    Condition,
    EventChannel,
    EventSetting,
    GlobalChannel,
    JobChannel,
    NotifyUser,
)
from webapp.models.setting import Setting
from webapp.models.user import Role, Theme, User
from webapp.services import config_secrets, schedules
from webapp.services.config_document import JOB_FIELDS, PREFERENCES
from webapp.services.config_secrets import Kind
from webapp.services.installation import installation

NOT_FRESH: Final = (
    "This installation has channels, sources, destinations or jobs already. A configuration is "
    "imported into a fresh installation only, so that nothing is overwritten."
)
DAMAGED: Final = "This is not a whole configuration backup: a part is missing or has no sense."
NO_PASSWORD: Final = ""  # matches nothing


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What was imported, and what a person still has to do."""

    channels: int
    sources: int
    destinations: int
    jobs: int
    users: int
    incomplete: tuple[str, ...]
    """What lacks its secrets, as sentences; such channels are switched off."""
    fingerprint: str
    identical: bool | None
    """Whether notifications are set exactly as they were; None: the file cannot tell."""


def require_fresh(session: Session) -> None:
    """Refuse an installation that is in use.

    Raises:
        ConflictError: it has channels, sources, destinations or jobs.
    """
    for table in (ChannelRow, SourceRow, DestinationRow, Job):
        if session.scalar(select(exists().select_from(table))):
            raise ConflictError(NOT_FRESH)


def write(
    session: Session, document: Mapping[str, Any], secrets: Mapping[str, Any] | None
) -> tuple[dict[str, int], list[str]]:
    """Write everything; return how many of each, and what lacks its secrets.

    `secrets` is None when the file was made without them.

    Raises:
        InvalidError: the document is damaged, or names what this version does not have.
    """
    try:
        return _write(session, document, secrets)
    except OperationalError:  # the database does not answer: the document is not to blame
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InvalidError(DAMAGED) from error
    except StatementError as error:  # a name twice, a list where a text belongs
        raise InvalidError(DAMAGED) from error


def _write(
    session: Session, document: Mapping[str, Any], secrets: Mapping[str, Any] | None
) -> tuple[dict[str, int], list[str]]:
    known, missing = secrets or {}, []
    for key in PREFERENCES:
        if key in document["preferences"]:
            session.merge(Setting(key=key, value=str(document["preferences"][key])))
    made: dict[str, dict[str, int]] = {}
    for section, table, kind in _CONFIGURED:
        rows, lacking = _configured(document[section], known.get(section, {}), table, kind)
        made[section] = _stored(session, rows)
        missing += lacking
    channels = made["channels"]
    _fallbacks(session, document["channels"], channels)
    _routes(session, document, channels)
    for entry in document["jobs"]:
        _job(session, entry, made)
    added, lacking = _users(session, document["users"], known.get("users", {}))
    counts = {section: len(rows) for section, rows in made.items()}
    session.flush()
    return counts | {"jobs": len(document["jobs"]), "users": added}, missing + lacking


_CONFIGURED: Final[tuple[tuple[str, type[Any], Kind], ...]] = (
    ("channels", ChannelRow, config_secrets.CHANNELS),
    ("sources", SourceRow, config_secrets.SOURCES),
    ("destinations", DestinationRow, config_secrets.DESTINATIONS),
)


def _configured(
    entries: Iterable[Mapping[str, Any]], secrets: Mapping[str, Any], table: type[Any], kind: Kind
) -> tuple[list[Any], list[str]]:
    rows, lacking = [], []
    for entry in entries:
        name, type_name = str(entry["name"]), str(entry["type"])
        if not kind.knows(type_name):
            raise InvalidError(
                f"“{name}” is of the type “{type_name}”, which this version of DBackup does not "
                "know. Update DBackup, then import again."
            )
        hidden = dict(secrets.get(name, {}))
        config = dict(entry["config"]) | hidden
        absent = [field for field in entry["secret_fields"] if field not in hidden]
        row = table(name=name, type=type_name, config=installation().sealer.seal(config))
        if absent:
            lacking.append(f"{name}: enter {' and '.join(absent)} again.")
        else:
            row.summary = kind.summary(type_name, config)
        if isinstance(row, ChannelRow):
            row.enabled = bool(entry["enabled"]) and not absent
        rows.append(row)
    return rows, lacking


def _stored(session: Session, rows: Iterable[Any]) -> dict[str, int]:
    ids: dict[str, int] = {}
    for row in rows:
        session.add(row)
        session.flush()  # one by one, so that ids keep the order
        ids[row.name] = row.id
    return ids


def _fallbacks(
    session: Session, entries: Iterable[Mapping[str, Any]], channels: Mapping[str, int]
) -> None:
    for entry in entries:
        if entry["fallback"] is not None:
            row = session.get_one(ChannelRow, channels[entry["name"]])
            row.fallback_id = channels[entry["fallback"]]


def _routes(session: Session, document: Mapping[str, Any], channels: Mapping[str, int]) -> None:
    for position, name in enumerate(document["global_channels"]):
        session.add(GlobalChannel(channel_id=channels[name], position=position))
    for entry in document["events"]:
        session.merge(
            EventSetting(
                event_type=str(entry["type"]),
                enabled=bool(entry["enabled"]),
                custom=bool(entry["custom"]),
                notify_user=NotifyUser(entry["notify_user"]),
            )
        )
        for position, name in enumerate(entry["channels"]):
            session.add(
                EventChannel(
                    event_type=str(entry["type"]), channel_id=channels[name], position=position
                )
            )


def _job(session: Session, entry: Mapping[str, Any], made: Mapping[str, Mapping[str, int]]) -> None:
    # a file of an older version lacks fields that came later
    values = {field: entry[field] for field in JOB_FIELDS if field in entry}
    if values["schedule"] is not None:
        schedules.trigger(values["schedule"], values["timezone"])  # refuses what cannot run
    job = Job(**values, source_id=made["sources"][entry["source"]])
    session.add(job)
    session.flush()
    for position, name in enumerate(entry["destinations"]):
        place = made["destinations"][name]
        session.add(
            JobDestination(
                job_id=job.id,
                destination_id=place,
                position=position,
                rules=entry.get("rules", {}).get(name),
            )
        )
    for told in entry["notifications"]:
        session.add(
            JobChannel(
                job_id=job.id,
                channel_id=made["channels"][told["channel"]],
                condition=Condition(told["condition"]),
            )
        )
        session.flush()  # one by one, so that ids keep the order


def _users(
    session: Session, entries: Iterable[Mapping[str, Any]], secrets: Mapping[str, Any]
) -> tuple[int, list[str]]:
    """Add the people that are not there yet; an account that exists keeps all of its values."""
    there = set(session.scalars(select(User.email_key)))
    added, lacking = 0, []
    for entry in entries:
        email = str(entry["email"])
        if email.casefold() in there:
            continue
        password_hash = secrets.get(email, {}).get("password_hash", NO_PASSWORD)
        session.add(
            User(
                email=email,
                email_key=email.casefold(),
                name=str(entry["name"]),
                password_hash=password_hash,
                role=Role(entry["role"]),
                active=bool(entry["active"]),
                timezone=entry["timezone"],
                theme=Theme(entry["theme"]),
            )
        )
        added += 1
        if password_hash == NO_PASSWORD:
            lacking.append(f"{email}: set a new password, it was not in the file.")
    return added, lacking
