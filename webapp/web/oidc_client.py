"""The OpenID provider: where to send people, and what its signed answer says.

Authlib does the protocol (state, nonce, PKCE, signature, issuer, audience, times). It is an extra
and costs 11 MB, so it is imported when somebody signs in by it. It calls the provider by our way
out, with less time: strangers make these calls, too.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

from flask import current_app
from requests.utils import get_environ_proxies
from werkzeug.wrappers import Response

from webapp.core.errors import InvalidError
from webapp.notify.outbound import Outbound, Reach, Way
from webapp.services.installation import installation
from webapp.services.oidc_users import Claims

logger = logging.getLogger(__name__)

_KEY: Final = "dbackup_oidc"
TIMEOUT: Final = 10.0  # seconds for all calls of one request
AT_ONCE: Final = 3  # of the server's 8 threads may wait for the provider
FAILED: Final = (
    "The sign-in at the provider did not work out. Try again; if it stays so, an admin finds the "
    "reason in the server's log."
)
BUSY: Final = "The provider is slow, and many people wait for it. Try again in a moment."
MISSING: Final = "Signing in through the provider is not installed. Run: make oidc"

_turns: Final = threading.BoundedSemaphore(AT_ONCE)


def is_configured() -> bool:
    """Say whether there is a provider."""
    settings = installation().settings
    return bool(settings.oidc_issuer and settings.oidc_client_id)


def name() -> str:
    """Return what the button calls the provider."""
    return installation().settings.oidc_name


def send_there(callback: str, *, again: bool) -> Response:
    """Return the redirect to the provider; `again` asks for the password there in any case.

    Raises:
        InvalidError: the provider cannot be asked, or Authlib is not installed.
    """
    more: dict[str, Any] = {"prompt": "login", "max_age": 0} if again else {}
    with _asking() as client:
        response: Response = client.authorize_redirect(callback, **more)
        return response


def claims() -> Claims:
    """Return what the provider says about the person of this request, once all is checked.

    Raises:
        InvalidError: state, nonce, code, signature, issuer, audience or time is wrong.
    """
    with _asking() as client:
        token = client.authorize_access_token()
        if not token.get("id_token"):  # what else an answer says of the person is not signed
            raise LookupError("no ID token")
        found: dict[str, Any] = dict(token["userinfo"])  # of the signed token, with our nonce
        if "\0" in str(found["sub"]):
            raise LookupError("a subject that no database holds")
    email, auth_time = found.get("email"), found.get("auth_time")
    return Claims(
        issuer=installation().settings.oidc_issuer or "",
        subject=str(found["sub"]),
        email=email.strip() if isinstance(email, str) else "",
        email_verified=found.get("email_verified") is True,
        name=str(found.get("name", "")),
        auth_time=auth_time if isinstance(auth_time, int) else 0,
    )


@contextmanager
def _asking() -> Iterator[Any]:
    """Lend the client our way out, to few at once; whatever fails is one refusal.

    Whoever runs the server has named the provider, so it may be in a private network in any case,
    and so has the proxy on the way to it.
    """
    client = _client()
    settings = installation().settings
    issuer = settings.oidc_issuer or ""
    proxy = get_environ_proxies(issuer).get(urlsplit(issuer).scheme, "")
    outbound = Outbound(
        allow_private_networks="all", ca_file=settings.ca_file, total_seconds=TIMEOUT
    )
    if not _turns.acquire(blocking=False):
        raise InvalidError(BUSY)
    try:
        with outbound.lend(Reach.SELF_HOSTED, Way(proxy=proxy)):
            _check_issuer(client)
            yield client
    except Exception as error:
        # only the kind: its text may hold a code or a token
        logger.warning("OpenID sign-in failed", extra={"why": type(error).__name__})
        raise InvalidError(FAILED) from error
    finally:
        _turns.release()
        outbound.close()


def _client() -> Any:
    made = current_app.extensions.get(_KEY)
    if made is None:
        made = current_app.extensions[_KEY] = _make()
    return made


def _make() -> Any:
    try:
        from authlib.integrations.flask_client import OAuth
    except ImportError as error:
        raise InvalidError(MISSING) from error
    settings = installation().settings
    # time, size and certificates are those of our way out
    return OAuth(current_app).register(
        "oidc",
        client_id=settings.oidc_client_id,
        client_secret=settings.oidc_client_secret,
        server_metadata_url=f"{settings.oidc_issuer}/.well-known/openid-configuration",
        client_kwargs={
            "scope": "openid email profile",
            "code_challenge_method": "S256",
            "max_redirects": 0,
        },
    )


def _check_issuer(client: Any) -> None:
    """Believe only the document of this very provider; Authlib holds tokens to its issuer."""
    if str(client.load_server_metadata().get("issuer")).rstrip("/") != (
        installation().settings.oidc_issuer
    ):
        client.server_metadata.clear()  # perhaps it is put right there
        raise LookupError("the provider's document names another issuer")
