"""One's own account: name, email, time zone, theme, password."""

from typing import Final

from flask import Blueprint, Response, make_response, render_template, request, url_for
from wtforms import EmailField, PasswordField, SelectField, StringField
from wtforms.validators import DataRequired, EqualTo, Length

from webapp.core.errors import InvalidError
from webapp.models.user import Theme, User
from webapp.services import passwords, preferences, users
from webapp.web import htmx
from webapp.web.form import Form, add_error, email_address, tidy, zone_choices
from webapp.web.login import person, renew_session, safe_next

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
        else:
            renew_session(user)
            return htmx.go(
                url_for(".index"), "Password changed. You were signed out everywhere else."
            )
    user = users.get(person().id)
    profile = ProfileForm(user)
    profile.process(obj=user)
    return _page(profile, form, 422)


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
        rules=passwords.rules(password_form.new.data or "", password_form.repeated.data or ""),
    )
    return make_response(page, status)
