"""The OpenID provider: where to send people, and what its signed answer says.

Authlib does the protocol (state, nonce, PKCE, signature, issuer, audience, times). It is an extra
and costs 11 MB, so it is imported when somebody signs in by it.
"""

import logging
from typing import Any, Final

from flask import current_app
from werkzeug.wrappers import Response

from webapp.core.errors import AppError, InvalidError
from webapp.services.installation import installation
from webapp.services.oidc_users import Claims

logger = logging.getLogger(__name__)

_KEY: Final = "dbackup_oidc"
TIMEOUT: Final = 10  # seconds
FAILED: Final = (
    "The sign-in at the provider did not work out. Try again; if it stays so, an admin finds the "
    "reason in the server's log."
)
MISSING: Final = "Signing in through the provider is not installed. Run: make oidc"


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
    try:
        response: Response = _client().authorize_redirect(callback, **more)
    except AppError:
        raise
    except Exception as error:
        raise _failure(error) from error
    return response


def claims() -> Claims:
    """Return what the provider says about the person of this request, once all is checked.

    Raises:
        InvalidError: state, nonce, code, signature, issuer, audience or time is wrong.
    """
    client = _client()
    try:
        token = client.authorize_access_token()
        if not token.get("id_token"):  # what else an answer says of the person is not signed
            raise LookupError("no ID token")
        found: dict[str, Any] = dict(token["userinfo"])  # of the signed token, with our nonce
    except Exception as error:
        raise _failure(error) from error
    issuer = installation().settings.oidc_issuer or ""
    if str(found.get("iss", "")).rstrip("/") != issuer:
        raise InvalidError(FAILED)
    auth_time = found.get("auth_time")
    return Claims(
        issuer=issuer,
        subject=str(found.get("sub", "")),
        email=str(found.get("email", "")),
        email_verified=found.get("email_verified") is True,
        name=str(found.get("name", "")),
        auth_time=auth_time if isinstance(auth_time, int) else 0,
    )


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
    return OAuth(current_app).register(
        "oidc",
        client_id=settings.oidc_client_id,
        client_secret=settings.oidc_client_secret,
        server_metadata_url=f"{settings.oidc_issuer}/.well-known/openid-configuration",
        client_kwargs={
            "scope": "openid email profile",
            "code_challenge_method": "S256",
            "timeout": TIMEOUT,
            "allow_redirects": False,
            "verify": str(settings.ca_file) if settings.ca_file else True,
        },
    )


def _failure(error: Exception) -> InvalidError:
    # only the kind: its text may hold a code or a token
    logger.warning("OpenID sign-in failed", extra={"why": type(error).__name__})
    return InvalidError(FAILED)
