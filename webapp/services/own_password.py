"""Proving again who one is: one's own password, with a limit on wrong ones."""

from webapp.core.errors import InvalidError
from webapp.models.user import User
from webapp.services import audit, passwords, throttle
from webapp.services.transaction import transaction

WRONG: str = "This is not your present password."


def demand(user_id: int, password: str, field: str = "present") -> None:
    """Return if this is the person's password.

    Raises:
        InvalidError: it is not; `field` names where it was typed.
        TooManyError: too many wrong ones came before.
    """
    key = f"confirm:{user_id}"
    with transaction() as session:
        throttle.attempt(session, key)
        user = session.get_one(User, user_id)
    right = passwords.matches(user.password_hash, password)
    with transaction() as session:
        if right:
            throttle.passed(session, key)
        else:
            audit.note(session, "confirmation.failed", user.email)
    if not right:
        raise InvalidError(WRONG, field)
