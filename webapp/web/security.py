"""What every answer says about its own safety, CSRF, proxies, and where scripts come from."""

import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple
from urllib.parse import urlsplit
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Flask, Response, abort, request
from flask.sessions import SecureCookieSessionInterface
from flask_bootstrap import Bootstrap5
from flask_wtf import CSRFProtect
from werkzeug.datastructures import MultiDict
from werkzeug.middleware.proxy_fix import ProxyFix

from webapp.core.settings import HTMX_INTEGRITY, PROJECT_ROOT, Settings

LARGEST_FORM_BYTES: Final = 1024 * 1024  # of a form, or of one field of a form with parts
MOST_PARTS: Final = 20  # the form for uploads has half as many
ASSET_SECONDS: Final = 365 * 24 * 3600  # their address changes with their content
VENDORED_HTMX: Final = "vendor/htmx.min.js"  # put there by `make vendor`
STRICT_TRANSPORT: Final = "max-age=31536000"  # not for subdomains: they may be somebody else's
UNUSED_FEATURES: Final = (
    *("accelerometer", "autoplay", "camera", "display-capture", "fullscreen"),
    *("geolocation", "gyroscope", "hid", "magnetometer", "microphone", "midi", "payment"),
    *("screen-wake-lock", "serial", "usb", "xr-spatial-tracking"),
)
_ADDRESS: Final = re.compile(r"(?:\[(?P<v6>[^\]]+)\]|(?P<v4>[\d.]+))(?::\d+)?")

csrf = CSRFProtect()


class Htmx(NamedTuple):
    """Where the page loads htmx from; whatever the place, it must be the very same file."""

    url: str
    integrity: str


_OVER_HTTPS: Final = "__Host-"


def cookie_name(name: str) -> str:
    """Return the name of a cookie: over HTTPS one that browsers take from this very host only.

    So neither a sister domain nor somebody on an unencrypted way can plant one.
    """
    return _OVER_HTTPS + name if request.is_secure else name


class _Sessions(SecureCookieSessionInterface):
    """The cookie is Secure whenever the request came over HTTPS, directly or by a trusted proxy."""

    def get_cookie_name(self, app: Flask) -> str:
        """Return the name of the cookie."""
        return cookie_name(super().get_cookie_name(app))

    def cookie_names(self, app: Flask) -> tuple[str, str]:
        """Return the names that the cookie can have, for who sees no request yet."""
        plain = super().get_cookie_name(app)
        return _OVER_HTTPS + plain, plain

    def get_cookie_secure(self, app: Flask) -> bool:
        """Say whether the cookie may only travel over HTTPS."""
        return request.is_secure


def init_app(app: Flask, settings: Settings) -> None:
    """Attach headers, CSRF, sessions and the local copy of Bootstrap."""
    htmx = Htmx(_htmx_url(settings), HTMX_INTEGRITY)
    app.config.from_mapping(
        BOOTSTRAP_SERVE_LOCAL=True,
        MAX_CONTENT_LENGTH=None,
        MAX_FORM_MEMORY_SIZE=LARGEST_FORM_BYTES,
        SESSION_COOKIE_NAME="dbackup_session",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_REFRESH_EACH_REQUEST=False,
        WTF_CSRF_TIME_LIMIT=None,  # the token ends with the session
    )
    app.session_interface = _Sessions()
    Bootstrap5().init_app(app)
    app.before_request(_limit_form)  # before whatever reads the form
    app.before_request(_refuse_what_no_form_sends)  # the check of tokens trips over it, too
    csrf.init_app(app)
    app.jinja_env.globals["htmx"] = htmx
    if settings.trusted_proxies:
        hops = settings.trusted_proxies
        inner = _without_port(app.wsgi_app)
        app.wsgi_app = ProxyFix(inner, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]
    headers = _headers(htmx)
    # for answers that the server gives before it asks the application (workers/http.py)
    app.config["ANSWER_HEADERS"] = {**headers, "Cache-Control": "no-store"}

    @app.after_request
    def protect(response: Response) -> Response:
        for name, value in headers.items():
            response.headers.setdefault(name, value)
        if request.is_secure:
            response.headers.setdefault("Strict-Transport-Security", STRICT_TRANSPORT)
        return _cache(response)


def _without_port(application: WSGIApplication) -> WSGIApplication:
    """Take the port from the visitor's address, which some proxies add to it.

    Otherwise it is no address, and all such visitors share one limit of wrong passwords.
    """

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        found = _ADDRESS.fullmatch(environ.get("REMOTE_ADDR", ""))
        if found:
            environ["REMOTE_ADDR"] = found["v6"] or found["v4"]
        return application(environ, start_response)

    return answer


def _limit_form() -> None:
    """Limit what is read into memory: all of a form but the files of one that has parts."""
    if request.mimetype == "multipart/form-data":
        request.max_form_parts = MOST_PARTS
    else:
        request.max_content_length = LARGEST_FORM_BYTES


def _refuse_what_no_form_sends() -> None:
    """Refuse what no page of ours sends and no field expects.

    JSON has numbers, lists and half characters where fields expect texts; a part may lack its name;
    and for NUL PostgreSQL has no place, whatever the field.
    """
    if request.is_json and request.method == "POST":  # monitors name that type on GET, too
        abort(415)
    texts = [request.path, *_values(request.args), *_values(request.form), *request.files]
    if any(text is None or "\0" in text for text in texts):
        abort(400)


def _values(pairs: MultiDict[str, str]) -> Iterator[str | None]:
    for name, value in pairs.items(multi=True):
        yield name
        yield value


def _htmx_url(settings: Settings) -> str:
    default = settings.htmx_url == Settings.htmx_url
    if default and (PROJECT_ROOT / "static" / VENDORED_HTMX).is_file():
        return f"/static/{VENDORED_HTMX}"
    return settings.htmx_url


def _headers(htmx: Htmx) -> dict[str, str]:
    parts = urlsplit(htmx.url)
    # the one file, not its whole host: a CDN serves everybody's scripts
    script = f" {parts.scheme}://{parts.netloc}{parts.path}" if parts.netloc else ""
    return {
        "Content-Security-Policy": "default-src 'self'; "
        f"script-src 'self'{script}; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": ", ".join(f"{feature}=()" for feature in UNUSED_FEATURES),
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
    }


def _cache(response: Response) -> Response:
    if request.endpoint in {"static", "bootstrap.static"} and response.status_code < 400:
        if "v" in request.args and response.status_code == 200:
            response.headers["Cache-Control"] = f"public, max-age={ASSET_SECONDS}, immutable"
        return response
    response.vary.add("HX-Request")
    response.headers.setdefault("Cache-Control", "no-store")
    return response
