"""Turns errors into pages, or into a toast when HTMX asked."""

import logging
from typing import Final, NamedTuple

from flask import Flask, Response, current_app, make_response, render_template
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import BadHost, HTTPException

from webapp.core.errors import (
    AppError,
    ConflictError,
    InvalidError,
    NotFoundError,
    TooManyError,
)
from webapp.services import system_errors
from webapp.web import htmx

logger = logging.getLogger(__name__)


class Words(NamedTuple):
    """What an error page says."""

    title: str
    text: str


WORDS: Final = {
    400: Words("That request was not understood", "Go back, reload the page and try again."),
    401: Words("Sign in first", "This page needs you to be signed in."),
    403: Words(
        "You may not do this",
        "Your role does not include it. Ask an admin if you need it.",
    ),
    404: Words(
        "There is nothing here",
        "It was deleted, or the address is wrong. Check the address, or start from the overview.",
    ),
    405: Words("This does not work that way", "Go back and use the button on the page."),
    409: Words(
        "Not saved", "Somebody changed this in the meantime. Reload the page and try again."
    ),
    413: Words("That is too large", "Send less at once."),
    422: Words("Not saved", "Go back and check what you entered."),
    429: Words("Too many attempts", "Wait a little, then try again."),
}
SERVER_ERROR: Final = Words(
    "Something went wrong on our side",
    "The error was recorded and the admins are told. Nothing that was saved before is lost. "
    "Try again in a moment.",
)
CSRF: Final = Words(
    "The form could not be checked",
    "It was open for too long, or you signed in or out in another window. Nothing was saved. "
    "Go back, reload the page and send the form again.",
)
STATUS: Final[dict[type[AppError], int]] = {
    NotFoundError: 404,
    ConflictError: 409,
    InvalidError: 422,
    TooManyError: 429,
}


def init_app(app: Flask) -> None:
    """Attach the handlers."""
    app.register_error_handler(AppError, _app_error)
    app.register_error_handler(CSRFError, _csrf_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected)


def answer(status: int, words: Words) -> Response:
    """Return the page, or for HTMX nothing to swap and a toast that stays."""
    if htmx.is_htmx():
        response = make_response("", status)
        response.headers["HX-Reswap"] = "none"
        return htmx.toast(response, f"{words.title}. {words.text}", "bad")
    return make_response(render_template("errors/error.html", status=status, words=words), status)


def _app_error(error: AppError) -> Response:
    status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), 422)
    response = answer(status, Words(WORDS[status].title, str(error)))
    if isinstance(error, TooManyError):
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def _csrf_error(_error: CSRFError) -> Response:
    return answer(400, CSRF)


def _http_error(error: HTTPException) -> Response | HTTPException:
    code = error.code or 500
    if error.response is not None or code < 400:
        return error  # a redirect, or an answer that is complete already
    if code >= 500:
        return _calm(code)
    if isinstance(error, BadHost):  # without a host no page can say where anything is
        return Response("{}. {}".format(*WORDS[400]), code, mimetype="text/plain")
    response = answer(code, WORDS.get(code, WORDS[400]))
    for name, value in error.get_headers():
        if name in {"Allow", "Retry-After"}:
            response.headers[name] = value
    return response


def _unexpected(error: Exception) -> Response:
    logger.error("unexpected error in a request", exc_info=error)
    try:
        system_errors.report("Web page", error)
    except Exception:
        # the page about an error must come even when nothing else works
        logger.exception("the error could not be reported")
    return _calm(500)


def _calm(status: int) -> Response:
    """Answer without asking the database for anything."""
    if htmx.is_htmx():
        return answer(status, SERVER_ERROR)
    page = current_app.jinja_env.get_template("errors/500.html").render(words=SERVER_ERROR)
    return make_response(page, status)
