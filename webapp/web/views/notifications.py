"""Settings → Notifications: who hears about logins, restores, and DBackup itself."""

from typing import Final

from flask import Blueprint, Response, abort, make_response, render_template, request, url_for

from webapp.core.errors import InvalidError, NotFoundError
from webapp.models.routing import NotifyUser
from webapp.models.user import Role
from webapp.notify.events import BY_TYPE
from webapp.services import notification_settings as settings
from webapp.services import trials
from webapp.services.notification_settings import Changed
from webapp.services.trials import TrialResults
from webapp.web import htmx
from webapp.web.login import may, role_required, signed_in_user
from webapp.web.numbers import number

bp = Blueprint("notifications", __name__, url_prefix="/settings/notifications")

MODES: Final = (
    (NotifyUser.DISABLED, "Disabled"),
    (NotifyUser.ADMIN_AND_USER, "Admin & User"),
    (NotifyUser.USER_ONLY, "User only"),
)
MODE_NAMES: Final = dict(MODES)
ROW: Final = "settings/_event_changed.html"
STRIP: Final = "settings/_event_test.html"
MOST_CHOSEN: Final = 1000  # a statement takes only so many values
NO_STRIP: Final = "settings/_no_test.html"


@bp.get("")
def index() -> Response:
    """Show the page; `?test=` names a test whose results stand in its event's row."""
    return make_response(
        render_template(
            "settings/notifications.html",
            setup=settings.overview(),
            trial=_trial(request.args.get("test", "")),
            **_common(),
        )
    )


@bp.post("/events/<key>/toggle")
@role_required(Role.ADMIN)
def toggle(key: str) -> Response:
    """Turn an event on or off."""
    wanted = request.form.get("enabled")
    if wanted not in {"0", "1"}:
        abort(400)
    changed = settings.set_enabled(key, wanted == "1")
    name = changed.event.event.label
    return _row(changed, f"{name} turned {'on' if changed.event.enabled else 'off'}")


@bp.post("/events/<key>/channels")
@role_required(Role.ADMIN)
def choose_channels(key: str) -> Response:
    """Give an event its own channels."""
    changed = settings.choose_channels(key, _chosen())
    name = changed.event.event.label
    words = settings.words(changed.event.channels)
    text = f"{name} now has its own selection: {words[0].lower()}{words[1:]}"
    return htmx.toast(_row(changed, text, focus=True), text) if htmx.is_htmx() else _back(key, text)


@bp.post("/events/<key>/channels/reset")
@role_required(Role.ADMIN)
def reset_channels(key: str) -> Response:
    """Let an event follow the global channels again; the toast offers the way back."""
    changed = settings.reset_channels(key)
    text = f"{changed.event.event.label} now uses the global channels"
    if not htmx.is_htmx():
        return _back(key, text)
    undo = {
        "label": "Undo",
        "url": url_for(".choose_channels", key=key),
        "target": f"#event-{key}",
        "fields": {"channel": list(changed.before)},
    }
    return htmx.toast(_row(changed, text, focus=True), text, action=undo)


@bp.post("/events/<key>/notify-user")
@role_required(Role.ADMIN)
def set_notify_user(key: str) -> Response:
    """Store whether the person is told directly."""
    changed = settings.set_notify_user(key, request.form.get("notify_user", ""))
    mode = MODE_NAMES[changed.event.notify_user]
    text = f"Notify user directly for {changed.event.event.label}: {mode}"
    return htmx.announce(_row(changed, text), text) if htmx.is_htmx() else _back(key, text)


@bp.post("/global/channels")
@role_required(Role.ADMIN)
def choose_global() -> Response:
    """Choose the global channels; rows that follow them travel with the answer."""
    setup = settings.choose_global(_chosen())
    count = sum(not event.custom for event in setup.events)
    text = f"Global channels saved for {count} event{'' if count == 1 else 's'}"
    if not htmx.is_htmx():
        return htmx.go(url_for(".index", _anchor="global-channels"), text)
    page = render_template(
        "settings/_global_changed.html", setup=setup, focus=True, trial=None, **_common()
    )
    return htmx.toast(make_response(page), text)


@bp.post("/events/<key>/test")
@role_required(Role.OPERATOR)
def test(key: str) -> Response:
    """Send a sample of an event to exactly where the real one would go."""
    user = signed_in_user()
    assert user is not None  # noqa: S101 - role_required let somebody in
    try:
        event_id = trials.test_event(key, user.id)
    except InvalidError as error:
        if not htmx.is_htmx():
            return _back(key, str(error), "bad")
        return make_response(
            render_template("settings/_test_refused.html", key=key, words=str(error)), 422
        )
    if htmx.is_htmx():
        return _strip(trials.results(event_id), started=True)
    return htmx.go(url_for(".index", test=event_id, _anchor=f"event-{key}"))


@bp.get("/tests/<event_id>")
def test_results(event_id: str) -> Response:
    """Say how a test stands; the last answer polls no more."""
    results = trials.results(event_id)
    if results.event_type not in _system_keys():
        raise NotFoundError("This is not the test of a system event.")
    if not htmx.is_htmx():
        anchor = f"event-{results.event_type}"
        return htmx.go(url_for(".index", test=event_id, _anchor=anchor))
    return _strip(results)


@bp.get("/events/<key>/test/clear")
def clear_test(key: str) -> Response:
    """Close the results of a test."""
    if key not in _system_keys():
        raise NotFoundError("There is no such system event.")
    if not htmx.is_htmx():
        return _back(key)
    return make_response(render_template(NO_STRIP, key=key))


def _strip(results: TrialResults, *, started: bool = False) -> Response:
    page = render_template(
        STRIP, trial=results, key=results.event_type, started=started, **_event(results.event_type)
    )
    response = make_response(page)
    if not results.done:
        return response
    name = BY_TYPE[results.event_type].label
    outcome = f"{results.sent} sent, {results.failed} failed"
    return htmx.announce(response, f"Test of {name} finished: {outcome}")


def _row(changed: Changed, text: str, *, focus: bool = False) -> Response:
    """Answer with the event's row and its group's count, or go back to the row."""
    if not htmx.is_htmx():
        return _back(changed.event.key, text)
    page = render_template(
        ROW,
        setup=changed.setup,
        event=changed.event,
        group=changed.group,
        focus=focus,
        trial=None,
        **_common(),
    )
    return make_response(page)


def _back(key: str, text: str = "", kind: htmx.ToastKind = "ok") -> Response:
    return htmx.go(url_for(".index", _anchor=f"event-{key}"), text, kind)


def _chosen() -> list[int]:
    """Return the ticked channels in the order of the list; nonsense is left out."""
    chosen = (number(value) for value in request.form.getlist("channel")[:MOST_CHOSEN])
    return [channel_id for channel_id in chosen if channel_id]


def _trial(event_id: str) -> TrialResults | None:
    if not event_id:
        return None
    try:
        return trials.results(event_id)
    except NotFoundError:  # an old address: the page is still what was asked for
        return None


def _common() -> dict[str, object]:
    return {
        "base": url_for(".index"),
        "can_edit": may(Role.ADMIN),
        "can_test": may(Role.OPERATOR),
        "modes": MODES,
        "mode_names": MODE_NAMES,
    }


def _event(key: str) -> dict[str, object]:
    return {"base": url_for(".index"), "label": BY_TYPE[key].label, "can_test": may(Role.OPERATOR)}


def _system_keys() -> frozenset[str]:
    return frozenset(key for key, event in BY_TYPE.items() if event.group is not None)
