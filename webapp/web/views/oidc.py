"""Signing in through an OpenID provider."""

from typing import Final

from flask import (
    Blueprint,
    Response,
    abort,
    flash,
    make_response,
    redirect,
    request,
    session,
    url_for,
)
from werkzeug.wrappers import Response as BaseResponse

from webapp.core.errors import InvalidError
from webapp.services import oidc_users, preferences, sessions, signing_in
from webapp.web import htmx, oidc_client, visitor
from webapp.web.login import (
    ask_for_code,
    renew_session,
    safe_next,
    signed_in_user,
    start_session,
)

bp = Blueprint("oidc", __name__, url_prefix="/login/oidc")

WANTED: Final = "oidc"
NOT_CONFIRMED: Final = (
    "Nothing was confirmed: the provider named somebody else, or did not ask for the password."
)


@bp.get("")
def begin() -> BaseResponse:
    """Send the browser to the provider; with ?confirm=1 to prove again who one is."""
    if not oidc_client.is_configured():
        abort(404)
    user = signed_in_user()
    confirming = user is not None and request.args.get("confirm") == "1"
    target = safe_next(request.args.get("next"), "/")
    if user is not None and not confirming:
        return redirect(target, 303)
    callback = f"{preferences.current().base_url}{url_for('.callback')}"
    try:
        response = oidc_client.send_there(callback, again=confirming)
    except InvalidError as error:
        return _refused(error)
    session[WANTED] = [target, confirming]
    return response


@bp.get("/callback")
def callback() -> BaseResponse:
    """Take the provider's answer and begin the session."""
    if not oidc_client.is_configured():
        abort(404)
    target, confirming = session.pop(WANTED, None) or ["/", False]
    try:
        claims = oidc_client.claims()
        user = signed_in_user()
        if user is not None:
            if not confirming or not oidc_users.confirms(claims, user.id):
                raise InvalidError(NOT_CONFIRMED)
            renew_session(sessions.confirmed(user.session_id))
            return redirect(target, 303)
        return _signed_in(claims, target)
    except InvalidError as error:
        return _refused(error)


def _signed_in(claims: oidc_users.Claims, target: str) -> Response:
    place = visitor.place()
    account = oidc_users.account(claims, place)
    if account.totp_secret:
        ask_for_code(account, remember=False, target=target)
        return htmx.go(url_for("auth.second_factor"))
    begun = signing_in.complete(
        account.id, account.session_version, place, remember=False, method="OpenID"
    )
    start_session(begun.token)
    return htmx.go(target)


def _refused(error: InvalidError) -> Response:
    flash(str(error), "bad")
    return make_response(redirect(url_for("auth.login"), 303))
