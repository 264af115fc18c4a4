"""Seals everything stored with the newest encryption key, so that older keys can be removed."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from webapp.core.errors import SecretError
from webapp.core.secrets import Sealer
from webapp.models.channel import ChannelRow
from webapp.models.job import DestinationRow, SourceRow
from webapp.models.run import Restore
from webapp.models.setting import Setting
from webapp.models.user import User
from webapp.services import audit, config_schedule, heartbeat
from webapp.services.installation import installation
from webapp.services.transaction import reading, transaction

SEALED: Final[tuple[type[ChannelRow] | type[SourceRow] | type[DestinationRow], ...]] = (
    ChannelRow,
    SourceRow,
    DestinationRow,
)
NAMES: Final = {ChannelRow: "channel", SourceRow: "source", DestinationRow: "destination"}
SETTINGS: Final = {
    heartbeat.KEY: "heartbeat address",
    config_schedule.SECRET: "passphrase of the configuration backup",
}


def reseal() -> int:
    """Seal every configuration anew, all or none; return how many.

    Raises:
        SecretError: one of them cannot be opened; nothing was changed.
    """
    sealer = installation().sealer
    count = 0
    with transaction() as session:
        for model in SEALED:
            # locked: what somebody saves at this very moment must not be overwritten by what it was
            rows: Iterable[Any] = session.scalars(
                select(model).order_by(model.id).with_for_update()
            )
            for row in rows:
                try:
                    row.config = sealer.reseal(row.config)
                except SecretError as error:
                    raise SecretError(
                        f"The {NAMES[model]} “{row.name}” cannot be opened with the present keys; "
                        "nothing was changed. Add the key that sealed it to the encryption keys, "
                        "or save it anew in the browser."
                    ) from error
                count += 1
        count += _second_factors(session, sealer) + _heartbeat(session, sealer)
        count += _config_passphrase(session, sealer) + _waiting_restores(session, sealer)
        audit.note(session, "secrets.rotated", after={"sealed": count})
    return count


def _second_factors(session: Session, sealer: Sealer) -> int:
    session.execute(update(User).values(totp_draft=None))  # shown and not proven: begun anew
    found = select(User).where(User.totp_secret.is_not(None)).order_by(User.id)
    users = session.scalars(found.with_for_update()).all()
    for user in users:
        try:
            user.totp_secret = sealer.reseal(user.totp_secret or "")
        except SecretError as error:
            raise SecretError(
                f"The second factor of {user.email} cannot be opened with the present keys; "
                "nothing was changed. Add the key that sealed it, or reset the second factor."
            ) from error
    return len(users)


def _heartbeat(session: Session, sealer: Sealer) -> int:
    row = session.get(Setting, heartbeat.KEY, with_for_update=True)
    if row is None:
        return 0
    try:
        row.value = sealer.reseal(row.value)
    except SecretError as error:
        raise SecretError(
            "The heartbeat address cannot be opened with the present keys; nothing was changed. "
            "Add the key that sealed it, or enter the address anew under Settings → Monitoring."
        ) from error
    return 1


def _config_passphrase(session: Session, sealer: Sealer) -> int:
    row = session.get(Setting, config_schedule.SECRET, with_for_update=True)
    if row is None:
        return 0
    try:
        row.value = sealer.reseal(row.value)
    except SecretError as error:
        raise SecretError(
            "The passphrase of the configuration backup cannot be opened with the present keys; "
            "nothing was changed. Add the key that sealed it, or enter the passphrase anew under "
            "Settings → Configuration backup."
        ) from error
    return 1


def _waiting_restores(session: Session, sealer: Sealer) -> int:
    """Seal anew what opens the artifacts of restores that have not ended."""
    found = select(Restore).where(Restore.unlock.is_not(None)).order_by(Restore.id)
    rows = session.scalars(found.with_for_update()).all()
    for row in rows:
        try:
            row.unlock = sealer.reseal(row.unlock or "")
        except SecretError as error:
            raise SecretError(
                f"What opens {row.artifact_key} for restore {row.id} was sealed with a key that is "
                "not here; nothing was changed. Stop that restore, or add the key."
            ) from error
    return len(rows)


def unopenable() -> list[str]:
    """Return what is sealed with a key that is not here: 'channel “Ops”', …"""
    with reading() as session:
        return [name for name, sealed in _sealed(session) if not _opens(sealed)]


def _sealed(session: Session) -> Iterator[tuple[str, str]]:
    """Yield everything that is sealed, each with what a person calls it."""
    for model in SEALED:
        for name, config in session.execute(select(model.name, model.config)):
            yield f"{NAMES[model]} “{name}”", config
    for email, secret in session.execute(
        select(User.email, User.totp_secret).where(User.totp_secret.is_not(None))
    ):
        yield f"second factor of {email}", secret or ""
    for key, name in SETTINGS.items():
        if (row := session.get(Setting, key)) is not None:
            yield name, row.value
    for number, unlock in session.execute(
        select(Restore.id, Restore.unlock).where(Restore.unlock.is_not(None))
    ):
        yield f"restore {number}", unlock or ""


def _opens(sealed: str) -> bool:
    try:
        installation().sealer.open(sealed)
    except SecretError:
        return False
    return True
