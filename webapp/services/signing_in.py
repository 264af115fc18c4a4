"""Signing in: the right password of an active account, and the event about it."""

from typing import Final

from sqlalchemy import select

from webapp.core import clock
from webapp.core.errors import InvalidError
from webapp.models.user import User
from webapp.notify.events.user_login import UserLogin
from webapp.services import outbox, passwords
from webapp.services.transaction import reading, transaction
from webapp.services.users import email_key

REFUSED: Final = (
    "That email and password do not match. Try again, or ask an admin to reset your password."
)


def sign_in(email: str, password: str, *, ip_address: str, browser: str) -> User:
    """Return the account and publish user_login, in one transaction.

    Raises:
        InvalidError: nobody has this email and password, or the account is not active. The answer
            and the time it takes are the same for each.
    """
    user = _checked(email, password)
    fresh_hash = passwords.hashed(password) if passwords.is_outdated(user.password_hash) else ""
    with transaction() as session:
        present = session.get(User, user.id)
        # between the check and now somebody may have changed the password or shut the door
        if present is None or not present.active or present.password_hash != user.password_hash:
            raise InvalidError(REFUSED)
        present.last_login_at = clock.now()
        present.password_hash = fresh_hash or present.password_hash
        outbox.publish(
            session,
            UserLogin(
                user=present.name, email=present.email, ip_address=ip_address, browser=browser
            ),
        )
    return present


def _checked(email: str, password: str) -> User:
    with reading() as session:
        user = session.scalar(select(User).where(User.email_key == email_key(email)))
    right = passwords.matches(user.password_hash if user else None, password)
    if user is None or not right or not user.active:
        raise InvalidError(REFUSED)
    return user
