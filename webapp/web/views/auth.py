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

from webapp.core.errors import InvalidError, TooManyError
from webapp.services import passwords, preferences, second_factor, signing_in, users
from webapp.web import htmx, oidc_client, visitor
from webapp.web.form import Form, add_error, email_address, tidy, zone_choices
from webapp.web.limits import attempts
from webapp.web.login import (
    ask_for_code,
    end_session,
    forget_ended_session,
    pending,
    safe_next,
    signed_in_user,
    start_session,
)

bp = Blueprint("auth", __name__)


class LoginForm(Form):
    """Email and password."""

    email = EmailField("Email", [DataRequired("Enter your email.")], filters=[tidy])
    password = PasswordField("Password", [DataRequired("Enter your password.")])
    remember = BooleanField("Keep me signed in")


class CodeForm(Form):
    """The second factor."""

    code = StringField(
        "Code",
        [DataRequired("Enter the code."), Length(max=40)],
        description="Six digits from your authenticator app, or one of your recovery codes.",
        filters=[tidy],
    )


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
@attempts
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
            start_session(signing_in.first(user, visitor.place()).token)
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
@attempts
def login() -> Response:
    """Check the password; then ask for the second factor, or go where the person wanted to."""
    target = safe_next(request.values.get("next"), _home())
    if signed_in_user():
        return make_response(redirect(target, 303))
    if request.method == "GET":
        forget_ended_session()
    form = LoginForm()
    if not form.validate_on_submit():
        return _login_page(form, target, 422 if form.is_submitted() else 200)
    place, remember = visitor.place(), bool(form.remember.data)
    try:
        user = signing_in.check(form.email.data or "", form.password.data or "", place)
        if user.totp_secret:
            ask_for_code(user, remember=remember, target=target)
            return htmx.go(url_for(".second_factor"))
        begun = signing_in.complete(user.id, user.session_version, place, remember=remember)
    except InvalidError as error:
        add_error(form, error)
        return _login_page(form, target, 422)
    except TooManyError as error:
        form.form_errors.append(str(error))
        return _too_many(_login_page(form, target, 429), error)
    start_session(begun.token, remember=remember)
    return htmx.go(target)


def _login_page(form: LoginForm, target: str, status: int) -> Response:
    return make_response(_login_html(form, target), status)


def _login_html(form: LoginForm, target: str) -> str:
    provider = oidc_client.name() if oidc_client.is_configured() else ""
    return render_template("auth/login.html", form=form, target=target, provider=provider)


@bp.route("/login/code", methods=["GET", "POST"], endpoint="second_factor")
@attempts
def second_factor_code() -> Response:
    """Ask for the second factor of somebody whose password was right a moment ago."""
    waiting = pending()
    if signed_in_user() or waiting is None:
        return make_response(redirect(url_for(".login"), 303))
    form = CodeForm()
    if not form.validate_on_submit():
        return _code_page(form, 422 if form.is_submitted() else 200)
    place, code = visitor.place(), form.code.data or ""
    try:
        method = signing_in.check_code(waiting.user_id, waiting.version, code, place)
        begun = signing_in.complete(
            waiting.user_id,
            waiting.version,
            place,
            remember=waiting.remember,
            method=f"password and {method}",
        )
    except InvalidError as error:
        if error.field is None:
            return htmx.go(url_for(".login"), str(error), "warn")
        add_error(form, error)
        return _code_page(form, 422)
    except TooManyError as error:
        form.form_errors.append(str(error))
        return _too_many(_code_page(form, 429), error)
    start_session(begun.token, remember=waiting.remember)
    if method == second_factor.RECOVERY:
        left = second_factor.status(waiting.user_id).codes_left
        words = f"You used a recovery code; {left} are left. Make new ones on your profile."
        return htmx.go(waiting.target, words, "warn")
    return htmx.go(waiting.target)


def _code_page(form: CodeForm, status: int) -> Response:
    return make_response(render_template("auth/second_factor.html", form=form), status)


def _too_many(response: Response, error: TooManyError) -> Response:
    response.headers["Retry-After"] = str(error.retry_after)
    return response


@bp.post("/logout")
def logout() -> Response:
    """Sign out."""
    end_session()
    return htmx.go(url_for("auth.login"), "You are signed out.", "ok")


def _home() -> str:
    return "/"
