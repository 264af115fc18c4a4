"""Which account somebody is whom the OpenID provider has signed in."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from webapp.core import clock
from webapp.core.errors import InvalidError
from webapp.core.text import one_line
from webapp.models.security import Identity
from webapp.models.user import Role, User
from webapp.notify.events.user_created import UserCreated
from webapp.services import audit, outbox, security_settings
from webapp.services.audit import Actor
from webapp.services.sessions import Visitor
from webapp.services.transaction import reading, transaction
from webapp.services.users import email_key

NO_PASSWORD: Final = "!"  # noqa: S105 - matches nothing
FRESH: Final = timedelta(minutes=2)
NAME_LIMIT: Final = 100
EMAIL_LIMIT: Final = 254
SUBJECT_LIMIT: Final = 255
REFUSED: Final = (
    "Your sign-in worked, but it belongs to no account here. Ask an admin to add one with your "
    "email, or to look at it."
)


@dataclass(frozen=True, kw_only=True)
class Claims:
    """What the provider's signed token says."""

    issuer: str
    subject: str
    email: str
    email_verified: bool
    name: str
    auth_time: int = 0
    """When the person last entered a password there, in seconds since 1970; 0: it does not say."""


def account(claims: Claims, visitor: Visitor) -> User:
    """Return the active account of this person, linked at the first time by the verified email.

    Raises:
        InvalidError: there is none. The audit log says why.
    """
    with transaction() as session:
        user, why = _found(session, claims, visitor)
        if user is not None and user.active:
            return user
        by = Actor("nobody", None, visitor.ip_address)
        facts = {"reason": f"OpenID: {why or 'account is off'}"}
        audit.note(session, "sign_in.failed", claims.email or claims.subject, after=facts, by=by)
    raise InvalidError(REFUSED)


def confirms(claims: Claims, user_id: int) -> bool:
    """Say whether this very person, linked already, has entered their password there just now."""
    with reading() as session:
        linked = _linked(session, claims)
    age = clock.now().timestamp() - claims.auth_time
    return linked is not None and linked.id == user_id and age < FRESH.total_seconds()


def _found(session: Session, claims: Claims, visitor: Visitor) -> tuple[User | None, str]:
    linked = _linked(session, claims)
    if linked is not None:
        return linked, ""
    if not claims.subject or len(claims.subject) > SUBJECT_LIMIT:
        return None, "no subject"
    if not claims.email_verified or not _is_address(claims.email):
        return None, "the provider has not verified the email"
    user = session.scalar(select(User).where(User.email_key == email_key(claims.email)))
    if user is None:
        if not security_settings.load(session).oidc_create:
            return None, "unknown email"
        user = _created(session, claims, visitor)
    elif not f"{claims.email}{user.email}".isascii() and claims.email != user.email:
        # without regard to case, a Kelvin sign is a k, and ß is ss: that is another's mailbox
        return None, "the email is like an account's, but not the same"
    elif not user.active:
        return None, "account is off"
    elif session.scalar(
        select(exists().where(Identity.user_id == user.id, Identity.issuer == claims.issuer))
    ):
        # an email that the provider gave to somebody else must not open the account
        return None, "the account is linked to another person of the provider"
    session.add(Identity(user_id=user.id, issuer=claims.issuer, subject=claims.subject))
    by = Actor(user.name, user.id, visitor.ip_address)
    audit.note(session, "identity.linked", user.email, after={"issuer": claims.issuer}, by=by)
    return user, ""


def _is_address(email: str) -> bool:
    words = email.split()
    return words == [one_line(email)] and "@" in email and len(email) <= EMAIL_LIMIT


def _linked(session: Session, claims: Claims) -> User | None:
    return session.scalar(
        select(User)
        .join(Identity, Identity.user_id == User.id)
        .where(Identity.issuer == claims.issuer, Identity.subject == claims.subject)
    )


def _created(session: Session, claims: Claims, visitor: Visitor) -> User:
    name = one_line(claims.name)[:NAME_LIMIT] or claims.email.partition("@")[0]
    user = User(
        email=claims.email,
        email_key=email_key(claims.email),
        name=name,
        password_hash=NO_PASSWORD,
        role=Role.VIEWER,
    )
    session.add(user)
    session.flush()
    outbox.publish(
        session,
        UserCreated(
            user=user.name,
            email=user.email,
            created_by=f"OpenID provider {claims.issuer}",
            ip_address=visitor.ip_address,
            browser=visitor.browser,
        ),
    )
    return user
