"""For machines: does the server answer, and could it raise an alarm now."""

from flask import Blueprint, Response

from webapp.services import health

bp = Blueprint("health", __name__)


@bp.get("/healthz")
def healthz() -> Response:
    """Answer ok while the process serves requests."""
    return Response("ok\n", mimetype="text/plain")


@bp.get("/readyz")
def readyz() -> Response:
    """Answer ok while an alarm would go out, else 503 with a line for each thing that is wrong."""
    problems = health.look()
    if problems:
        lines = "".join(f"{problem.words}\n" for problem in problems)
        return Response(lines, 503, mimetype="text/plain")
    return Response("ok\n", mimetype="text/plain")
