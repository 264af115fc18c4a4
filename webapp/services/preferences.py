"""Settings that admins change under Settings → General."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

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


def load(session: Session) -> Preferences:
    """Return the stored values; what is not stored comes from the environment."""
    settings = installation().settings
    stored = {row.key: row.value for row in session.scalars(select(Setting))}
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
        return load(session)


def save(*, instance_name: str, base_url: str, timezone: str) -> None:
    """Store the three values; an empty one goes back to its default."""
    values = {"instance_name": instance_name, "base_url": base_url, "timezone": timezone}
    with transaction() as session:
        for key, value in values.items():
            session.merge(Setting(key=key, value=value.strip()))
