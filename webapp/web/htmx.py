"""All that knows the HTMX protocol: was it HTMX that asked, and what it is answered."""

import json
from typing import Any, Literal

from flask import Response, flash, make_response, redirect, render_template, request

ToastKind = Literal["ok", "warn", "bad"]


def is_htmx() -> bool:
    """Say whether HTMX asks for a partial. A history restore wants the whole page."""
    return (
        request.headers.get("HX-Request") == "true"
        and request.headers.get("HX-History-Restore-Request") != "true"
    )


def render(page: str, partial: str, /, status: int = 200, **context: Any) -> Response:
    """Return the partial to HTMX and the page to everyone else, from the same context."""
    template = partial if is_htmx() else page
    return make_response(render_template(template, **context), status)


def trigger(response: Response, **events: Any) -> Response:
    """Add client events to the answer's HX-Trigger (ASCII, as headers must be)."""
    present = json.loads(response.headers.get("HX-Trigger", "{}"))
    response.headers["HX-Trigger"] = json.dumps(present | events)
    return response


def toast(response: Response, text: str, kind: ToastKind = "ok", **more: Any) -> Response:
    """Add a toast. `more` may hold an action: {"label": …, "url": …, "fields": {…}} (a POST)."""
    return trigger(response, toast={"text": text, "kind": kind, **more})


def announce(response: Response, text: str) -> Response:
    """Add words for screen readers only."""
    return trigger(response, announce=text)


def go(url: str, text: str = "", kind: ToastKind = "ok") -> Response:
    """Send the browser to another page (303; 204 with HX-Redirect for HTMX); flash words there."""
    if text:
        flash(text, kind)
    if not is_htmx():
        return make_response(redirect(url, 303))
    response = make_response("", 204)
    response.headers["HX-Redirect"] = url
    return response
