"""Settings → Monitoring: is all well, and who notices when it is not."""

from typing import Final

from flask import Blueprint, Response, make_response, render_template, url_for
from wtforms import BooleanField, PasswordField
from wtforms.validators import Length

from webapp.core.errors import InvalidError
from webapp.models.user import Role
from webapp.services import health, heartbeat, history
from webapp.services.heartbeat import Beat
from webapp.web import htmx
from webapp.web.form import Form, add_error, tidy
from webapp.web.login import may, role_required

bp = Blueprint("monitoring", __name__, url_prefix="/settings/monitoring")

PAGE: Final = "settings/monitoring.html"
NOT_SET: Final = "Enter the address and save it first."


class HeartbeatForm(Form):
    """The address that is called each minute. It is write-only, as every secret."""

    url = PasswordField(
        "Heartbeat address",
        [Length(max=heartbeat.LONGEST)],
        description="For example of Healthchecks or Uptime Kuma, which tell you when the calls "
        "stop. Stored encrypted. A reference such as env:NAME or file:/path works, too.",
        filters=[tidy],
    )
    clear = BooleanField("Call nobody any more")


@bp.get("")
@role_required(Role.OPERATOR)
def index() -> Response:
    """Show whether all is well, and the heartbeat."""
    return _page(HeartbeatForm())


@bp.post("/heartbeat")
@role_required(Role.ADMIN)
def save() -> Response:
    """Store the address; an empty one keeps what is stored."""
    form = HeartbeatForm()
    if not form.validate():
        return _page(form, 422)
    if form.clear.data:
        heartbeat.save("")
        return htmx.go(url_for(".index"), "Nobody is called any more")
    if not form.url.data:
        if heartbeat.shown().is_set:
            return htmx.go(url_for(".index"), "The address stays as it was")
        form.url.errors = [NOT_SET]
        return _page(form, 422)
    try:
        heartbeat.save(form.url.data)
    except InvalidError as error:
        add_error(form, error)
        return _page(form, 422)
    return htmx.go(url_for(".index"), "Heartbeat address saved")


@bp.post("/heartbeat/test")
@role_required(Role.OPERATOR)
def test() -> Response:
    """Call the stored address now."""
    if not heartbeat.shown().is_set:
        return htmx.go(url_for(".index"), NOT_SET, "warn")
    beat: Beat = heartbeat.call()
    words = f"Heartbeat {'sent' if beat.ok else 'failed'}. {beat.words}"
    if not htmx.is_htmx():
        return htmx.go(url_for(".index"), words, "ok" if beat.ok else "bad")
    page = render_template("settings/_heartbeat_latest.html", beat=heartbeat.shown().latest)
    return htmx.announce(make_response(page), words)


def _page(form: HeartbeatForm, status: int = 200) -> Response:
    page = render_template(
        PAGE,
        form=form,
        beats=heartbeat.shown(),
        problems=health.look(),
        kept_since=history.keep_since(),
        read_only=not may(Role.ADMIN),
    )
    return make_response(page, status)
