"""How many backups and restores this installation carries out at once."""

from typing import Final

from sqlalchemy.orm import Session

from webapp.core.errors import InvalidError
from webapp.models.setting import Setting
from webapp.services.transaction import reading, transaction

KEY: Final = "runs_at_once"
USUAL: Final = 2
MOST: Final = 16


def at_once() -> int:
    """Return how many runs all processes together carry out at once."""
    with reading() as session:
        return load(session)


def load(session: Session) -> int:
    """Return it from the caller's look at the database."""
    row = session.get(Setting, KEY)
    return int(row.value) if row is not None and row.value.isdecimal() else USUAL


def save(count: int) -> None:
    """Store how many.

    Raises:
        InvalidError: it is out of range.
    """
    if not 1 <= count <= MOST:
        raise InvalidError(f"Enter a number from 1 to {MOST}.", KEY)
    with transaction() as session:
        session.merge(Setting(key=KEY, value=str(count)))
