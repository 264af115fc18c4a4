"""A cookie by which a browser shows that somebody has signed in from it before.

Wrong passwords make an account wait, whoever types them. Without this cookie, somebody who keeps
guessing would keep the account's owner out; with it the owner's browser waits for its own attempts
only. It opens nothing, and it is no session: it stays after signing out.
https://owasp.org/www-community/Slow_Down_Online_Guessing_Attacks_with_Device_Cookies
"""

import secrets
from datetime import timedelta
from typing import Final

from flask import Response, after_this_request, current_app, request
from itsdangerous import BadData, URLSafeTimedSerializer

from webapp.services.sessions import Device
from webapp.web.security import cookie_name

COOKIE: Final = "dbackup_device"
LASTS: Final = timedelta(days=365)


def remember(user_id: int) -> None:
    """Let this browser show from now on that this account has signed in from it."""
    value = _serializer().dumps([user_id, secrets.token_urlsafe(16)])

    @after_this_request
    def send(response: Response) -> Response:
        response.set_cookie(
            cookie_name(COOKIE),
            str(value),
            max_age=LASTS,
            secure=request.is_secure,
            httponly=True,
            samesite="Lax",
        )
        return response


def known() -> Device | None:
    """Return what this browser can show; a forged, damaged or old cookie is none."""
    try:
        user_id, name = _serializer().loads(
            request.cookies.get(cookie_name(COOKIE), ""), max_age=int(LASTS.total_seconds())
        )
    except BadData:
        return None
    return Device(user_id=user_id, name=name)


def _serializer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(current_app.secret_key or "", salt="device")
