"""The storage explorer: stored backups by destination."""

from flask import Blueprint, Response, url_for
from werkzeug.http import dump_options_header

from webapp.models.user import Role
from webapp.services import artifacts
from webapp.web import htmx
from webapp.web.login import role_required
from webapp.web.numbers import asked

bp = Blueprint("storage", __name__, url_prefix="/storage")


@bp.get("")
def index() -> Response:
    """Show the backups of one destination, newest first."""
    listing = artifacts.listing(
        asked("destination") or None,
        before=asked("before"),
        after=asked("after"),
    )
    if listing.place is None and htmx.is_htmx():
        return htmx.go(url_for(".index"))  # the page that asks shows a destination that is gone
    return htmx.render("storage/index.html", "storage/_artifacts.html", listing=listing)


@bp.get("/<int:artifact_id>/download")
@role_required(Role.OPERATOR)
def download(artifact_id: int) -> Response:
    """Send the stored file as it is, piece by piece."""
    file = artifacts.download(artifact_id)
    response = Response(file.chunks, mimetype="application/octet-stream")
    response.content_length = file.size
    response.headers["Content-Disposition"] = dump_options_header(
        "attachment", {"filename": file.name}
    )
    response.call_on_close(file.chunks.close)
    return response
