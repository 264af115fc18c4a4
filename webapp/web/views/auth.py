"""First-run setup, signing in and out."""

from flask import (
    Blueprint,
    Response,
    abort,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)
from wtforms import BooleanField, EmailField, PasswordField, SelectField, StringField
from wtforms.validators import DataRequired, EqualTo, Length

from webapp.core.errors import InvalidError
from webapp.services import passwords, preferences, signing_in, users
from webapp.web import htmx, visitor
from webapp.web.form import Form, add_error, email_address, tidy, zone_choices
from webapp.web.login import end_session, safe_next, signed_in_user, start_session

bp = Blueprint("auth", __name__)


class LoginForm(Form):
    """Email and password."""

    email = EmailField("Email", [DataRequired("Enter your email.")], filters=[tidy])
    password = PasswordField("Password", [DataRequired("Enter your password.")])
    remember = BooleanField("Keep me signed in")


class SetupForm(Form):
    """The first admin."""

    code = StringField(
        "Setup code",
        description="It is in the file setup_code in the instance directory. A server that "
        "listens beyond this machine also prints it at its start.",
        filters=[tidy],
    )
    name = StringField(
        "Your name", [DataRequired("Enter your name."), Length(max=100)], filters=[tidy]
    )
    email = EmailField(
        "Email",
        [DataRequired("Enter your email."), Length(max=254), email_address],
        description="Used to sign in, and for messages sent to you directly.",
        filters=[tidy],
    )
    password = PasswordField("Password", [DataRequired("Choose a password.")])
    repeated = PasswordField(
        "Repeat password", [EqualTo("password", "This is not the same password.")]
    )
    timezone = SelectField("Time zone")

    def __init__(self) -> None:
        super().__init__()
        self.timezone.choices = zone_choices()


@bp.route("/setup", methods=["GET", "POST"])
def setup() -> Response:
    """Create the first admin; afterwards there is nothing here."""
    if users.any_user():
        if request.method == "GET":
            return make_response(redirect(url_for("auth.login"), 303))
        abort(404)
    form = SetupForm()
    if form.validate_on_submit():
        try:
            user = users.create_first_admin(
                name=form.name.data or "",
                email=form.email.data or "",
                password=form.password.data or "",
                timezone=form.timezone.data,
                code=form.code.data,
                is_local=visitor.is_local(),
            )
        except InvalidError as error:
            add_error(form, error)
        else:
            start_session(user)
            return htmx.go(_home())
    elif request.method == "GET":
        form.timezone.data = preferences.current().timezone
    return _setup_page(form)


def _setup_page(form: SetupForm) -> Response:
    page = render_template(
        "auth/setup.html",
        form=form,
        rules=passwords.rules(form.password.data or "", form.repeated.data or ""),
        code_needed=users.setup_code_needed(is_local=visitor.is_local()),
    )
    return make_response(page, 422 if form.is_submitted() else 200)


@bp.post("/setup/password-check")
def password_check() -> str:
    """Return the list of rules for what has been typed so far."""
    typed = request.form.get("password") or request.form.get("new") or ""
    return render_template(
        "auth/_password_rules.html",
        rules=passwords.rules(typed, request.form.get("repeated")),
    )


@bp.route("/login", methods=["GET", "POST"])
def login() -> Response:
    """Sign in, then go where the person wanted to."""
    target = safe_next(request.values.get("next"), _home())
    if signed_in_user():
        return make_response(redirect(target, 303))
    form = LoginForm()
    if form.validate_on_submit():
        try:
            user = signing_in.sign_in(
                form.email.data or "",
                form.password.data or "",
                ip_address=visitor.address(),
                browser=visitor.browser(),
            )
        except InvalidError as error:
            add_error(form, error)
        else:
            start_session(user, remember=form.remember.data)
            return htmx.go(target)
    page = render_template("auth/login.html", form=form, target=target)
    return make_response(page, 422 if form.is_submitted() else 200)


@bp.post("/logout")
def logout() -> Response:
    """Sign out."""
    end_session()
    return htmx.go(url_for("auth.login"), "You are signed out.", "ok")


def _home() -> str:
    return "/"
