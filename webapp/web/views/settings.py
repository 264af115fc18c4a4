"""Settings → General."""

from flask import Blueprint, Response, make_response, render_template, url_for
from wtforms import SelectField, StringField, URLField
from wtforms.validators import DataRequired, Length, NumberRange, Optional

from webapp.core.errors import InvalidError
from webapp.core.form_fields import NumberField
from webapp.models.user import Role
from webapp.services import preferences, run_settings
from webapp.web import htmx
from webapp.web.form import Form, add_error, tidy, zone_choices
from webapp.web.login import may, role_required

bp = Blueprint("settings", __name__, url_prefix="/settings")


class GeneralForm(Form):
    """How this installation calls itself, where it is reached, and which zone it lives in."""

    instance_name = StringField(
        "Instance name",
        [DataRequired("Enter a name."), Length(max=60)],
        description="Stands in the title of every page and in every message.",
        filters=[tidy],
    )
    base_url = URLField(
        "Address of this DBackup",
        [DataRequired("Enter the address."), Length(max=300)],
        description="Links in messages start with it, for example https://backup.example.org.",
        filters=[tidy],
    )
    timezone = SelectField(
        "Time zone",
        description="For times in messages, and for everybody who has not chosen a zone of their "
        "own.",
    )
    runs_at_once = NumberField(
        "Backups at once",
        [
            Optional(),
            NumberRange(1, run_settings.MOST, f"Enter a number from 1 to {run_settings.MOST}."),
        ],
        description="So many backups and restores run at the same time; others wait their turn.",
    )

    def __init__(self) -> None:
        super().__init__(obj=preferences.current(), data={"runs_at_once": run_settings.at_once()})
        self.timezone.choices = zone_choices()


@bp.get("/general")
@role_required(Role.OPERATOR)
def general() -> Response:
    """Show the general settings; only admins may change them."""
    return _page(GeneralForm(), 200)


@bp.post("/general")
@role_required(Role.ADMIN)
def save_general() -> Response:
    """Save the general settings."""
    form = GeneralForm()
    if not form.validate():
        return _page(form, 422)
    try:
        preferences.save(
            instance_name=form.instance_name.data or "",
            base_url=form.base_url.data or "",
            timezone=form.timezone.data,
        )
        run_settings.save(form.runs_at_once.data or run_settings.USUAL)
    except InvalidError as error:
        add_error(form, error)
        return _page(form, 422)
    return htmx.go(url_for(".general"), "General settings saved.")


def _page(form: GeneralForm, status: int) -> Response:
    page = render_template("settings/general.html", form=form, read_only=not may(Role.ADMIN))
    return make_response(page, status)
