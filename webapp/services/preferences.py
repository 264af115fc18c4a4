"""Settings that admins change under Settings → General."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy import Connection, select
from sqlalchemy.orm import Session

from webapp.core.errors import InvalidError
from webapp.core.text import one_line
from webapp.models.setting import Setting
from webapp.services.installation import installation
from webapp.services.transaction import reading, transaction

DEFAULT_INSTANCE_NAME = "DBackup"


@dataclass(frozen=True, kw_only=True)
class Preferences:
    """How this installation calls itself, where it is reached, and which zone it lives in."""

    instance_name: str
    base_url: str
    timezone: str


_STORED: Final = select(Setting.key, Setting.value)  # built once; each claim reads it


def load(connection: Connection) -> Preferences:
    """Return the stored values; what is not stored comes from the environment."""
    settings = installation().settings
    stored = {row.key: row.value for row in connection.execute(_STORED)}
    return Preferences(
        instance_name=stored.get("instance_name") or DEFAULT_INSTANCE_NAME,
        base_url=stored.get("base_url")
        or settings.base_url
        or f"http://{'127.0.0.1' if settings.host == '0.0.0.0' else settings.host}:{settings.port}",  # noqa: S104 - compared, not bound
        timezone=stored.get("timezone") or settings.timezone,
    )


def current() -> Preferences:
    """Return the preferences as they are now."""
    with reading() as session:
        return load(session.connection())


def save(*, instance_name: str, base_url: str, timezone: str) -> None:
    """Store the three values; an empty one goes back to its default.

    Raises:
        InvalidError: the address or the time zone cannot be used.
    """
    values = {
        "instance_name": one_line(instance_name),
        "base_url": _address(base_url.strip()),
        "timezone": _zone(timezone.strip()),
    }
    with transaction() as session:
        for key, value in values.items():
            session.merge(Setting(key=key, value=value))


def store_timezone(session: Session, name: str) -> None:
    """Store the zone of the instance.

    Raises:
        InvalidError: there is no such zone.
    """
    session.merge(Setting(key="timezone", value=_zone(name)))


def _address(url: str) -> str:
    """Return what links in messages begin with."""
    try:
        parts = urlsplit(url)
        port_is_fine = parts.port is None or parts.port > 0
    except ValueError:
        port_is_fine = False
    right = port_is_fine and parts.scheme in {"http", "https"} and parts.hostname
    if url and (not right or parts.username or parts.query or parts.fragment or " " in url):
        raise InvalidError(
            "Enter an address such as https://backup.example.org, without anything after the path.",
            "base_url",
        )
    return url.rstrip("/")


def _zone(name: str) -> str:
    try:
        return ZoneInfo(name).key if name else ""
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise InvalidError(f"{name} is not a known time zone.", "timezone") from error
