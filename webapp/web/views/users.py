"""Accounts of other people, for admins."""

from typing import Final

from flask import Blueprint, Response, make_response, render_template, request, url_for
from wtforms import BooleanField, EmailField, PasswordField, RadioField, StringField
from wtforms.validators import DataRequired, InputRequired, Length
from wtforms.widgets import HiddenInput

from webapp.core.errors import ConflictError, InvalidError
from webapp.core.form_fields import NumberField
from webapp.models.user import Role, User
from webapp.services import second_factor, sessions, users
from webapp.services.users import Account
from webapp.web import htmx, visitor
from webapp.web.form import Form, add_error, email_address, tidy
from webapp.web.login import confirmation_required, keep_session, person, role_required

bp = Blueprint("users", __name__, url_prefix="/users")

ROLES: Final = {
    Role.ADMIN.value: "Admin: everything, also users and settings",
    Role.OPERATOR.value: "Operator: jobs, runs, restores and tests; sees the settings",
    Role.VIEWER.value: "Viewer: sees jobs, runs and deliveries",
}


class NewUserForm(Form):
    """A new account."""

    name = StringField("Name", [DataRequired("Enter a name."), Length(max=100)], filters=[tidy])
    email = EmailField(
        "Email",
        [DataRequired("Enter an email."), Length(max=254), email_address],
        description="Used to sign in, and for messages sent to this person directly.",
        filters=[tidy],
    )
    role = RadioField("Role", choices=ROLES, default=Role.VIEWER.value)
    password = PasswordField(
        "First password",
        [DataRequired("Choose a password.")],
        description="At least 12 characters. Tell it to the person; they can change it in their "
        "profile.",
    )

    def account(self, *, active: bool = True) -> Account:
        """Return what was entered."""
        return Account(
            name=self.name.data or "",
            email=self.email.data or "",
            role=Role(self.role.data),
            active=active,
        )


class UserForm(NewUserForm):
    """An account that exists; `version` is the one that the page showed."""

    version = NumberField(validators=[InputRequired()], widget=HiddenInput())
    active = BooleanField("May sign in")
    password = PasswordField(
        "New password",
        description="Leave it empty to keep the present one. A new one ends the person's sessions.",
    )


@bp.get("")
@role_required(Role.ADMIN)
def index() -> str:
    """List everybody."""
    return render_template("users/index.html", users=users.every_user())


@bp.route("/new", methods=["GET", "POST"])
@role_required(Role.ADMIN)
@confirmation_required
def new() -> Response:
    """Add somebody."""
    form = NewUserForm()
    if form.validate_on_submit():
        try:
            user = users.create(form.account(), form.password.data or "", visitor.origin())
        except InvalidError as error:
            add_error(form, error)
        else:
            return htmx.go(url_for(".index"), f"{user.name} can sign in now.")
    page = render_template("users/new.html", form=form)
    return make_response(page, 422 if form.is_submitted() else 200)


@bp.route("/<int:user_id>", methods=["GET", "POST"])
@role_required(Role.ADMIN)
@confirmation_required
def edit(user_id: int) -> Response:
    """Change somebody's account."""
    user = users.get(user_id)
    form = UserForm(obj=user)
    if form.validate_on_submit():
        try:
            changed = users.update(
                user_id,
                form.account(active=form.active.data),
                version=form.version.data or 0,
                password=form.password.data or "",
            )
        except InvalidError as error:
            add_error(form, error)
        except ConflictError as error:
            form.form_errors.append(str(error))
            return _edit_page(form, user, 409)
        else:
            _stay_signed_in(changed)
            return htmx.go(url_for(".index"), f"{changed.name} saved.")
    return _edit_page(form, user, 422 if form.is_submitted() else 200)


@bp.post("/<int:user_id>/active")
@role_required(Role.ADMIN)
@confirmation_required
def set_active(user_id: int) -> Response:
    """Let somebody in or keep them out."""
    active = request.form.get("active") == "1"
    try:
        user = users.set_active(user_id, active)
    except ConflictError as error:
        return htmx.go(url_for(".index"), str(error), "bad")
    words = "can sign in again" if active else "is deactivated and signed out everywhere"
    return htmx.go(url_for(".index"), f"{user.name} {words}.")


@bp.post("/<int:user_id>/second-factor/reset")
@role_required(Role.ADMIN)
@confirmation_required
def reset_second_factor(user_id: int) -> Response:
    """Take away the second factor of somebody who lost it."""
    user = second_factor.disable(user_id)
    words = f"{user.name} signs in without a second factor until they set one up again."
    return htmx.go(url_for(".edit", user_id=user_id), words)


@bp.post("/<int:user_id>/sessions/end")
@role_required(Role.ADMIN)
@confirmation_required
def end_sessions(user_id: int) -> Response:
    """Sign somebody out everywhere."""
    user, count = users.get(user_id), sessions.end_everywhere(user_id)
    ended = f"{count} session{'' if count == 1 else 's'} ended"
    return htmx.go(url_for(".edit", user_id=user_id), f"{user.name}: {ended}.")


def _edit_page(form: UserForm, user: User, status: int) -> Response:
    return make_response(render_template("users/edit.html", form=form, user=user), status)


def _stay_signed_in(user: User) -> None:
    """Keep the admin's own session when it is their own account that got a new password."""
    if user.id == person().id:
        keep_session(user)
