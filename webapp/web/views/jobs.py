"""Jobs: the list, the form, the switch, and Run now."""

from datetime import datetime

from flask import Blueprint, Response, abort, make_response, render_template, request, url_for

from webapp.core.errors import ConflictError, InvalidError
from webapp.models.run import Trigger
from webapp.models.user import Role
from webapp.services import jobs, runs, schedules
from webapp.services.jobs import JobItem
from webapp.web import htmx
from webapp.web.form import add_error
from webapp.web.job_form import JobForm, form_of, new_form
from webapp.web.login import person, role_required

bp = Blueprint("jobs", __name__, url_prefix="/jobs")

UPCOMING = 5


@bp.get("")
def index() -> Response:
    """List the jobs."""
    return make_response(render_template("jobs/index.html", items=jobs.listed()))


@bp.get("/new")
@role_required(Role.OPERATOR)
def new() -> Response:
    """Show an empty form."""
    choices = jobs.choices()
    return make_response(
        render_template(
            "jobs/new.html", form=new_form(choices), choices=choices, item=None, **_times()
        )
    )


@bp.post("")
@role_required(Role.OPERATOR)
def create() -> Response:
    """Add a job; its notifications come next."""
    choices = jobs.choices()
    form = new_form(choices)
    if form.validate():
        try:
            job_id = jobs.create(form.values())
        except InvalidError as error:
            add_error(form, error)
        else:
            return htmx.go(
                url_for(".notifications", job_id=job_id),
                f"{form.name.data} saved. Now choose who hears about it.",
            )
    return _again("jobs/new.html", form, None)


@bp.get("/<int:job_id>")
def edit(job_id: int) -> Response:
    """Show a job's form; people who may only look see the facts."""
    item, choices = jobs.one(job_id), jobs.choices()
    form = form_of(item, choices)
    times = _times(item.row.schedule or "", item.row.timezone)
    return make_response(
        render_template("jobs/edit.html", form=form, choices=choices, item=item, **times)
    )


@bp.post("/<int:job_id>")
@role_required(Role.OPERATOR)
def save(job_id: int) -> Response:
    """Change a job."""
    item, choices = jobs.one(job_id), jobs.choices()
    form = form_of(item, choices)
    if form.validate():
        try:
            jobs.save(job_id, form.values(), form.stated_version)
        except InvalidError as error:
            add_error(form, error)
        except ConflictError as error:
            form.form_errors.append(str(error))
            form.version.data = str(item.row.version)
            form.version.raw_data = [form.version.data]
        else:
            return htmx.go(url_for(".edit", job_id=job_id), f"{form.name.data} saved.")
    return _again("jobs/edit.html", form, item)


def _again(page: str, form: JobForm, item: JobItem | None) -> Response:
    times = _times(form.schedule.data or "", form.timezone.data or "UTC")
    return htmx.render(
        page, "jobs/_form.html", 422, form=form, choices=jobs.choices(), item=item, **times
    )


@bp.get("/schedule")
def schedule() -> Response:
    """Say a cron expression in words, with the next times; nothing is stored."""
    times = _times(request.args.get("schedule", ""), request.args.get("timezone", "UTC"))
    return make_response(render_template("jobs/_schedule.html", **times))


def _times(expression: str = "", timezone: str = "UTC") -> dict[str, object]:
    """Return what the template says about a schedule."""
    words, problem = "", ""
    times: list[datetime] = []
    if expression.strip():
        try:
            words = schedules.describe(expression)
            times = schedules.next_times(expression, timezone, UPCOMING)
        except InvalidError as error:
            problem = str(error)
        except (KeyError, ValueError, OSError):
            problem = f"{timezone} is not a known time zone."
    return {
        "schedule_words": words,
        "schedule_problem": problem,
        "schedule_times": times,
        "schedule_zone": timezone,
    }


@bp.post("/<int:job_id>/toggle")
@role_required(Role.OPERATOR)
def toggle(job_id: int) -> Response:
    """Switch the schedule of a job on or off."""
    wanted = request.form.get("enabled")
    if wanted not in {"0", "1"}:
        abort(400)
    job = jobs.set_enabled(job_id, wanted == "1")
    words = f"{job.name} turned {'on' if job.enabled else 'off'}"
    if not htmx.is_htmx():
        return htmx.go(url_for(".index", _anchor=f"job-{job_id}"), f"{words}.")
    row = render_template("jobs/_row.html", item=jobs.one(job_id))
    return htmx.toast(make_response(row), words)


@bp.post("/<int:job_id>/run")
@role_required(Role.OPERATOR)
def run(job_id: int) -> Response:
    """Start a run now and show it."""
    try:
        run_id = runs.start(job_id, Trigger.MANUAL, person().name)
    except ConflictError as error:
        if htmx.is_htmx():
            return htmx.toast(make_response("", 204), str(error), "warn")
        return htmx.go(url_for(".edit", job_id=job_id), str(error), "warn")
    return htmx.go(url_for("runs.show", run_id=run_id))


@bp.post("/<int:job_id>/clone")
@role_required(Role.OPERATOR)
def clone(job_id: int) -> Response:
    """Make a second job like this one, switched off, and show it."""
    made = jobs.clone(job_id)
    return htmx.go(
        url_for(".edit", job_id=made), "Cloned. It is switched off until you switch it on."
    )


@bp.post("/<int:job_id>/delete")
@role_required(Role.OPERATOR)
def delete(job_id: int) -> Response:
    """Delete a job; its runs and backups stay."""
    try:
        name = jobs.remove(job_id)
    except ConflictError as error:
        return htmx.go(url_for(".edit", job_id=job_id), str(error), "warn")
    return htmx.go(url_for(".index"), f"{name} deleted. Its stored backups are still there.")
