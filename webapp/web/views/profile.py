"""One's own account: name, email, time zone, theme, password."""

from typing import Final

from flask import Blueprint, Response, make_response, render_template, request, url_for
from wtforms import EmailField, PasswordField, SelectField, StringField
from wtforms.validators import DataRequired, EqualTo, Length

from webapp.core.errors import InvalidError, TooManyError
from webapp.models.user import Theme, User
from webapp.services import passwords, preferences, second_factor, sessions, users
from webapp.web import htmx, oidc_client
from webapp.web.form import Form, add_error, email_address, tidy, zone_choices
from webapp.web.limits import attempts
from webapp.web.login import (
    ask_to_confirm,
    confirmation_required,
    is_confirmed,
    keep_session,
    person,
    renew_session,
    safe_next,
)

bp = Blueprint("profile", __name__, url_prefix="/profile")

THEMES: Final = {
    Theme.AUTO.value: "Like the system",
    Theme.LIGHT.value: "Light",
    Theme.DARK.value: "Dark",
}


class ProfileForm(Form):
    """What others see, where mail goes, and how pages look."""

    name = StringField("Name", [DataRequired("Enter your name."), Length(max=100)], filters=[tidy])
    email = EmailField(
        "Email",
        [DataRequired("Enter your email."), Length(max=254), email_address],
        description="Used to sign in, and for messages sent to you directly.",
        filters=[tidy],
    )
    timezone = SelectField("Time zone")
    theme = SelectField("Theme", choices=THEMES)

    def __init__(self, user: User) -> None:
        super().__init__(obj=user)
        self.timezone.choices = zone_choices(
            f"Like the instance ({preferences.current().timezone})"
        )


class ConfirmForm(Form):
    """The present password, before a sensitive change."""

    present = PasswordField("Your password", [DataRequired("Enter your password.")])


class PasswordForm(Form):
    """A new password, and the present one as proof."""

    present = PasswordField("Present password", [DataRequired("Enter your present password.")])
    new = PasswordField("New password", [DataRequired("Choose a new password.")])
    repeated = PasswordField(
        "Repeat new password", [EqualTo("new", "This is not the same password.")]
    )


@bp.route("", methods=["GET", "POST"])
def index() -> Response:
    """Show the profile, or save it."""
    form = ProfileForm(users.get(person().id))
    if form.validate_on_submit():
        if (form.email.data or "") != person().email and not is_confirmed():
            return make_response(ask_to_confirm())
        try:
            users.update_profile(
                person().id,
                name=form.name.data or "",
                email=form.email.data or "",
                timezone=form.timezone.data or "",
                theme=form.theme.data,
            )
        except InvalidError as error:
            add_error(form, error)
        else:
            return htmx.go(url_for(".index"), "Profile saved.")
    return _page(form, PasswordForm(formdata=None), 422 if form.is_submitted() else 200)


@bp.post("/password")
@attempts
def password() -> Response:
    """Replace one's own password; other sessions of the account end, this one stays."""
    form = PasswordForm()
    if form.validate_on_submit():
        try:
            user = users.change_password(
                person().id, present=form.present.data or "", new=form.new.data or ""
            )
        except InvalidError as error:
            add_error(form, error)
        except TooManyError as error:
            form.form_errors.append(str(error))
        else:
            keep_session(user)
            return htmx.go(
                url_for(".index"), "Password changed. You were signed out everywhere else."
            )
    user = users.get(person().id)
    profile = ProfileForm(user)
    profile.process(obj=user)
    return _page(profile, form, 422)


@bp.route("/confirm", methods=["GET", "POST"])
@attempts
def confirm() -> Response:
    """Ask for the password before a sensitive change, then go back to it."""
    target = safe_next(request.values.get("next"), url_for(".index"))
    form, status = ConfirmForm(), 200
    if form.validate_on_submit():
        try:
            token = sessions.confirm(person().session_id, person().id, form.present.data or "")
        except InvalidError as error:
            add_error(form, error)
        except TooManyError as error:
            form.form_errors.append(str(error))
            status = 429
        else:
            renew_session(token)
            return htmx.go(target)
    if status == 200 and form.is_submitted():
        status = 422
    page = render_template(
        "profile/confirm.html",
        form=form,
        target=target,
        provider=oidc_client.name() if oidc_client.is_configured() else "",
    )
    return make_response(page, status)


@bp.post("/sessions/<int:session_id>/end")
@confirmation_required
def end_session(session_id: int) -> Response:
    """End one other session of one's own."""
    sessions.end(session_id, person().id)
    return htmx.go(url_for(".index", _anchor="sessions"), "That session has ended.")


@bp.post("/sessions/end")
@confirmation_required
def end_sessions() -> Response:
    """Sign out everywhere else."""
    count = sessions.end_others(person().id, person().session_id)
    words = f"{count} other session{'' if count == 1 else 's'} ended."
    return htmx.go(url_for(".index", _anchor="sessions"), words)


@bp.post("/theme")
def theme() -> Response:
    """Choose how pages look, and go back to where that was chosen."""
    users.set_theme(person().id, request.form.get("theme", ""))
    return htmx.go(safe_next(request.form.get("next"), url_for(".index")))


def _page(form: ProfileForm, password_form: PasswordForm, status: int) -> Response:
    page = render_template(
        "profile/index.html",
        form=form,
        password_form=password_form,
        sessions=sessions.of_user(person().id, person().session_id),
        factor=second_factor.status(person().id),
        rules=passwords.rules(password_form.new.data or "", password_form.repeated.data or ""),
    )
    return make_response(page, status)
