"""Figures for Prometheus: for who has the token, or for this machine itself when there is none."""

import hmac

from flask import Blueprint, Response, request

from webapp.services import metrics as figures
from webapp.services.installation import installation
from webapp.web import visitor

bp = Blueprint("metrics", __name__)

PLAIN = "text/plain; version=0.0.4; charset=utf-8"


@bp.get("/metrics")
def metrics() -> Response:
    """Answer with the figures."""
    token = installation().settings.metrics_token
    if token is None and not visitor.is_local():
        words = "Ask from the machine itself, or set DBACKUP_METRICS_TOKEN.\n"
        return Response(words, 403, mimetype="text/plain")
    if token is not None and not hmac.compare_digest(_given(), token):
        words = "Send DBACKUP_METRICS_TOKEN as a bearer token.\n"
        return Response(words, 401, {"WWW-Authenticate": "Bearer"}, mimetype="text/plain")
    return Response(figures.text(), content_type=PLAIN)


def _given() -> str:
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" and value.isascii() else ""
