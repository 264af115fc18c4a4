"""The table of tests/web/test_roles.py: every route and method, and what each role is answered."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from tests.browser import PASSWORD


@dataclass(frozen=True, kw_only=True)
class Row:
    """One route and method; statuses for nobody, viewer, operator, admin.

    401 stands for "sent to the sign-in page". `form` and `objects` may name what tests/web/
    test_roles.py makes anew for each request; `objects` says which one an argument of the address
    is when its name alone does not.
    """

    method: str
    rule: str
    statuses: tuple[int, int, int, int]
    form: Mapping[str, str] = field(default_factory=dict)
    objects: Mapping[str, str] = field(default_factory=dict)
    ends_session: bool = False

    @property
    def leads_to_login(self) -> bool:
        """Say whether also people who are signed in are sent to the sign-in page."""
        return self.ends_session or self.rule in ("/setup", "/login/code")

    def address(self, values: Mapping[str, str]) -> str:
        """Return the address with the ids of real objects in it."""

        def fill(found: re.Match[str]) -> str:
            name = found[1].rpartition(":")[2]
            chosen = self.objects.get(name)
            return values.get(chosen or name, "") or chosen or name

        return re.sub(r"<([^>]+)>", fill, self.rule)


def _rows(
    statuses: tuple[int, int, int, int],
    *routes: str | tuple[str, dict[str, str]],
    **objects: str,
) -> list[Row]:
    made = []
    for each in routes:
        route, form = (each, {}) if isinstance(each, str) else each
        method, rule = route.split()
        made.append(Row(method=method, rule=rule, statuses=statuses, form=form, objects=objects))
    return made


def _everybody(answer: int, *routes: str | tuple[str, dict[str, str]], **objects: str) -> list[Row]:
    return _rows((answer, answer, answer, answer), *routes, **objects)


def _viewer(answer: int, *routes: str | tuple[str, dict[str, str]], **objects: str) -> list[Row]:
    return _rows((401, answer, answer, answer), *routes, **objects)


def _operator(answer: int, *routes: str | tuple[str, dict[str, str]], **objects: str) -> list[Row]:
    return _rows((401, 403, answer, answer), *routes, **objects)


def _admin(answer: int, *routes: str | tuple[str, dict[str, str]], **objects: str) -> list[Row]:
    return _rows((401, 403, 403, answer), *routes, **objects)


_JOB: Final = {
    "name": "Another job {number}",
    "source_id": "{source_id}",
    "destination_ids": "{destination_id}",
    "timezone": "UTC",
    "compression": "gzip",
    "version": "1",
}
_CHANNEL: Final = {"type": "webhook", "name": "Another {number}", "url": "http://127.0.0.1:9/x"}
_SOURCE: Final = {"type": "sqlite", "name": "Another {number}", "path": "{folder}/new.db"}
_DESTINATION: Final = {"type": "local", "name": "Another {number}", "path": "{folder}/new"}
_PERSON: Final = {
    "name": "Somebody",
    "email": "somebody{number}@example.org",
    "role": "viewer",
    "active": "y",
    "version": "1",
}

TABLE: Final = (
    # open to everybody --------------------------------------------------------------------------
    *_everybody(200, "GET /healthz", "GET /readyz", "GET /metrics"),
    *_everybody(200, "GET /static/<path:filename>", filename="app.css"),
    *_everybody(200, "GET /bootstrap/static/<path:filename>", filename="css/bootstrap.min.css"),
    *_everybody(303, "GET /setup"),
    *_everybody(404, "POST /setup"),
    *_everybody(200, "POST /setup/password-check"),
    *_rows((200, 303, 303, 303), "GET /login"),
    *_rows((422, 303, 303, 303), "POST /login"),
    *_everybody(404, "GET /login/oidc", "GET /login/oidc/callback"),  # no provider is configured
    *_rows((303, 303, 303, 303), "GET /login/code", "POST /login/code"),
    # one's own account --------------------------------------------------------------------------
    *_viewer(200, "GET /profile"),
    *_viewer(422, "POST /profile", "POST /profile/password"),
    *_viewer(303, ("POST /profile/theme", {"theme": "dark"})),
    *_viewer(200, "GET /profile/confirm", "GET /profile/second-factor"),
    *_viewer(303, ("POST /profile/confirm", {"present": PASSWORD}), "POST /profile/sessions/end"),
    *_viewer(404, "POST /profile/sessions/<int:session_id>/end", session_id="999"),
    *_viewer(422, "POST /profile/second-factor"),
    *_viewer(409, "POST /profile/second-factor/codes"),
    *_viewer(303, "POST /profile/second-factor/disable"),
    Row(method="POST", rule="/logout", statuses=(401, 303, 303, 303), ends_session=True),
    # dashboard ----------------------------------------------------------------------------------
    *_viewer(200, "GET /"),
    *_viewer(303, "GET /dashboard/<name>", name="stats"),
    *_admin(303, "POST /dashboard/checklist/hide"),
    # channels -----------------------------------------------------------------------------------
    *_viewer(200, "GET /channels"),
    *_operator(303, "POST /channels/<int:channel_id>/test"),
    *_operator(
        303,
        "GET /channels/<int:channel_id>/tests/<event_id>",
        "GET /channels/<int:channel_id>/tests/<event_id>/close",
    ),
    *_admin(
        200,
        "GET /channels/new",
        "GET /channels/<int:channel_id>",
        "GET /channels/<int:channel_id>/delete",
        ("POST /channels/preview", _CHANNEL),
        ("POST /channels/test", _CHANNEL),
    ),
    *_admin(
        303,
        ("POST /channels", _CHANNEL),
        ("POST /channels/<int:channel_id>", _CHANNEL | {"version": "1"}),
        ("POST /channels/<int:channel_id>/delete", {"everywhere": "1"}),
        ("POST /channels/<int:channel_id>/global", {"global": "1"}),
        ("POST /channels/<int:channel_id>/toggle", {"enabled": "0"}),
    ),
    # Settings → Notifications -------------------------------------------------------------------
    *_viewer(200, "GET /settings/notifications"),
    *_viewer(303, "GET /settings/notifications/events/<key>/test/clear", key="user_login"),
    *_viewer(303, "GET /settings/notifications/tests/<event_id>", event_id="login_test"),
    *_operator(303, "POST /settings/notifications/events/<key>/test", key="user_login"),
    *_admin(
        303,
        ("POST /settings/notifications/events/<key>/toggle", {"enabled": "1"}),
        ("POST /settings/notifications/events/<key>/channels", {"channel": "{channel_id}"}),
        "POST /settings/notifications/events/<key>/channels/reset",
        ("POST /settings/notifications/events/<key>/notify-user", {"notify_user": "disabled"}),
        ("POST /settings/notifications/global/channels", {"channel": "{channel_id}"}),
        key="user_login",
    ),
    # deliveries ---------------------------------------------------------------------------------
    *_viewer(200, "GET /deliveries", "GET /deliveries/<delivery_id>"),
    *_viewer(303, "GET /deliveries/rows"),
    *_operator(
        409, "POST /deliveries/<delivery_id>/resend", "POST /deliveries/<delivery_id>/cancel"
    ),
    *_operator(303, ("POST /deliveries/resend-failed", {"since": "24h"})),
    # jobs ---------------------------------------------------------------------------------------
    *_viewer(
        200,
        "GET /jobs",
        "GET /jobs/<int:job_id>",
        "GET /jobs/<int:job_id>/notifications",
        "GET /jobs/<int:job_id>/retention",
        "GET /jobs/schedule",
    ),
    *_viewer(
        303,
        "GET /jobs/<int:job_id>/notifications/test/clear",
        "GET /jobs/<int:job_id>/notifications/tests/<event_id>",
    ),
    *_operator(200, "GET /jobs/new"),
    *_operator(
        303,
        ("POST /jobs", _JOB),
        ("POST /jobs/<int:job_id>", _JOB),
        ("POST /jobs/<int:job_id>/toggle", {"enabled": "0"}),
        "POST /jobs/<int:job_id>/run",
        "POST /jobs/<int:job_id>/clone",
        "POST /jobs/<int:job_id>/delete",
        (
            "POST /jobs/<int:job_id>/notifications",
            {"channel": "{channel_id}", "condition": "always"},
        ),
    ),
    *_operator(
        303,
        destination_id="place_id",
    ),
    *_operator(
        303,
        ("POST /jobs/<int:job_id>/notifications/<int:row_id>", {"condition": "on_failure"}),
        "POST /jobs/<int:job_id>/notifications/<int:row_id>/remove",
        "POST /jobs/<int:job_id>/notifications/<int:row_id>/test",
        row_id="route_id",
    ),
    # runs ---------------------------------------------------------------------------------------
    *_viewer(200, "GET /runs", "GET /runs/<int:run_id>", "GET /runs/<int:run_id>/log"),
    *_viewer(303, "GET /runs/<int:run_id>/progress"),
    *_operator(303, "POST /runs/<int:run_id>/stop"),
    # storage and restores -----------------------------------------------------------------------
    *_viewer(200, "GET /storage", "GET /restores", "GET /restores/<int:restore_id>"),
    *_viewer(303, "GET /restores/<int:restore_id>/progress"),
    *_operator(200, "GET /storage/<int:artifact_id>/download"),
    *_operator(303, "GET /restores/new", "POST /restores/<int:restore_id>/stop"),
    *_operator(
        303,
        ("POST /jobs/<int:job_id>/retention/<int:destination_id>", {"verb": "save", "last": "3"}),
        destination_id="place_id",
    ),
    *_viewer(200, "GET /storage/<int:destination_id>/files"),
    *_operator(303, "POST /storage/<int:destination_id>/import"),
    *_operator(404, "POST /storage/<int:destination_id>/lock"),
    *_admin(404, "GET /storage/<int:destination_id>/delete"),
    *_admin(404, "POST /storage/<int:destination_id>/delete"),
    *_operator(303, "POST /storage/artifacts/<int:artifact_id>/prove"),
    *_operator(200, "GET /restores/upload"),
    *_operator(422, "POST /restores/upload"),
    *_operator(303, ("POST /restores", {"artifact": "{artifact_id}", "target": "{target}"})),
    *_admin(303, "POST /settings/configuration-backup/schedule"),
    # sources and destinations -------------------------------------------------------------------
    *_viewer(200, "GET /sources", "GET /destinations"),
    *_operator(
        303,
        "POST /sources/<int:row_id>/test",
        "GET /sources/<int:row_id>/test/close",
        row_id="source_id",
    ),
    *_operator(
        303,
        "POST /destinations/<int:row_id>/test",
        "GET /destinations/<int:row_id>/test/close",
        row_id="destination_id",
    ),
    *_admin(
        200,
        "GET /sources/new",
        "GET /sources/<int:row_id>",
        ("POST /sources/test", _SOURCE),
        row_id="source_id",
    ),
    *_admin(
        303,
        ("POST /sources", _SOURCE),
        ("POST /sources/<int:row_id>", _SOURCE | {"version": "1"}),
        "POST /sources/<int:row_id>/delete",
        row_id="source_id",
    ),
    *_admin(
        200,
        "GET /destinations/new",
        "GET /destinations/<int:row_id>",
        ("POST /destinations/test", _DESTINATION),
        row_id="destination_id",
    ),
    *_admin(
        303,
        ("POST /destinations", _DESTINATION),
        ("POST /destinations/<int:row_id>", _DESTINATION | {"version": "1"}),
        "POST /destinations/<int:row_id>/delete",
        row_id="destination_id",
    ),
    # settings and people ------------------------------------------------------------------------
    *_operator(200, "GET /settings/general", "GET /settings/monitoring"),
    *_operator(303, "POST /settings/monitoring/heartbeat/test"),
    *_operator(303, "POST /deliveries/seen"),
    *_admin(422, "POST /settings/monitoring/heartbeat"),
    *_admin(303, "POST /settings/general"),
    *_admin(200, "GET /settings/configuration-backup"),
    *_admin(200, ("POST /settings/configuration-backup", {"secrets": "leave_out"})),
    *_admin(200, "GET /settings/security", "GET /settings/audit", "GET /settings/audit/export"),
    *_admin(303, ("POST /settings/security", {"second_factor_for": "", "audit_days": "365"})),
    *_admin(200, "GET /users", "GET /users/new", "GET /users/<int:user_id>"),
    *_admin(
        303,
        ("POST /users/new", _PERSON | {"password": PASSWORD}),
        ("POST /users/<int:user_id>", _PERSON),
        ("POST /users/<int:user_id>/active", {"active": "0"}),
        "POST /users/<int:user_id>/second-factor/reset",
        "POST /users/<int:user_id>/sessions/end",
    ),
)
