"""Who is signed in, for how long, and which pages need whom."""

from collections.abc import Callable
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
from webapp.services import users
from webapp.services.installation import installation
from webapp.web.htmx import is_htmx

P = ParamSpec("P")
R = TypeVar("R")

PUBLIC: Final = frozenset(
    {
        "auth.login",
        "auth.setup",
        "auth.password_check",
        "bootstrap.static",
        "health.healthz",
        "health.readyz",
        "static",
    }
)
"""Endpoints that answer without a sign-in. Everything else needs one."""
WITHOUT_SETUP: Final = PUBLIC - {"auth.login"}
"""Endpoints that answer before the first account exists."""

SEEN_EVERY: Final = timedelta(minutes=1)
"""How exactly the last activity is known; a new cookie each time would be waste."""


class SignedIn(UserMixin):  # type: ignore[misc]  # flask-login has no types
    """The person of this request: a copy of what pages need to know about the account."""

    def __init__(self, user: User) -> None:
        self.id: int = user.id
        self.name: str = user.name
        self.email: str = user.email
        self.role: Role = Role(user.role)
        self.timezone: str | None = user.timezone
        self.theme: str = user.theme
        self._version = user.session_version

    def get_id(self) -> str:
        """Return what the session remembers: the account and its generation of sessions."""
        return f"{self.id}:{self._version}"

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
                abort(403)
            return view(*args, **kwargs)

        guarded.required_role = role  # type: ignore[attr-defined]  # read by the test of all routes
        return guarded

    return decorate


def may(role: Role | str) -> bool:
    """Say whether the signed-in person has at least this role."""
    user = signed_in_user()
    return user is not None and user.role.includes(Role(role))


def start_session(user: User, *, remember: bool = False) -> None:
    """Sign the person in with a fresh session.

    A remembered session survives the browser and idleness; every session ends after
    DBACKUP_SESSION_DAYS.
    """
    session.clear()
    session.permanent = remember
    session["since"] = session["seen"] = int(clock.now().timestamp())
    login_user(SignedIn(user))


def renew_session(user: User) -> None:
    """Keep this session although the others of the account have just ended."""
    login_user(SignedIn(user))


def end_session() -> None:
    """Sign the person out."""
    logout_user()
    session.clear()


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
    app.before_request(_gate)
    app.jinja_env.globals["may"] = may


def _load(identifier: str) -> SignedIn | None:
    if _is_over():
        return None
    user_id, _, version = identifier.partition(":")
    if not user_id.isdecimal() or not version.isdecimal():
        return None
    user = users.for_session(int(user_id), int(version))
    return SignedIn(user) if user else None


def _is_over() -> bool:
    settings: Settings = installation().settings
    now = clock.now()
    if now - _moment("since") >= timedelta(days=settings.session_days):
        return True
    idle = timedelta(minutes=settings.session_idle_minutes)
    return not session.permanent and now - _moment("seen") >= idle


def _moment(key: str) -> datetime:
    value = session.get(key)
    return datetime.fromtimestamp(value if isinstance(value, int) else 0, UTC)


def _gate() -> ResponseReturnValue | None:
    endpoint = request.endpoint
    if endpoint is None:
        return None  # the router answers 404 or 405
    if endpoint not in WITHOUT_SETUP and not users.any_user():
        return _elsewhere(url_for("auth.setup"))
    if endpoint in PUBLIC:
        return None
    if not current_user.is_authenticated:
        answer: ResponseReturnValue = current_app.login_manager.unauthorized()  # type: ignore[attr-defined]
        return answer
    _note_activity()
    return None


def _note_activity() -> None:
    """Remember that somebody was here; polls of an open page are nobody."""
    poll = is_htmx() and request.method == "GET"
    if not poll and clock.now() - _moment("seen") >= SEEN_EVERY:
        session["seen"] = int(clock.now().timestamp())


def ask_to_sign_in() -> BaseResponse:
    """Send the browser to the sign-in page, and back afterwards."""
    if "_user_id" in session:
        session.clear()
        flash("Your session has ended. Sign in again to continue.", "info")
    return _elsewhere(url_for("auth.login", next=_wanted()))


def _wanted() -> str | None:
    if is_htmx():
        here = urlsplit(request.headers.get("HX-Current-URL", ""))
        return f"{here.path}?{here.query}" if here.query else here.path or None
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
