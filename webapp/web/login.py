"""Who is signed in, for how long, and which pages need whom."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar
from urllib.parse import urlsplit

from flask import Flask, Response, abort, current_app, flash, redirect, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_login import LoginManager, UserMixin, current_user, login_user, logout_user
from werkzeug.wrappers import Response as BaseResponse

from webapp.core import clock
from webapp.core.settings import Settings
from webapp.models.user import Role, User
from webapp.services import audit, sessions, users
from webapp.services.audit import Actor
from webapp.services.security_settings import SecondFactorFor
from webapp.web import device
from webapp.web.htmx import is_htmx

logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

PUBLIC: Final = frozenset(
    {
        "auth.login",
        "auth.second_factor",
        "auth.setup",
        "auth.password_check",
        "bootstrap.static",
        "health.healthz",
        "health.readyz",
        "metrics.metrics",
        "oidc.begin",
        "oidc.callback",
        "static",
    }
)
"""Endpoints that answer without a sign-in. Everything else needs one."""
WITHOUT_SETUP: Final = PUBLIC - {
    "auth.login",
    "auth.second_factor",
    "oidc.begin",
    "oidc.callback",
}
"""Endpoints that answer before the first account exists."""
WITHOUT_SECOND_FACTOR: Final = frozenset(
    {
        "auth.logout",
        "profile.confirm",
        "profile.theme",
        "second_factor.index",
        "second_factor.enable",
    }
)
"""Endpoints for people who must set up a second factor before anything else."""

CODE_WITHIN: Final = timedelta(minutes=5)
"""How long after the password the code of the second factor may be entered."""
PENDING: Final = "pending"
SAVE_AGAIN: Final = "Enter your password first. Nothing was saved yet: go back and save again."


class SignedIn(UserMixin):  # type: ignore[misc]  # flask-login has no types
    """The person of this request: a copy of what pages need to know about the account."""

    def __init__(self, row: Any, token: str) -> None:
        self.id: int = row.user_id
        self.name: str = row.name
        self.email: str = row.email
        self.role: Role = Role(row.role)
        self.timezone: str | None = row.timezone
        self.theme: str = row.theme
        self.session_id: int = row.id
        self.last_seen_at: datetime = row.last_seen_at
        self.confirmed_at: datetime = row.confirmed_at
        self.lacks_second_factor: bool = not row.has_second_factor and SecondFactorFor(
            row.second_factor_for or ""
        ).includes(row.role)
        self._token = token

    def get_id(self) -> str:
        """Return what the cookie remembers: the token of the session, and nothing else."""
        return self._token

    @property
    def initials(self) -> str:
        """Return one or two letters for the avatar."""
        words = self.name.split() or [self.email]
        return "".join(word[0] for word in (words[0], *words[1:][-1:])).upper()


def signed_in_user() -> SignedIn | None:
    """Return the person of this request, or None."""
    return current_user._get_current_object() if current_user.is_authenticated else None


def person() -> SignedIn:
    """Return the person of this request, in views that need a sign-in."""
    user = signed_in_user()
    if user is None:
        abort(401)
    return user


def role_required(role: Role) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Answer 403 to people whose role does not include this one."""

    def decorate(view: Callable[P, R]) -> Callable[P, R]:
        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            if not may(role):
                _log_refusal()
                abort(403)
            return view(*args, **kwargs)

        guarded.required_role = role  # type: ignore[attr-defined]  # read by the test of all routes
        return guarded

    return decorate


def _log_refusal() -> None:
    user = signed_in_user()
    facts = {
        "user_id": user and user.id,
        "role": user and user.role.value,
        "page": request.endpoint,
        "address": request.remote_addr,
    }
    logger.warning("a role was not enough", extra=facts)


def may(role: Role | str) -> bool:
    """Say whether the signed-in person has at least this role."""
    user = signed_in_user()
    return user is not None and user.role.includes(Role(role))


def start_session(token: str, *, remember: bool = False) -> None:
    """Give the browser a fresh cookie for a session that has just begun.

    A remembered session survives the browser and idleness; every session ends after
    DBACKUP_SESSION_DAYS.
    """
    session.clear()
    session.permanent = remember
    renew_session(token)
    user = signed_in_user()
    if user is not None:
        device.remember(user.id)


def renew_session(token: str) -> None:
    """Give the cookie the new token of the same session; forms that are open stay usable."""
    row = sessions.find(token)
    if row is not None:
        login_user(SignedIn(row, token))


def keep_session(user: User) -> None:
    """Keep this session under a new cookie, although the account's others have just ended."""
    if user.active:
        token = sessions.keep(person().session_id, user)
        start_session(token, remember=session.permanent)


def end_session() -> None:
    """Sign the person out, here and on the server."""
    user = signed_in_user()
    if user is not None:
        sessions.sign_out(user.session_id)
    logout_user()
    session.clear()


@dataclass(frozen=True)
class Pending:
    """Somebody whose password was right, and whose code is still missing."""

    user_id: int
    version: int
    remember: bool
    target: str


def ask_for_code(user: User, *, remember: bool, target: str) -> None:
    """Remember in the signed cookie that the password was right; nobody is signed in by this."""
    session.clear()
    at = int(clock.now().timestamp())
    session[PENDING] = [user.id, user.session_version, bool(remember), target, at]


def pending() -> Pending | None:
    """Return who still has to enter a code here, while there is time for it."""
    stored = session.get(PENDING)
    if not isinstance(stored, list) or len(stored) != 5:
        return None
    user_id, version, remember, target, at = stored
    if clock.now() - datetime.fromtimestamp(at, UTC) > CODE_WITHIN:
        session.pop(PENDING)
        return None
    return Pending(user_id, version, remember, target)


def confirmation_required(view: Callable[P, ResponseReturnValue]) -> Callable[P, Any]:
    """Ask for the password first, unless the person gave it within the last ten minutes."""

    @wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
        if not is_confirmed():
            return ask_to_confirm()
        return view(*args, **kwargs)

    guarded.needs_confirmation = True  # type: ignore[attr-defined]  # read by the test of all routes
    return guarded


def is_confirmed() -> bool:
    """Say whether the person has proved recently who they are."""
    return sessions.is_confirmed(person().confirmed_at)


def ask_to_confirm() -> BaseResponse:
    """Send the browser to the page that asks for the password, and back afterwards."""
    if request.method != "GET":
        flash(SAVE_AGAIN, "warn")
    return _elsewhere(url_for("profile.confirm", next=_here()))


def safe_next(target: str | None, default: str) -> str:
    """Return the address if it is a path of this site, else the default."""
    if not target or not target.startswith("/") or target.startswith("//"):
        return default
    if "\\" in target or not target.isprintable():
        return default
    parts = urlsplit(target)
    return default if parts.scheme or parts.netloc else target


def init_app(app: Flask, settings: Settings) -> None:
    """Attach the login manager and the gate that every request passes."""
    app.permanent_session_lifetime = timedelta(days=settings.session_days)
    manager = LoginManager()
    manager.init_app(app)
    manager.user_loader(_load)
    manager.unauthorized_handler(ask_to_sign_in)
    app.before_request(_attribute)
    app.before_request(_gate)
    app.teardown_request(_forget)
    app.jinja_env.globals["may"] = may


def _load(token: str) -> SignedIn | None:
    row = sessions.find(token)
    return None if row is None else SignedIn(row, token)


def _attribute() -> None:
    audit.act_as(_actor)


def _forget(_error: BaseException | None) -> None:
    audit.act_as(None)


def _actor() -> Actor:
    user, address = signed_in_user(), request.remote_addr or ""
    return Actor(user.name, user.id, address) if user else Actor("nobody", None, address)


def _gate() -> ResponseReturnValue | None:
    endpoint = request.endpoint
    if endpoint is None:
        return None  # the router answers 404 or 405
    if endpoint not in WITHOUT_SETUP and not users.any_user():
        return _elsewhere(url_for("auth.setup"))
    if endpoint in PUBLIC:
        return None
    user = signed_in_user()
    if user is None:
        answer: ResponseReturnValue = current_app.login_manager.unauthorized()  # type: ignore[attr-defined]
        return answer
    if user.lacks_second_factor and endpoint not in WITHOUT_SECOND_FACTOR:
        return _elsewhere(url_for("second_factor.index"))
    _note_activity(user)
    return None


def _note_activity(user: SignedIn) -> None:
    """Remember that somebody was here; polls of an open page are nobody."""
    poll = is_htmx() and request.method == "GET"
    if not poll and clock.now() - user.last_seen_at >= sessions.SEEN_EVERY:
        sessions.seen(user.session_id, request.remote_addr or "")


def ask_to_sign_in() -> BaseResponse:
    """Send the browser to the sign-in page, and back afterwards."""
    if not is_htmx():  # the answer to a late poll must not replace the cookie of a newer session
        forget_ended_session()
    return _elsewhere(url_for("auth.login", next=_wanted()))


def forget_ended_session() -> None:
    """Say it, once, when the cookie is that of a session which has ended."""
    if "_user_id" in session and signed_in_user() is None:
        session.clear()
        flash("Your session has ended. Sign in again to continue.", "info")


def _here() -> str | None:
    """Return the page that the person is on, or wants to open."""
    if is_htmx():
        return _path_of(request.headers.get("HX-Current-URL", ""))
    return _wanted() if request.method == "GET" else _path_of(request.referrer or "")


def _path_of(address: str) -> str | None:
    try:
        here = urlsplit(address)
    except ValueError:  # whoever sends the header may write what they like
        return None
    return f"{here.path}?{here.query}" if here.query else here.path or None


def _wanted() -> str | None:
    if is_htmx():
        return _path_of(request.headers.get("HX-Current-URL", ""))
    if request.method != "GET":
        return None
    path = request.full_path if request.query_string else request.path
    return path if path != "/" else None


def _elsewhere(url: str) -> BaseResponse:
    """Answer HTMX with 401 and the address: it ignores headers of redirects."""
    if is_htmx():
        return Response("", 401, {"HX-Redirect": url})
    return redirect(url, 303)


def template_context() -> dict[str, Any]:
    """Return what the shell needs to know about the person."""
    user = signed_in_user()
    return {"signed_in": user is not None, "theme": user.theme if user else "auto"}
