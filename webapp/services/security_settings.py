"""Settings → Security: what applies to everybody."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.core.errors import InvalidError
from webapp.models.audit import SHORTEST_RETENTION
from webapp.models.setting import Setting
from webapp.models.user import Role
from webapp.services.transaction import reading, transaction

DEFAULT_AUDIT_DAYS: Final = 365
LONGEST_RETENTION: Final = 36_500  # days


class SecondFactorFor(StrEnum):
    """Who must have a second factor."""

    NOBODY = ""
    ADMINS = "admins"
    EVERYONE = "everyone"

    def includes(self, role: str) -> bool:
        """Say whether people of this role must have one."""
        return self is self.EVERYONE or (self is self.ADMINS and role == Role.ADMIN)


@dataclass(frozen=True, kw_only=True)
class SecuritySettings:
    """What is stored."""

    second_factor_for: SecondFactorFor = SecondFactorFor.NOBODY
    audit_days: int = DEFAULT_AUDIT_DAYS
    oidc_create: bool = False
    """Whether somebody whom the OpenID provider knows and we do not gets an account (viewer)."""


def current() -> SecuritySettings:
    """Return the settings as they are now."""
    with reading() as session:
        return load(session)


def load(session: Session) -> SecuritySettings:
    """Return the stored values; what is not stored has its default."""
    names = ("second_factor_for", "audit_days", "oidc_create")
    found = session.scalars(select(Setting).where(Setting.key.in_(names)))
    stored = {row.key: row.value for row in found}
    return SecuritySettings(
        second_factor_for=SecondFactorFor(stored.get("second_factor_for", "")),
        audit_days=int(stored.get("audit_days", DEFAULT_AUDIT_DAYS)),
        oidc_create=stored.get("oidc_create") == "1",
    )


def save(wanted: SecuritySettings) -> None:
    """Store the settings.

    Raises:
        InvalidError: the log would be kept for too short or too long.
    """
    if not SHORTEST_RETENTION <= wanted.audit_days <= LONGEST_RETENTION:
        raise InvalidError(
            f"Keep the log for {SHORTEST_RETENTION} to {LONGEST_RETENTION} days.", "audit_days"
        )
    values = {
        "second_factor_for": wanted.second_factor_for.value,
        "audit_days": str(wanted.audit_days),
        "oidc_create": "1" if wanted.oidc_create else "",
    }
    with transaction() as session:
        for key, value in values.items():
            session.merge(Setting(key=key, value=value))
