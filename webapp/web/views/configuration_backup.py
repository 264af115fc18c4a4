"""Settings → Configuration backup."""

from io import BytesIO
from typing import Final

from flask import Blueprint, Response, make_response, render_template, send_file
from wtforms import PasswordField, RadioField
from wtforms.validators import EqualTo

from webapp.core.errors import InvalidError
from webapp.core.passphrase import SHORTEST
from webapp.models.user import Role
from webapp.services import config_backups
from webapp.web.form import Form, add_error
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


def _page(form: BackupForm, status: int) -> Response:
    return make_response(render_template("settings/configuration_backup.html", form=form), status)
