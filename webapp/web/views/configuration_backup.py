"""Settings → Configuration backup."""

from io import BytesIO
from typing import Any, Final

from flask import Blueprint, Response, make_response, render_template, send_file, url_for
from wtforms import (
    BooleanField,
    PasswordField,
    RadioField,
    SelectField,
    StringField,
)
from wtforms.validators import DataRequired, EqualTo, Length, NumberRange

from webapp.core.errors import InvalidError
from webapp.core.form_fields import NumberField, whole
from webapp.core.passphrase import SHORTEST
from webapp.models.user import Role
from webapp.services import artifacts, config_backups, config_schedule
from webapp.services.config_schedule import MOST_KEPT
from webapp.web import htmx
from webapp.web.form import Form, add_error, tidy
from webapp.web.login import confirmation_required, person, role_required

bp = Blueprint("settings_config", __name__, url_prefix="/settings/configuration-backup")

SEAL: Final = "seal"
LEAVE_OUT: Final = "leave_out"


class BackupForm(Form):
    """What happens to the secrets."""

    secrets = RadioField(
        "Passwords, tokens and webhook addresses",
        choices={
            SEAL: "Seal them under a passphrase",
            LEAVE_OUT: "Leave them out; they must be entered again after an import",
        },
        default=SEAL,
    )
    passphrase = PasswordField(
        "Passphrase",
        description=f"At least {SHORTEST} characters. Without it nobody can open the secrets "
        "again, so keep it apart from the file.",
    )
    repeated = PasswordField(
        "Repeat passphrase", [EqualTo("passphrase", "This is not the same passphrase.")]
    )

    @property
    def typed(self) -> str | None:
        """Return the passphrase; None: without secrets."""
        return (self.passphrase.data or "") if self.secrets.data == SEAL else None


class PlanForm(Form):
    """Configuration backups by schedule."""

    enabled = BooleanField("Make one by schedule")
    schedule = StringField(
        "Schedule",
        filters=[tidy],
        description="Five fields as in cron, in the time zone of Settings → General.",
        validators=[DataRequired("Enter a schedule."), Length(max=100)],
    )
    destination_id = SelectField("Store at", coerce=whole, validate_choice=False)
    keep_last = NumberField(
        "Keep the last",
        description="Older ones are deleted after each good one.",
        validators=[NumberRange(1, MOST_KEPT, f"Enter a number from 1 to {MOST_KEPT}.")],
    )
    sealed = BooleanField("With passwords and tokens, sealed under the passphrase")
    passphrase = PasswordField("Passphrase for the schedule")

    def __init__(self, **kwargs: Any) -> None:
        self.plan = config_schedule.current()
        super().__init__(obj=self.plan, **kwargs)
        places = artifacts.listing().places
        self.destination_id.choices = {"0": "Nowhere", **{str(p.id): p.name for p in places}}
        self.passphrase.description = (
            "Empty keeps the present one. Stored sealed, because nobody is there to type it."
            if self.plan.has_passphrase
            else f"At least {SHORTEST} characters. Stored sealed, because nobody is there to type "
            "it. Without it nobody can open the secrets again: keep it apart, too."
        )


@bp.post("/schedule")
@role_required(Role.ADMIN)
@confirmation_required
def save_plan() -> Response:
    """Store when configuration backups are made."""
    form = PlanForm()
    if not form.validate():
        return _page(BackupForm(formdata=None), 422, form)
    try:
        config_schedule.save(
            enabled=bool(form.enabled.data),
            schedule=form.schedule.data or "",
            destination_id=form.destination_id.data or None,
            keep_last=form.keep_last.data or 1,
            sealed=bool(form.sealed.data),
            typed=form.passphrase.data or "",
        )
    except InvalidError as error:
        add_error(form, error)
        return _page(BackupForm(formdata=None), 422, form)
    words = "on" if form.enabled.data else "off"
    return htmx.go(url_for(".index"), f"Configuration backup by schedule is {words}.")


@bp.get("")
@role_required(Role.ADMIN)
@confirmation_required
def index() -> Response:
    """Show the form."""
    return _page(BackupForm(), 200)


@bp.post("")
@role_required(Role.ADMIN)
@confirmation_required
def create() -> Response:
    """Make a configuration backup and send it as a file."""
    form = BackupForm()
    if not form.validate():
        return _page(form, 422)
    try:
        file = config_backups.back_up(form.typed, destination=f"Download by {person().name}")
    except InvalidError as error:
        add_error(form, error)
        return _page(form, 422)
    return send_file(
        BytesIO(file.content),
        mimetype="application/json",
        as_attachment=True,
        download_name=file.name,
    )


def _page(form: BackupForm, status: int, plan: PlanForm | None = None) -> Response:
    plan = plan or PlanForm(formdata=None)
    for field in plan:  # two forms stand on this page
        if field.type != "CSRFTokenField":
            field.id = f"plan-{field.short_name}"
    page = render_template(
        "settings/configuration_backup.html", form=form, plan_form=plan, plan=plan.plan
    )
    return make_response(page, status)
