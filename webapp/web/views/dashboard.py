"""The overview: key figures, runs, notification health, and the first steps."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from flask import Blueprint, Response, abort, make_response, render_template, url_for

from webapp.core import clock
from webapp.models.user import Role
from webapp.services import dashboard, dashboard_runs, health, unseen
from webapp.web import htmx
from webapp.web.filters import reader_zone
from webapp.web.login import may, role_required

bp = Blueprint("dashboard", __name__)

BLOCKS: Final[dict[str, Callable[[], Any]]] = {
    "alarms": health.look,
    "expired": unseen.expired,
    "problem": dashboard_runs.problem,
    "stats": dashboard.stats,
    "chart": lambda: dashboard_runs.chart(reader_zone()),
    "next-runs": dashboard_runs.next_runs,
    "notification-health": dashboard.notification_health,
    "job-health": dashboard_runs.jobs,
    "last-runs": dashboard_runs.last_runs,
}
"""Parts that refresh themselves, by the last part of their address."""


@bp.get("/")
def index() -> Response:
    """Show everything."""
    blocks = {_variable(name): block() for name, block in BLOCKS.items()}
    page = render_template(
        "dashboard/index.html",
        today=clock.now().astimezone(reader_zone()),
        checklist=dashboard.checklist() if may(Role.ADMIN) else None,
        **blocks,
    )
    return make_response(page)


@bp.get("/dashboard/<name>")
def block(name: str) -> Response:
    """Return one part anew."""
    if name not in BLOCKS:
        abort(404)
    if not htmx.is_htmx():
        return htmx.go(url_for(".index"))
    variable = _variable(name)
    context = {variable: BLOCKS[name]()}
    return make_response(render_template(f"dashboard/_{variable}.html", **context))


@bp.post("/dashboard/checklist/hide")
@role_required(Role.ADMIN)
def hide_checklist() -> Response:
    """Show the first steps no more."""
    dashboard.hide_checklist()
    if not htmx.is_htmx():
        return htmx.go(url_for(".index"), "First steps hidden")
    return htmx.toast(make_response(""), "First steps hidden")


@bp.app_template_filter("due_time")
def due_time(moment: datetime) -> str:
    """Return "10:00", "tomorrow, 02:00" or "Fri 20 Nov, 02:00" in the reader's zone."""
    local, now = (each.astimezone(reader_zone()) for each in (moment, clock.now()))
    days = (local.date() - now.date()).days
    if days == 0:
        return f"{local:%H:%M}"
    return f"tomorrow, {local:%H:%M}" if days == 1 else f"{local:%a} {local.day} {local:%b, %H:%M}"


def _variable(name: str) -> str:
    return name.replace("-", "_")
