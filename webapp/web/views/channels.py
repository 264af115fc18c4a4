"""Channels: the list, the form, the tests."""

from typing import Any, Final

from flask import Blueprint, Response, flash, make_response, render_template, request, url_for
from markupsafe import Markup

from webapp.core.errors import ConflictError, InvalidError, NotFoundError
from webapp.models.user import Role
from webapp.notify.channels import BY_TYPE, CHANNELS
from webapp.services import (
    channel_edits,
    channel_list,
    channel_samples,
    channel_usage,
    trials,
)
from webapp.services.channel_edits import Switched
from webapp.services.channel_samples import Trial
from webapp.services.trials import TrialResults
from webapp.web import htmx
from webapp.web.channel_editor import Editor, chosen_type
from webapp.web.login import may, role_required, signed_in_user
from webapp.web.numbers import number

bp = Blueprint("channels", __name__, url_prefix="/channels")

NOT_SAVED: Final = "Channel not saved"
NOT_SENT: Final = "Test not sent"

bp.add_app_template_filter(channel_list.type_label, "channel_label")


@bp.get("")
def index() -> Response:
    """Show the channels that the search finds; with ?test= the result of a test in its place."""
    found = channel_list.listed(request.args.get("q", ""), with_values=may(Role.OPERATOR))
    response = htmx.render(
        "channels/index.html",
        "channels/_rows.html",
        found=found,
        types=CHANNELS,
        **_shown_test(request.args.get("test")),
    )
    if htmx.is_htmx():
        count = len(found.items)
        words = f"{count} channel{'' if count == 1 else 's'}" if count else "No channels"
        return htmx.announce(response, words)
    return response


@bp.get("/new")
@role_required(Role.ADMIN)
def new() -> Response:
    """Show the type picker and the empty form of the chosen type; a typed name is kept."""
    editor = _editor(chosen_type(request.args.get("type")))
    editor.basics.name.data = request.args.get("name", "")
    editor.basics.is_global.data = "is_global" in request.args
    return _page(editor, "channels/_editor.html")


@bp.post("")
@role_required(Role.ADMIN)
def create() -> Response:
    """Add a channel."""
    editor = _editor(chosen_type(request.form.get("type")), sent=True)
    if not editor.check():
        return _form_again(editor, NOT_SAVED)
    try:
        row = channel_edits.create(editor.type.type, editor.values())
    except InvalidError as error:
        editor.refuse(str(error), error.field)
        return _form_again(editor, NOT_SAVED)
    return _saved(editor, f"{row.name} added")


@bp.get("/<int:channel_id>")
@role_required(Role.ADMIN)
def edit(channel_id: int) -> Response:
    """Show the form of a stored channel, without its secrets."""
    return _page(_editor_of(channel_id), "channels/_form.html")


@bp.post("/<int:channel_id>")
@role_required(Role.ADMIN)
def save(channel_id: int) -> Response:
    """Change a channel."""
    editor = _editor_of(channel_id, sent=True)
    if not editor.check():
        return _form_again(editor, NOT_SAVED)
    try:
        row = channel_edits.save(channel_id, editor.version, editor.values())
    except ConflictError as error:
        editor.refuse(str(error))
        editor.take_over()
        return _form_again(editor, NOT_SAVED)
    except InvalidError as error:
        editor.refuse(str(error), error.field)
        return _form_again(editor, NOT_SAVED)
    return _saved(editor, f"{row.name} saved")


@bp.post("/<int:channel_id>/toggle")
@role_required(Role.ADMIN)
def toggle(channel_id: int) -> Response:
    """Turn a channel on or off."""
    switched = channel_edits.set_enabled(channel_id, request.form.get("enabled") == "1")
    words, silent = _said(switched), _silence(switched)
    if not htmx.is_htmx():
        if silent:
            words = Markup('{}. <a href="{}">{}</a>').format(words, _events_url(), silent)
        return htmx.go(_row_url(channel_id), words, "warn" if silent else "ok")
    response = _row(channel_id)
    if silent:
        action = {"label": "Show", "href": _events_url()}
        return htmx.toast(response, f"{words}. {silent}.", "warn", action=action)
    return htmx.toast(response, words)


@bp.post("/<int:channel_id>/global")
@role_required(Role.ADMIN)
def set_global(channel_id: int) -> Response:
    """Add a channel to the global ones or take it away."""
    on = request.form.get("global") == "1"
    row = channel_edits.set_global(channel_id, on)
    words = f"{row.name} is {'now' if on else 'no longer'} a global channel"
    if not htmx.is_htmx():
        return htmx.go(_row_url(channel_id), words)
    return htmx.toast(_row(channel_id), words)


@bp.get("/<int:channel_id>/delete")
@role_required(Role.ADMIN)
def ask_delete(channel_id: int) -> Response:
    """Ask before deleting: what uses the channel, and what else could be done."""
    return make_response(
        render_template(
            "channels/delete.html",
            item=channel_list.one(channel_id),
            lost=channel_usage.uses_of(channel_id).lost_by(channel_id),
            waiting=channel_edits.count_waiting(channel_id),
        )
    )


@bp.post("/<int:channel_id>/delete")
@role_required(Role.ADMIN)
def delete(channel_id: int) -> Response:
    """Delete a channel; everywhere=1 says that what uses it may lose it."""
    try:
        name = channel_edits.delete(channel_id, everywhere=request.form.get("everywhere") == "1")
    except ConflictError as error:
        return htmx.go(url_for("channels.ask_delete", channel_id=channel_id), str(error), "warn")
    return htmx.go(url_for("channels.index"), f"{name} deleted")


@bp.post("/<int:channel_id>/test")
@role_required(Role.OPERATOR)
def test(channel_id: int) -> Response:
    """Send a sample through a stored channel."""
    event_id = trials.test_channel(channel_id, _user_id())
    if not htmx.is_htmx():
        return htmx.go(_row_url(channel_id, test=event_id))
    return _test_row(channel_id, trials.results(event_id), "channels/_row_test.html")


@bp.get("/<int:channel_id>/tests/<event_id>")
@role_required(Role.OPERATOR)
def test_result(channel_id: int, event_id: str) -> Response:
    """Return the strip of a test as it stands; the page for those without HTMX."""
    if not htmx.is_htmx():
        return htmx.go(_row_url(channel_id, test=event_id))
    results = trials.results(event_id, channel_ids=[channel_id])
    response = _test_row(channel_id, results, "channels/_test_strip.html")
    return htmx.announce(response, _outcome(results)) if results.done else response


@bp.get("/<int:channel_id>/tests/<event_id>/close")
@role_required(Role.OPERATOR)
def close_test(channel_id: int, event_id: str) -> Response:
    """Take the strip away; the result stays in the deliveries."""
    if not htmx.is_htmx():
        return htmx.go(_row_url(channel_id))
    context = {"channel_id": channel_id, "results": None}
    return make_response(render_template("channels/_row_test.html", **context))


@bp.post("/test")
@role_required(Role.ADMIN)
def test_draft() -> Response:
    """Send a sample through the channel as typed; nothing is stored."""
    editor = _sent_editor()
    if not editor.check():
        response = _form_again(editor, NOT_SENT)
        response.headers["HX-Retarget"] = "#channel-form"
        response.headers["HX-Reswap"] = "outerHTML"
        return response
    values = editor.values()
    user = signed_in_user()
    trial = channel_samples.send(editor.type, values.config, values.name, user.name if user else "")
    if not htmx.is_htmx():
        return _page(editor, "", trial=trial)
    response = make_response(
        render_template("channels/_draft_test.html", trial=trial, editor=editor)
    )
    return htmx.announce(response, "Test sent" if trial.ok else f"Test failed. {trial.words}")


@bp.post("/preview")
@role_required(Role.ADMIN)
def preview() -> Response:
    """Draw a sample message as the service would show it, from the form as it is."""
    return _page(_sent_editor(), "channels/_preview.html")


def _saved(editor: Editor, words: str) -> Response:
    """Go to the list; what is strange about the entered values is said, too."""
    if editor.warning:
        return htmx.go(url_for("channels.index"), f"{words}. {editor.warning}", "warn")
    return htmx.go(url_for("channels.index"), words)


def _user_id() -> int:
    user = signed_in_user()
    if user is None:
        raise NotFoundError("Nobody is signed in.")
    return user.id


def _editor(channel_type: type[Any], *, sent: bool = False) -> Editor:
    return Editor(channel_type, user_id=_user_id(), sent=request.form if sent else None)


def _editor_of(channel_id: int, *, sent: bool = False) -> Editor:
    existing = channel_edits.stored(channel_id)
    return Editor(
        BY_TYPE[existing.row.type],
        user_id=_user_id(),
        existing=existing,
        sent=request.form if sent else None,
    )


def _sent_editor() -> Editor:
    """Return the editor of a form that names its channel in a field, not in its address."""
    channel_id = request.form.get("channel_id", "")
    if channel_id:
        return _editor_of(number(channel_id), sent=True)
    return _editor(chosen_type(request.form.get("type")), sent=True)


def _page(
    editor: Editor, partial: str, status: int = 200, *, trial: Trial | None = None, what: str = ""
) -> Response:
    """Answer with the form and its preview, or with one partial of them."""
    sample = request.form.get("sample", "failure")
    existing = None if htmx.is_htmx() else editor.existing
    return htmx.render(
        "channels/new.html" if editor.is_new else "channels/edit.html",
        partial,
        status,
        editor=editor,
        item=channel_list.one(existing.row.id) if existing else None,
        types=CHANNELS,
        trial=trial,
        what=what,
        draft=editor.keep_secrets(),
        sample=sample,
        preview=channel_samples.draw(editor.type, editor.values().config, sample),
    )


def _form_again(editor: Editor, what: str) -> Response:
    return _page(editor, "channels/_form.html", 422, what=what)


def _row(channel_id: int) -> Response:
    item = channel_list.one(channel_id)
    return make_response(render_template("channels/_row.html", item=item))


def _row_url(channel_id: int, test: str | None = None) -> str:
    return url_for("channels.index", _anchor=f"channel-{channel_id}", test=test)


def _events_url() -> str:
    return url_for("notifications.index")


def _said(switched: Switched) -> str:
    return f"{switched.row.name} turned {'on' if switched.row.enabled else 'off'}"


def _silence(switched: Switched) -> str:
    count = len(switched.silent)
    if not count:
        return ""
    return (
        f"{count} event now has no channel" if count == 1 else f"{count} events now have no channel"
    )


def _shown_test(event_id: str | None) -> dict[str, Any]:
    """Return the results of a test that the list should show, and whose they are."""
    if not event_id or not may(Role.OPERATOR):
        return {"tested": None, "results": None}
    try:
        results = trials.results(event_id)
    except NotFoundError as error:
        flash(str(error), "warn")
        return {"tested": None, "results": None}
    tested = results.rows[0].channel_id if results.rows else None
    return {"tested": tested, "results": results}


def _test_row(channel_id: int, results: TrialResults, template: str) -> Response:
    return make_response(render_template(template, channel_id=channel_id, results=results))


def _outcome(results: TrialResults) -> str:
    name = results.rows[0].channel_name if results.rows else "the channel"
    if results.sent:
        return f"Test of {name}: sent"
    return f"Test of {name} failed. {results.rows[0].message if results.rows else ''}".strip()
