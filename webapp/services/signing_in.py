"""Signing in: the right password of an active account, perhaps a second factor, and what is told.

An answer gives nothing away: whoever guesses hears the same, in the same time, whether there is
such an account, whether it may sign in, and whether it has a second factor.
"""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from webapp.core import clock
from webapp.core.errors import InvalidError, TooManyError
from webapp.models.user import User
from webapp.notify.events.user_login import UserLogin
from webapp.services import audit, audit_log, outbox, passwords, second_factor, sessions, throttle
from webapp.services.audit import Actor
from webapp.services.sessions import Visitor
from webapp.services.transaction import reading, transaction
from webapp.services.users import email_key

REFUSED: Final = (
    "That email and password do not match. Try again, or ask an admin to reset your password."
)
BEGIN_ANEW: Final = "Sign in again: the account was changed, or too much time has passed."


@dataclass(frozen=True, kw_only=True)
class SignedIn:
    """A session that has just begun."""

    user: User
    token: str
    """What the cookie holds."""


def check(email: str, password: str, visitor: Visitor) -> User:
    """Return the account that this is the password of. Nobody is signed in by this yet.

    Raises:
        InvalidError: nobody has this email and password, or the account is not active.
        TooManyError: too many wrong passwords came before, for this email.
    """
    with reading() as session:
        user = session.scalar(select(User).where(User.email_key == email_key(email)))
    key = _key("password", user.id if user else None, email_key(email), visitor)
    _begin(key, email, visitor)
    right = passwords.matches(user.password_hash if user else None, password)
    fresh = passwords.hashed(password) if right and _outdated(user) else ""
    with transaction() as session:
        if user is not None and right and user.active:
            throttle.passed(session, key)
            if fresh:
                _rehash(session, user, fresh)
            return user
        why = "unknown email" if user is None else "account is off" if right else "wrong password"
        _note_failure(session, email, why, visitor)
    raise InvalidError(REFUSED)


def check_code(user_id: int, version: int, code: str, visitor: Visitor) -> str:
    """Return by what the code is right: the app or a recovery code. It is used up by this.

    Raises:
        InvalidError: the code is wrong, or was used already (field "code"); or the account has
            changed since the password was checked (no field).
        TooManyError: too many wrong codes came before.
    """
    key = _key("code", user_id, str(user_id), visitor)
    with reading() as session:
        email = session.scalar(select(User.email).where(User.id == user_id)) or ""
    _begin(key, email, visitor)
    with transaction() as session:
        user = _unchanged(session, user_id, version)
        method = second_factor.accept(session, user, code)
        if method:
            throttle.passed(session, key)
            if method == second_factor.RECOVERY:
                audit.note(session, "recovery_code.used", user.email, by=_as(user, visitor))
            return method
        _note_failure(session, user.email, "wrong code", visitor)
    raise InvalidError(second_factor.WRONG, "code")


def complete(
    user_id: int, version: int, visitor: Visitor, *, remember: bool, method: str = "password"
) -> SignedIn:
    """Begin the session and publish user_login, in one transaction.

    `version` is the account's `session_version` when its password was checked.

    Raises:
        InvalidError: in between somebody changed the password or shut the door.
    """
    with transaction() as session:
        user = _unchanged(session, user_id, version)
        user.last_login_at = clock.now()
        token = sessions.begin(session, user, visitor, remember=remember, method=method)
        audit.note(session, "sign_in", user.email, after={"method": method}, by=_as(user, visitor))
        audit_log.prune(session)
        outbox.publish(
            session,
            UserLogin(
                user=user.name,
                email=user.email,
                ip_address=visitor.ip_address,
                browser=visitor.browser,
            ),
        )
    return SignedIn(user=user, token=token)


def first(user: User, visitor: Visitor) -> SignedIn:
    """Begin the session of somebody who has just made the first account."""
    with transaction() as session:
        token = sessions.begin(session, user, visitor, remember=False, method="setup")
        by = _as(user, visitor)
        audit.note(session, "sign_in", user.email, after={"method": "setup"}, by=by)
    return SignedIn(user=user, token=token)


def _key(what: str, user_id: int | None, name: str, visitor: Visitor) -> str:
    """Return what wrong tries count for: the account, or this browser if it is known there.

    So whoever guesses from elsewhere makes others wait, and not the account's owner.
    """
    device = visitor.device
    if device is not None and device.user_id == user_id:
        return f"device:{what}:{device.name}"
    return f"{what}:{name}"


def _begin(key: str, email: str, visitor: Visitor) -> None:
    with transaction() as session:
        try:
            throttle.attempt(session, key)
        except TooManyError as error:
            problem = error
            _note_failure(session, email, "has to wait", visitor)
        else:
            return
    raise problem


def _unchanged(session: Session, user_id: int, version: int) -> User:
    user = session.get(User, user_id, with_for_update=True)
    if user is None or not user.active or user.session_version != version:
        raise InvalidError(BEGIN_ANEW)
    return user


def _outdated(user: User | None) -> bool:
    return user is not None and passwords.is_outdated(user.password_hash)


def _rehash(session: Session, user: User, fresh: str) -> None:
    session.execute(
        update(User)
        .where(User.id == user.id, User.password_hash == user.password_hash)
        .values(password_hash=fresh)
        .execution_options(synchronize_session=False)
    )


def _note_failure(session: Session, email: str, why: str, visitor: Visitor) -> None:
    # what has no @ is perhaps a password in the wrong field
    shown = email if "@" in email else "not an email"
    by = Actor("nobody", None, visitor.ip_address)
    audit.note(session, "sign_in.failed", shown, after={"reason": why}, by=by)


def _as(user: User, visitor: Visitor) -> Actor:
    return Actor(user.name, user.id, visitor.ip_address)
