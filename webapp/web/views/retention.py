"""Job → Retention: what each destination keeps, and what that would delete."""

from flask import Blueprint, Response, make_response, render_template, request, url_for
from wtforms.validators import NumberRange, Optional

from webapp.backup.retention import RULE_NAMES, Rules
from webapp.core.errors import NotFoundError
from webapp.core.form_fields import NumberField
from webapp.models.user import Role
from webapp.services import job_retention, jobs
from webapp.services.job_retention import MOST, Place
from webapp.web import htmx
from webapp.web.form import Form
from webapp.web.login import role_required

bp = Blueprint("retention", __name__, url_prefix="/jobs/<int:job_id>/retention")

SAVE, LOOK, RESET = "save", "look", "reset"


def _number(label: str, description: str = "") -> NumberField:
    return NumberField(
        label,
        description=description,
        validators=[
            Optional(),
            NumberRange(1, MOST, f"Enter a number from 1 to {MOST}, or leave it empty."),
        ],
    )


class RulesForm(Form):
    """The rules of one destination."""

    last = _number("The last", "So many of the newest.")
    days = _number("Days", "Everything that is younger.")
    daily = _number("Daily", "The newest of each of the last so many days that have one.")
    weekly = _number("Weekly")
    monthly = _number("Monthly")
    yearly = _number("Yearly")

    @property
    def rules(self) -> Rules:
        """Return what was entered."""
        return Rules(**{name: self[name].data or None for name in RULE_NAMES})


def _form(place: Place) -> RulesForm:
    form = RulesForm(data=place.rules.to_json())
    for name in RULE_NAMES:  # several of these forms stand on one page
        form[name].id = f"rules-{place.id}-{name}"
    return form


@bp.get("")
def show(job_id: int) -> Response:
    """Show the rules of every destination."""
    return _page(job_id)


@bp.post("/<int:destination_id>")
@role_required(Role.OPERATOR)
def save(job_id: int, destination_id: int) -> Response:
    """Store the rules of a destination, say what they would delete, or forget them."""
    place = _place(job_id, destination_id)
    form = _form(place)
    verb = request.form.get("verb", LOOK)
    if verb == RESET:
        job_retention.save(job_id, destination_id, None)
        return _back(job_id, f"{place.name} keeps again what the job says.")
    if not form.validate():
        return _page(job_id, 422, destination_id, form)
    if verb == SAVE:
        job_retention.save(job_id, destination_id, form.rules)
        return _back(job_id, f"{place.name} keeps {form.rules.words}.")
    return _page(job_id, 200, destination_id, form, look=True)


def _back(job_id: int, words: str) -> Response:
    return htmx.go(url_for(".show", job_id=job_id), words)


def _place(job_id: int, destination_id: int) -> Place:
    for place in job_retention.places(job_id):
        if place.id == destination_id:
            return place
    raise NotFoundError("This job does not store at this destination (any more).")


def _page(
    job_id: int,
    status: int = 200,
    destination_id: int = 0,
    sent: RulesForm | None = None,
    *,
    look: bool = False,
) -> Response:
    places = job_retention.places(job_id)
    shown = [
        (place, sent if sent is not None and place.id == destination_id else _form(place))
        for place in places
    ]
    preview = None
    if look and sent is not None:
        preview = job_retention.preview(job_id, destination_id, sent.rules)
    page = render_template(
        "jobs/retention.html", item=jobs.one(job_id), places=shown, preview=preview
    )
    return make_response(page, status)
