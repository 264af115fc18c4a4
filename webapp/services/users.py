"""Accounts: the first admin, adding and changing people, their own profile."""

from dataclasses import dataclass
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from flask import current_app
from sqlalchemy import exists, func, select, text
from sqlalchemy.orm import Session

from webapp.core import clock
from webapp.core.errors import ConflictError, InvalidError, NotFoundError
from webapp.core.text import one_line
from webapp.models.user import Role, Theme, User
from webapp.notify.events.user_created import UserCreated
from webapp.services import outbox, own_password, passwords, preferences, setup_code
from webapp.services.installation import installation
from webapp.services.transaction import reading, transaction

_ANY: Final = "dbackup_has_users"
LAST_ADMIN: Final = (
    "This is the last active admin. Make somebody else an admin first, so that DBackup can still "
    "be managed."
)
STALE: Final = (
    "Somebody else changed this account while you were editing it. Nothing was saved. "
    "Reload the page, look at the present values and make your change again."
)


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Who did something, and from where."""

    name: str
    ip_address: str
    browser: str


@dataclass(frozen=True, kw_only=True)
class Account:
    """What an admin decides about somebody."""

    name: str
    email: str
    role: Role
    active: bool = True


def any_user() -> bool:
    """Say whether the first account exists. Once true, it is not asked again."""
    if not current_app.extensions.get(_ANY):
        with reading() as session:
            current_app.extensions[_ANY] = session.scalar(select(exists().select_from(User)))
    return bool(current_app.extensions[_ANY])


def setup_code_needed(*, is_local: bool = True) -> bool:
    """Say whether making the first account asks for the code that the server printed.

    It does unless the server listens on loopback only and the visitor sits at this machine.
    From the first time that it does, the code is in its file.
    """
    needed = not (is_local and setup_code.is_loopback(installation().settings.host))
    if needed:
        setup_code.current()
    return needed


def create_first_admin(
    *, name: str, email: str, password: str, timezone: str, code: str | None, is_local: bool
) -> User:
    """Make the first account, signed in at once, and close the setup for good.

    The zone becomes that of the instance, which the account follows until it chooses its own.

    Raises:
        ConflictError: there is an account already.
        InvalidError: the code, the email, the zone or the password cannot be used.
    """
    if setup_code_needed(is_local=is_local) and not setup_code.is_right(code or ""):
        raise InvalidError("This is not the code that the server printed at its start.", "code")
    account = Account(name=name, email=email, role=Role.ADMIN)
    password_hash = _new_hash(password, (name, email))
    with transaction() as session:
        _lock(session)
        if session.scalar(select(exists().select_from(User))):
            raise ConflictError("The first account exists already. Sign in with it.")
        user = _add(session, account, password_hash)
        user.last_login_at = clock.now()
        preferences.store_timezone(session, timezone)
    setup_code.forget()
    return user


def every_user() -> list[User]:
    """Return all accounts by name."""
    with reading() as session:
        return list(session.scalars(select(User).order_by(func.lower(User.name), User.id)))


def get(user_id: int) -> User:
    """Return the account.

    Raises:
        NotFoundError: there is none.
    """
    with reading() as session:
        return _get(session, user_id)


def create(account: Account, password: str, origin: Origin) -> User:
    """Add an account and publish user_created with it.

    Raises:
        InvalidError: the email is taken or wrong, or the password cannot be used.
    """
    password_hash = _new_hash(password, (account.name, account.email))
    with transaction() as session:
        user = _add(session, account, password_hash)
        outbox.publish(
            session,
            UserCreated(
                user=user.name,
                email=user.email,
                created_by=origin.name,
                ip_address=origin.ip_address,
                browser=origin.browser,
            ),
        )
    return user


def update(user_id: int, account: Account, *, version: int, password: str = "") -> User:
    """Change an account; a new password or deactivation ends its sessions.

    Raises:
        NotFoundError: there is no such account.
        ConflictError: it was changed since `version`, or it is the last active admin.
        InvalidError: a value cannot be used.
    """
    password_hash = _new_hash(password, (account.name, account.email)) if password else ""
    with transaction() as session:
        user = _get(session, user_id)
        if user.version != version:
            raise ConflictError(STALE)
        if not (account.active and account.role == Role.ADMIN):
            _keep_an_admin(session, user)
        _rename(session, user, account.name, account.email)
        if password_hash or (user.active and not account.active):
            user.session_version += 1
        user.password_hash = password_hash or user.password_hash
        user.role, user.active = account.role, account.active
        user.version += 1
    return user


def set_active(user_id: int, active: bool) -> User:
    """Let somebody in or keep them out.

    Raises:
        NotFoundError: there is no such account.
        ConflictError: it is the last active admin.
    """
    with transaction() as session:
        user = _get(session, user_id)
        if user.active == active:
            return user
        if not active:
            _keep_an_admin(session, user)
            user.session_version += 1
        user.active = active
        user.version += 1
    return user


def update_profile(user_id: int, *, name: str, email: str, timezone: str, theme: str) -> User:
    """Change what belongs to oneself.

    Raises:
        InvalidError: a value cannot be used.
    """
    with transaction() as session:
        user = _get(session, user_id)
        _rename(session, user, name, email)
        user.timezone = _zone(timezone)
        user.theme = Theme(theme)
        user.version += 1
    return user


def set_theme(user_id: int, theme: str) -> None:
    """Choose how pages look to this person.

    Raises:
        InvalidError: there is no such theme.
    """
    if theme not in list(Theme):
        raise InvalidError("Choose the theme auto, light or dark.", "theme")
    with transaction() as session:
        _get(session, user_id).theme = theme


def change_password(user_id: int, *, present: str, new: str) -> User:
    """Replace one's own password; every other session of the account ends.

    Raises:
        InvalidError: the present password is wrong, or the new one cannot be used.
        TooManyError: too many wrong ones came before.
    """
    own_password.demand(user_id, present)
    user = get(user_id)
    return _store_password(user_id, _new_hash(new, (user.name, user.email), field="new"))


def reset_password(email: str, new: str) -> User:
    """Set somebody's password by their email, as an administrator of the server.

    Raises:
        NotFoundError: nobody has this email.
        InvalidError: the password cannot be used.
    """
    with reading() as session:
        user = session.scalar(select(User).where(User.email_key == email_key(email)))
    if user is None:
        raise NotFoundError(f"Nobody has the email {one_line(email)}.")
    return _store_password(user.id, _new_hash(new, (user.name, user.email)))


def email_key(email: str) -> str:
    """Return the form in which emails are compared."""
    return email.strip().casefold()


def _store_password(user_id: int, password_hash: str) -> User:
    with transaction() as session:
        user = _get(session, user_id)
        user.password_hash = password_hash
        user.session_version += 1
        user.version += 1
    return user


def _get(session: Session, user_id: int) -> User:
    user = session.get(User, user_id)
    if user is None:
        raise NotFoundError("There is no such account.")
    return user


def _add(session: Session, account: Account, password_hash: str) -> User:
    user = User(password_hash=password_hash, role=account.role, active=account.active)
    _rename(session, user, account.name, account.email)
    session.add(user)
    session.flush()
    return user


def _rename(session: Session, user: User, name: str, email: str) -> None:
    name, email = one_line(name), email.strip()
    if not name:
        raise InvalidError("Enter a name.", "name")
    key = email_key(email)
    if key != user.email_key:
        taken = session.scalar(select(exists().where(User.email_key == key)))
        if taken:
            raise InvalidError("Another account has this email. Use a different one.", "email")
    user.name, user.email, user.email_key = name, email, key


def _new_hash(password: str, own: tuple[str, str], field: str = "password") -> str:
    problem = passwords.problem(password, own)
    if problem:
        raise InvalidError(problem, field)
    return passwords.hashed(password)


def _zone(name: str) -> str | None:
    if not name:
        return None
    try:
        return ZoneInfo(name).key
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise InvalidError(f"{name} is not a known time zone.", "timezone") from error


def _keep_an_admin(session: Session, user: User) -> None:
    """Refuse when nobody else could manage DBackup afterwards."""
    if not (user.active and user.role == Role.ADMIN):
        return
    _lock(session)
    others: Any = exists().where(User.id != user.id, User.active, User.role == Role.ADMIN)
    if not session.scalar(select(others)):
        raise ConflictError(LAST_ADMIN)


def _lock(session: Session) -> None:
    """Keep other writers of accounts out until the commit; on SQLite they are out already."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text('LOCK TABLE "user" IN SHARE ROW EXCLUSIVE MODE'))
