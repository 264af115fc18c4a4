"""Job → Notifications: who hears about a job. Its pages belong to the blueprint of jobs."""

from flask import Response, make_response, render_template, request, url_for

from webapp.core.errors import InvalidError, NotFoundError
from webapp.models.routing import Condition
from webapp.models.user import Role
from webapp.services import job_notifications as routes
from webapp.services import jobs, trials
from webapp.services.routing import CONDITION_LABELS
from webapp.services.trials import TrialResults
from webapp.web import htmx
from webapp.web.login import person, role_required
from webapp.web.numbers import number
from webapp.web.views.jobs import bp

__all__ = ["bp"]

ICONS = {
    Condition.ALWAYS: "bell",
    Condition.ON_SUCCESS: "check-circle",
    Condition.ON_FAILURE: "x-octagon",
}
OPTIONS = tuple((each.value, CONDITION_LABELS[each], ICONS[each]) for each in Condition)


@bp.get("/<int:job_id>/notifications")
def notifications(job_id: int) -> Response:
    """Show who hears about the job; `?test=` names a test whose results stand below."""
    return _page(job_id)


@bp.post("/<int:job_id>/notifications")
@role_required(Role.OPERATOR)
def add_route(job_id: int) -> Response:
    """Add a row."""
    channel = request.form.get("channel", "")
    channel_id = number(channel) or None
    try:
        row_id = routes.add(job_id, channel_id, request.form.get("condition", ""))
    except InvalidError as error:
        if not htmx.is_htmx():
            return _page(job_id, str(error), 422)
        return _panel(job_id, problem=str(error), status=422)
    row = routes.of_job(job_id).row(row_id)
    text = f"{row.channel.name} is told: {CONDITION_LABELS[row.condition]}"
    if not htmx.is_htmx():
        return _back(job_id, text, f"route-{row_id}")
    return htmx.toast(_panel(job_id, focus=row_id), text)


@bp.post("/<int:job_id>/notifications/<int:row_id>")
@role_required(Role.OPERATOR)
def change_route(job_id: int, row_id: int) -> Response:
    """Store when a row's channel is told."""
    try:
        changed = routes.set_condition(job_id, row_id, request.form.get("condition", ""))
    except InvalidError as error:
        return htmx.go(url_for(".notifications", job_id=job_id), str(error), "bad")
    row = changed.row(row_id)
    text = f"{row.channel.name} is told: {CONDITION_LABELS[row.condition]}"
    if not htmx.is_htmx():
        return _back(job_id, text, f"route-{row_id}")
    page = render_template(
        "jobs/_route_changed.html", routes=changed, row=row, options=OPTIONS, oob=True
    )
    return htmx.announce(make_response(page), text)


@bp.post("/<int:job_id>/notifications/<int:row_id>/remove")
@role_required(Role.OPERATOR)
def remove_route(job_id: int, row_id: int) -> Response:
    """Remove a row; the toast offers the way back."""
    removed = routes.remove(job_id, row_id)
    text = f"{removed.channel_name} removed from this job"
    if not htmx.is_htmx():
        return _back(job_id, text, "job-routes")
    undo = {
        "label": "Undo",
        "url": url_for(".add_route", job_id=job_id),
        "target": "#job-routes",
        "fields": {"channel": str(removed.channel_id), "condition": removed.condition},
    }
    return htmx.toast(_panel(job_id, focus=removed.next_id or 0), text, action=undo)


@bp.post("/<int:job_id>/notifications/<int:row_id>/test")
@role_required(Role.OPERATOR)
def test_route(job_id: int, row_id: int) -> Response:
    """Send a sample through the channel of a row."""
    row = routes.of_job(job_id).row(row_id)
    event_id = trials.test_channel(row.channel.id, person().id)
    if htmx.is_htmx():
        return _strip(job_id, trials.results(event_id))
    return htmx.go(url_for(".notifications", job_id=job_id, test=event_id, _anchor="job-test"))


@bp.get("/<int:job_id>/notifications/tests/<event_id>")
def route_test(job_id: int, event_id: str) -> Response:
    """Say how a test stands; the last answer polls no more."""
    if not htmx.is_htmx():
        target = url_for(".notifications", job_id=job_id, test=event_id, _anchor="job-test")
        return htmx.go(target)
    told = [row.channel.id for row in routes.of_job(job_id).rows]
    results = trials.results(event_id, channel_ids=told)
    response = _strip(job_id, results)
    if not results.done:
        return response
    return htmx.announce(response, f"Test: {results.sent} sent, {results.failed} failed")


@bp.get("/<int:job_id>/notifications/test/clear")
def clear_route_test(job_id: int) -> Response:
    """Close the results of a test."""
    if not htmx.is_htmx():
        return htmx.go(url_for(".notifications", job_id=job_id))
    return make_response(render_template("jobs/_no_test.html"))


def _page(job_id: int, problem: str = "", status: int = 200) -> Response:
    page = render_template(
        "jobs/notifications.html",
        item=jobs.one(job_id),
        routes=routes.of_job(job_id),
        options=OPTIONS,
        problem=problem,
        focus=None,
        **_test(job_id, _asked_results()),
    )
    return make_response(page, status)


def _panel(
    job_id: int, *, focus: int | None = None, problem: str = "", status: int = 200
) -> Response:
    page = render_template(
        "jobs/_routes_changed.html",
        item=jobs.one(job_id),
        routes=routes.of_job(job_id),
        options=OPTIONS,
        problem=problem,
        focus=focus,
        oob=True,
    )
    return make_response(page, status)


def _strip(job_id: int, results: TrialResults) -> Response:
    return make_response(render_template("jobs/_test.html", **_test(job_id, results)))


def _test(job_id: int, results: TrialResults | None) -> dict[str, object]:
    if results is None:
        return {"results": None}
    return {
        "results": results,
        "id": "job-test",
        "title": results.rows[0].channel_name if results.rows else "the channel",
        "poll_url": url_for(".route_test", job_id=job_id, event_id=results.event_id),
        "close_url": url_for(".clear_route_test", job_id=job_id),
        "strip_class": "bg-transparent",
    }


def _asked_results() -> TrialResults | None:
    asked = request.args.get("test", "")
    try:
        return trials.results(asked) if asked else None
    except NotFoundError:
        return None


def _back(job_id: int, text: str, anchor: str) -> Response:
    return htmx.go(url_for(".notifications", job_id=job_id, _anchor=anchor), f"{text}.")
