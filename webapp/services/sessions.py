"""Sessions: one row for each browser in which somebody is signed in."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.orm import Session

from webapp.core import clock
from webapp.core.errors import NotFoundError
from webapp.models.security import UserSession
from webapp.models.setting import Setting
from webapp.models.user import User
from webapp.services import audit, own_password
from webapp.services.installation import installation
from webapp.services.transaction import reading, transaction

SEEN_EVERY: Final = timedelta(minutes=1)
"""How exactly the last activity is known: a page view seldom writes."""
CONFIRMED_FOR: Final = timedelta(minutes=10)
METHOD_LIMIT: Final = 20
BROWSER_LIMIT: Final = 100
ADDRESS_LIMIT: Final = 60


@dataclass(frozen=True, kw_only=True)
class Device:
    """A browser that somebody has signed in from before, as it proves by a signed cookie."""

    user_id: int
    name: str


@dataclass(frozen=True, kw_only=True)
class Visitor:
    """Where somebody signs in from."""

    ip_address: str
    browser: str
    device: Device | None = None


@dataclass(frozen=True, kw_only=True)
class SessionItem:
    """A session as its owner sees it."""

    id: int
    browser: str
    ip_address: str
    created_at: datetime
    last_seen_at: datetime
    is_present: bool


# One statement on every page: the session by its unique index, its account, and one setting.
_FOUND: Final = (
    select(
        UserSession.id,
        UserSession.created_at,
        UserSession.last_seen_at,
        UserSession.confirmed_at,
        UserSession.remembered,
        User.id.label("user_id"),
        User.name,
        User.email,
        User.role,
        User.timezone,
        User.theme,
        User.totp_secret.is_not(None).label("has_second_factor"),
        select(Setting.value)
        .where(Setting.key == "second_factor_for")
        .scalar_subquery()
        .label("second_factor_for"),
    )
    .join(User, (User.id == UserSession.user_id) & (User.session_version == UserSession.version))
    .where(UserSession.token_hash == bindparam("token_hash"), User.active)
)


def find(token: str) -> Any | None:
    """Return the session of a cookie with what pages need of the account, or None.

    None also when it was idle for too long, or is older than sessions get.
    """
    with reading() as session:
        row = session.execute(_FOUND, {"token_hash": _hashed(token)}).one_or_none()
    return None if row is None or is_over(row) else row


def is_over(row: Any) -> bool:
    """Say whether a session has outlived its limits."""
    settings, now = installation().settings, clock.now()
    if now - row.created_at >= timedelta(days=settings.session_days):
        return True
    idle = timedelta(minutes=settings.session_idle_minutes)
    return not row.remembered and bool(now - row.last_seen_at >= idle)


def begin(
    session: Session, user: User, visitor: Visitor, *, remember: bool, method: str = "password"
) -> str:
    """Add a session and return what its cookie holds; sessions that are over are removed."""
    now, settings = clock.now(), installation().settings
    oldest = now - timedelta(days=settings.session_days)
    session.execute(delete(UserSession).where(UserSession.created_at < oldest))
    token = secrets.token_urlsafe(32)
    row = UserSession(
        token_hash=_hashed(token),
        user_id=user.id,
        version=user.session_version,
        remembered=remember,
        method=method[:METHOD_LIMIT],
        created_at=now,
        last_seen_at=now,
        confirmed_at=now,
        ip_address=visitor.ip_address[:ADDRESS_LIMIT],
        browser=visitor.browser[:BROWSER_LIMIT],
    )
    session.add(row)
    session.flush()
    return token


def seen(session_id: int, ip_address: str) -> None:
    """Remember that somebody was here just now."""
    with transaction() as session:
        session.execute(
            update(UserSession)
            .where(UserSession.id == session_id)
            .values(last_seen_at=clock.now(), ip_address=ip_address[:ADDRESS_LIMIT])
            .execution_options(synchronize_session=False)
        )


def keep(session_id: int, user: User) -> str:
    """Keep a session of an account whose sessions have just ended; return its new token.

    Raises:
        NotFoundError: it has ended.
    """
    token = secrets.token_urlsafe(32)
    with transaction() as session:
        row = session.get(UserSession, session_id)
        if row is None or row.user_id != user.id:
            raise NotFoundError("Your session has ended. Sign in again.")
        row.token_hash, row.version = _hashed(token), user.session_version
        row.confirmed_at = clock.now()
    return token


def confirm(session_id: int, user_id: int, password: str) -> str:
    """Remember that the person has just proved who they are; return the session's new token.

    Raises:
        InvalidError: this is not the password.
        TooManyError: too many wrong ones came before.
    """
    own_password.demand(user_id, password)
    return confirmed(session_id)


def confirmed(session_id: int) -> str:
    """Remember that somebody vouched for the person just now: they, or the OpenID provider.

    A cookie that was copied before must not be worth more because of it: the token changes.
    """
    token = secrets.token_urlsafe(32)
    with transaction() as session:
        session.execute(
            update(UserSession)
            .where(UserSession.id == session_id)
            .values(confirmed_at=clock.now(), token_hash=_hashed(token))
            .execution_options(synchronize_session=False)
        )
    return token


def is_confirmed(confirmed_at: datetime) -> bool:
    """Say whether that was recent enough for a sensitive change."""
    return clock.now() - confirmed_at < CONFIRMED_FOR


def of_user(user_id: int, present: int) -> list[SessionItem]:
    """Return somebody's sessions that still count, the latest activity first."""
    with reading() as session:
        rows = session.scalars(
            select(UserSession)
            .join(
                User,
                (User.id == UserSession.user_id) & (User.session_version == UserSession.version),
            )
            .where(UserSession.user_id == user_id)
            .order_by(UserSession.last_seen_at.desc(), UserSession.id.desc())
        ).all()
    return [
        SessionItem(
            id=row.id,
            browser=row.browser,
            ip_address=row.ip_address,
            created_at=row.created_at,
            last_seen_at=row.last_seen_at,
            is_present=row.id == present,
        )
        for row in rows
        if not is_over(row)
    ]


def end(session_id: int, user_id: int) -> None:
    """End one session of somebody.

    Raises:
        NotFoundError: it is not theirs, or has ended.
    """
    with transaction() as session:
        row = session.get(UserSession, session_id)
        if row is None or row.user_id != user_id:
            raise NotFoundError("This session has ended already.")
        audit.note(session, "session.ended", _name(row))
        session.delete(row)


def end_others(user_id: int, present: int) -> int:
    """End all of somebody's sessions but the present one; return how many."""
    return _end_all(user_id, but=present)


def end_everywhere(user_id: int) -> int:
    """End all of somebody's sessions; return how many."""
    return _end_all(user_id)


def _end_all(user_id: int, but: int = 0) -> int:
    with transaction() as session:
        rows = session.scalars(
            select(UserSession).where(UserSession.user_id == user_id, UserSession.id != but)
        ).all()
        for row in rows:
            session.delete(row)
        if rows:
            user = session.get_one(User, user_id)
            audit.note(session, "sessions.ended", user.email, after={"sessions": len(rows)})
    return len(rows)


def sign_out(session_id: int) -> None:
    """End a session because its person wants to."""
    with transaction() as session:
        row = session.get(UserSession, session_id)
        if row is not None:
            audit.note(session, "sign_out", session.get_one(User, row.user_id).email)
            session.delete(row)


def _name(row: UserSession) -> str:
    return f"{row.browser}, {row.ip_address}"


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
