"""Runs: the history, one run live and afterwards, and Stop run."""

from datetime import datetime

from flask import Blueprint, Response, make_response, render_template, request, url_for

from webapp.core.errors import ConflictError
from webapp.models.run import Outcome
from webapp.models.user import Role
from webapp.services import run_history, runs
from webapp.services.run_history import Filters, RunView
from webapp.web import htmx
from webapp.web.filters import reader_zone
from webapp.web.login import person, role_required
from webapp.web.numbers import asked

bp = Blueprint("runs", __name__, url_prefix="/runs")


@bp.get("")
def index() -> Response:
    """List runs, newest first; the filters are in the address."""
    history = run_history.listing(_filters())
    response = htmx.render("runs/index.html", "runs/_rows.html", history=history)
    return htmx.announce(response, _found(len(history.runs))) if htmx.is_htmx() else response


def _filters() -> Filters:
    outcome = request.args.get("outcome", "")
    return Filters(
        job_id=asked("job") or None,
        outcome=Outcome(outcome) if outcome in set(Outcome) else None,
        before=asked("before"),
        after=asked("after"),
    )


@bp.app_template_filter("clock_time")
def clock_time(moment: datetime) -> str:
    """Return "09:41:18.204" in the reader's zone."""
    return moment.astimezone(reader_zone()).strftime("%H:%M:%S.%f")[:-3]


def _found(count: int) -> str:
    return f"{count or 'No'} run{'' if count == 1 else 's'}"


@bp.get("/<int:run_id>")
def show(run_id: int) -> Response:
    """Show one run."""
    return make_response(render_template("runs/show.html", view=run_history.show(run_id)))


@bp.get("/<int:run_id>/progress")
def progress(run_id: int) -> Response:
    """Say how far a run is; steps, chip and new lines travel along. The last answer polls no more.

    `line` is the last line of the log that the page has, `step` the step that it said.
    """
    if not htmx.is_htmx():
        return htmx.go(url_for(".show", run_id=run_id))
    line = asked("line")
    view = run_history.show(run_id, line)
    response = make_response(render_template("runs/_changed.html", view=view, shown_line=line))
    words = _announcement(view, request.args.get("step", ""))
    return htmx.announce(response, words) if words else response


def _announcement(view: RunView, said: str) -> str:
    if not view.going:
        return f"Run {view.run.id} ended: {view.run.outcome}"
    current = view.current
    if current is None or current["name"] == said:
        return ""
    return f"Step {view.number} of {len(view.run.steps)}: {current['name']}"


@bp.get("/<int:run_id>/log")
def log(run_id: int) -> Response:
    """Give the log as a text file."""
    response = make_response(run_history.log_text(run_id))
    response.mimetype = "text/plain"
    response.headers["Content-Disposition"] = f'attachment; filename="run-{run_id}.log"'
    return response


@bp.post("/<int:run_id>/stop")
@role_required(Role.OPERATOR)
def stop(run_id: int) -> Response:
    """Ask a run to stop."""
    try:
        runs.stop(run_id, person().name)
    except ConflictError as error:
        return htmx.go(url_for(".show", run_id=run_id), str(error), "warn")
    return htmx.go(url_for(".show", run_id=run_id), "The run is being stopped.")
