"""Settings → Security: what applies to everybody who signs in."""

from typing import Final

from flask import Blueprint, Response, make_response, render_template, url_for
from wtforms import BooleanField, RadioField
from wtforms.validators import InputRequired

from webapp.core.errors import InvalidError
from webapp.core.form_fields import NumberField
from webapp.models.user import Role
from webapp.services import security_settings
from webapp.services.installation import installation
from webapp.services.security_settings import SecondFactorFor, SecuritySettings
from webapp.web import htmx
from webapp.web.form import Form, add_error
from webapp.web.login import confirmation_required, role_required

bp = Blueprint("security", __name__, url_prefix="/settings/security")

WHO: Final = {
    SecondFactorFor.NOBODY.value: "Nobody: each person decides",
    SecondFactorFor.ADMINS.value: "Admins",
    SecondFactorFor.EVERYONE.value: "Everybody",
}


class SecurityForm(Form):
    """What admins decide for everybody."""

    second_factor_for = RadioField(
        "Who must have a second factor",
        choices=WHO,
        description="People without one are asked to set it up before they can do anything else.",
    )
    audit_days = NumberField(
        "Keep the audit log for",
        [InputRequired("Enter a number of days.")],
        description="Days. Older entries are deleted when somebody signs in; younger ones cannot "
        "be deleted at all during their first 30 days.",
    )
    oidc_create = BooleanField(
        "Give people whom the OpenID provider knows an account (as viewer) at their first sign-in"
    )


@bp.get("")
@role_required(Role.ADMIN)
def index() -> Response:
    """Show what applies."""
    return _page(SecurityForm(obj=security_settings.current()), 200)


@bp.post("")
@role_required(Role.ADMIN)
@confirmation_required
def save() -> Response:
    """Store what applies."""
    form = SecurityForm()
    if not form.validate():
        return _page(form, 422)
    try:
        security_settings.save(
            SecuritySettings(
                second_factor_for=SecondFactorFor(form.second_factor_for.data),
                audit_days=form.audit_days.data or 0,
                oidc_create=form.oidc_create.data,
            )
        )
    except InvalidError as error:
        add_error(form, error)
        return _page(form, 422)
    return htmx.go(url_for(".index"), "Security settings saved.")


def _page(form: SecurityForm, status: int) -> Response:
    settings = installation().settings
    page = render_template("settings/security.html", form=form, settings=settings)
    return make_response(page, status)
