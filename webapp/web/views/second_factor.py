"""Profile → Second factor: set it up, new recovery codes, turn it off."""

from typing import Final

from flask import Blueprint, Response, make_response, render_template, url_for
from wtforms import StringField
from wtforms.validators import DataRequired, Length

from webapp.core.errors import InvalidError, TooManyError
from webapp.services import second_factor
from webapp.web import htmx
from webapp.web.form import Form, add_error, tidy
from webapp.web.limits import attempts
from webapp.web.login import confirmation_required, person

bp = Blueprint("second_factor", __name__, url_prefix="/profile/second-factor")

TURNED_OFF: Final = "The second factor is off. Your password alone signs you in."


class FirstCodeForm(Form):
    """The first code of the app, which proves that it has the key."""

    code = StringField(
        "Code from the app", [DataRequired("Enter the code."), Length(max=10)], filters=[tidy]
    )


@bp.get("")
@confirmation_required
def index() -> Response:
    """Show the key to scan; or, once it is set up, what can be done about it."""
    return _page(FirstCodeForm(), 200)


@bp.post("")
@attempts
@confirmation_required
def enable() -> Response:
    """Turn it on, and show the recovery codes this once."""
    form = FirstCodeForm()
    if not form.validate():
        return _page(form, 422)
    try:
        codes = second_factor.enable(person().id, form.code.data or "")
    except InvalidError as error:
        add_error(form, error)
        return _page(form, 422)
    except TooManyError as error:
        form.form_errors.append(str(error))
        response = _page(form, 429)
        response.headers["Retry-After"] = str(error.retry_after)
        return response
    return _codes(codes)


@bp.post("/codes")
@confirmation_required
def new_codes() -> Response:
    """Replace the recovery codes, and show them this once."""
    return _codes(second_factor.new_codes(person().id))


@bp.post("/disable")
@confirmation_required
def disable() -> Response:
    """Turn it off."""
    second_factor.disable(person().id)
    return htmx.go(url_for("profile.index"), TURNED_OFF, "warn")


def _page(form: FirstCodeForm, status: int) -> Response:
    factor = second_factor.status(person().id)
    enrolment = None if factor.on else second_factor.enrol(person().id)
    page = render_template(
        "profile/second_factor.html",
        form=form,
        factor=factor,
        enrolment=enrolment,
        demanded=person().lacks_second_factor,
    )
    return make_response(page, status)


def _codes(codes: tuple[str, ...]) -> Response:
    return make_response(render_template("profile/recovery_codes.html", codes=codes))
