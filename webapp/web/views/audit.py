"""Settings → Audit log: who did what, when and from where."""

from datetime import timedelta
from typing import Final
from urllib.parse import urlencode

from flask import Blueprint, Response, request, stream_with_context, url_for

from webapp.core import clock
from webapp.models.user import Role
from webapp.services import audit_log
from webapp.services.audit_log import Filters
from webapp.web import htmx
from webapp.web.login import role_required
from webapp.web.numbers import asked

bp = Blueprint("audit", __name__, url_prefix="/settings/audit")

PERIODS: Final = {
    "24h": ("Last 24 hours", timedelta(hours=24)),
    "7d": ("Last 7 days", timedelta(days=7)),
    "30d": ("Last 30 days", timedelta(days=30)),
    "365d": ("Last year", timedelta(days=365)),
}
GROUP_LABELS: Final = {
    "sign-ins": "Sign-ins and sessions",
    "failed": "Failed sign-ins",
    "channels": "Channels",
    "routing": "Who is notified",
    "connections": "Sources and destinations",
    "jobs": "Jobs and runs",
    "people": "Users and second factors",
    "settings": "Settings and configuration",
    "data": "Downloads and restores",
    "messages": "Messages",
}


@bp.get("")
@role_required(Role.ADMIN)
def index() -> Response:
    """Show a page of the log."""
    filters = _filters()
    page = audit_log.page(
        filters,
        before=asked("before"),
        after=asked("after"),
    )
    return htmx.render(
        "settings/audit.html",
        "settings/_audit_rows.html",
        page=page,
        filtered=filters.any,
        names=audit_log.names(),
        groups=GROUP_LABELS,
        periods=PERIODS,
        newer_url=_address(".index", after=page.newer) if page.newer else "",
        older_url=_address(".index", before=page.older) if page.older else "",
        export_url=_address(".export"),
    )


@bp.get("/export")
@role_required(Role.ADMIN)
def export() -> Response:
    """Send what the filters find as a CSV file."""
    lines = stream_with_context(audit_log.export(_filters()))  # it is read while it is sent
    response = Response(lines, mimetype="text/csv")
    name = f"dbackup-audit-{clock.now():%Y-%m-%dT%H-%M-%SZ}.csv"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _filters() -> Filters:
    """Read the filters; what makes no sense narrows nothing."""
    action = request.args.get("action", "")
    return Filters(
        user_name=request.args.get("person", "")[:120].replace("\0", ""),
        action=action if action in GROUP_LABELS else "",
        since=PERIODS.get(request.args.get("period", ""), ("", None))[1],
    )


def _address(endpoint: str, **place: int | None) -> str:
    kept = {name: request.args.get(name, "") for name in ("person", "action", "period")}
    query = urlencode({name: value for name, value in {**kept, **place}.items() if value})
    return f"{url_for(endpoint)}?{query}" if query else url_for(endpoint)
