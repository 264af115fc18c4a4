"""For machines: does the server answer, and does its database."""

from flask import Blueprint, Response
from sqlalchemy.exc import SQLAlchemyError

from webapp.services import health

bp = Blueprint("health", __name__)


@bp.get("/healthz")
def healthz() -> Response:
    """Answer ok while the process serves requests."""
    return Response("ok\n", mimetype="text/plain")


@bp.get("/readyz")
def readyz() -> Response:
    """Answer ok while the database answers, else 503."""
    try:
        health.ask_database()
    except SQLAlchemyError:
        return Response("the database does not answer\n", 503, mimetype="text/plain")
    return Response("ok\n", mimetype="text/plain")
