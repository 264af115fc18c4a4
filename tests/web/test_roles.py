"""Who may do what: one table of every route, method and role, and the status that each gets.

A route without a row fails, and so does a row without a route. Every request is made to objects
that exist, with values that an admin could send.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tests.browser import PASSWORD, Browser
from tests.conftest import make_settings
from tests.factories import make_channel, make_destination, make_job, make_source, make_user
from tests.services.restoring import sqlite_artifact
from tests.web.roles_table import TABLE
from webapp.app import create_app
from webapp.core import clock
from webapp.models.delivery import Delivery, EventRow, State
from webapp.models.routing import Condition, JobChannel
from webapp.models.run import ArtifactRow, Outcome, Restore, Run
from webapp.models.user import Role
from webapp.notify.events import BY_TYPE
from webapp.services import job_notifications, trials
from webapp.services.transaction import transaction

NOBODY = "nobody"
COLUMNS = (NOBODY, Role.VIEWER, Role.OPERATOR, Role.ADMIN)


@dataclass
class World:
    """Fresh objects for one request; `values` fills addresses and forms."""

    artifact: ArtifactRow
    folder: Path
    number: int
    values: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        folder, artifact = self.folder / str(self.number), self.artifact
        folder.mkdir()
        channel = make_channel(config={"url": "http://127.0.0.1:9/hook"})
        job = make_job(destinations=[artifact.destination_id])
        event = EventRow(type="channel_test", payload=_payload("channel_test"), is_test=True)
        login = EventRow(type="user_login", payload=_payload("user_login"), is_test=True)
        route = JobChannel(job_id=job.id, channel_id=channel.id, condition=Condition.ALWAYS)
        run = Run(
            job_id=job.id, job_name=job.name, trigger="manual", outcome=Outcome.SUCCESS, size=1
        )
        restore = Restore(
            artifact_id=artifact.id,
            artifact_key=artifact.key,
            source_type="sqlite",
            target=str(folder / "elsewhere.db"),
        )
        with transaction() as session:
            session.add_all([event, login, route, run, restore])
            session.flush()
            delivery = Delivery(
                event_id=login.id,
                channel_id=channel.id,
                channel_name=channel.name,
                channel_type="webhook",
                state=State.FAILED,
                finished_at=clock.now(),
            )
            session.add(delivery)
            session.flush()
        self.values = {
            "channel_id": str(channel.id),
            "job_id": str(job.id),
            "row_id": "",
            "route_id": str(route.id),
            "source_id": str(make_source().id),
            "destination_id": str(make_destination().id),
            "place_id": str(artifact.destination_id),
            "run_id": str(run.id),
            "restore_id": str(restore.id),
            "artifact_id": str(artifact.id),
            "delivery_id": delivery.id,
            "event_id": event.id,
            "login_test": login.id,
            "user_id": str(make_user().id),
            "target": str(folder / "restored.db"),
            "folder": str(folder),
            "number": str(self.number),
        }


def _payload(event_type: str) -> dict[str, Any]:
    return BY_TYPE[event_type].sample().payload()


def rules(app: Flask) -> set[tuple[str, str]]:
    """Return every (method, rule) of the application; OPTIONS and HEAD follow the others."""
    return {
        (method, rule.rule)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    return create_app(make_settings(tmp_path_factory.mktemp("roles")))


def test_every_route_and_method_has_its_row(house: Flask) -> None:
    listed = [(row.method, row.rule) for row in TABLE]
    assert len(listed) == len(set(listed)), "a route stands twice in the table"
    assert rules(house) - set(listed) == set(), "routes without a row in tests/web/roles_table.py"
    assert set(listed) - rules(house) == set(), "rows without a route"


def test_the_table_lets_nobody_do_more_than_a_higher_role() -> None:
    for row in TABLE:
        refused = [status in (401, 403) for status in row.statuses]
        assert refused == sorted(refused, reverse=True), f"{row.method} {row.rule}"
        if row.method != "GET":
            assert row.statuses[0] != 200 or row.rule == "/setup/password-check"


@pytest.fixture
def numbers() -> Iterator[int]:
    return iter(range(1, 1000))


@pytest.mark.parametrize("column", range(len(COLUMNS)), ids=[str(each) for each in COLUMNS])
def test_each_route_answers_each_role_as_the_table_says(
    app: Flask, tmp_path: Path, numbers: Iterator[int], column: int
) -> None:
    make_user(role=Role.ADMIN, email="first@example.org")
    browser = _browser(app, column)
    artifact = sqlite_artifact(tmp_path)
    world, wrong = World(artifact, tmp_path, next(numbers)), []
    for row in TABLE:
        address = row.address(world.values)
        data = {name: text.format(**world.values) for name, text in row.form.items()}
        data["csrf_token"] = browser.token()
        body = {"data": data} if row.method != "GET" else {}
        browser._open(address, method=row.method, buffered=True, **body)
        answered, expected = browser.last.status_code, row.statuses[column]
        to_sign_in = (browser.last.location or "").startswith("/login")
        if column == 0 and expected == 401:
            if answered != 303 or not to_sign_in:
                wrong.append(f"{row.method} {address}: {answered}, not sent to sign in")
        elif answered != expected or (column and to_sign_in and not row.leads_to_login):
            wrong.append(
                f"{row.method} {address}: {answered} {browser.last.location or ''}, not {expected}"
            )
        if row.ends_session:
            browser = _browser(app, column)
        if row.method != "GET" and answered not in (401, 403):
            world = World(artifact, tmp_path, next(numbers))
    assert wrong == []


def _browser(app: Flask, column: int) -> Browser:
    browser = Browser(app)
    if COLUMNS[column] is not NOBODY:
        person = make_user(role=COLUMNS[column])
        browser.sign_in(person.email, PASSWORD)
    return browser


def test_what_a_role_may_not_do_is_logged(
    viewer: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    viewer.get("/jobs")
    assert caplog.messages == []
    viewer.post("/settings/security", status=403)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert (
        record.__dict__
        | {
            "user_id": 1,
            "role": "viewer",
            "page": "security.save",
            "address": "127.0.0.1",
        }
        == record.__dict__
    )


# whose object it is -----------------------------------------------------------------------------


def test_a_test_is_found_only_under_its_own_channel(operator: Browser) -> None:
    one, other = make_channel(), make_channel()
    event_id = trials.test_channel(one.id, 1)
    assert operator.htmx_get(f"/channels/{one.id}/tests/{event_id}").select(".strip")
    operator.htmx_get(f"/channels/{other.id}/tests/{event_id}", 404)


def test_a_test_is_found_only_under_a_job_that_tells_its_channel(operator: Browser) -> None:
    channel, job, other = make_channel(), make_job(), make_job()
    job_notifications.add(job.id, channel.id, "always")
    event_id = trials.test_channel(channel.id, 1)
    assert operator.htmx_get(f"/jobs/{job.id}/notifications/tests/{event_id}").select(".strip")
    operator.htmx_get(f"/jobs/{other.id}/notifications/tests/{event_id}", 404)
    operator.htmx_get(f"/jobs/999/notifications/tests/{event_id}", 404)


@pytest.mark.parametrize("change", ["", "/remove", "/test"])
def test_a_row_is_changed_only_under_its_own_job(operator: Browser, change: str) -> None:
    job, other = make_job(), make_job()
    row_id = job_notifications.add(job.id, make_channel().id, "always")
    address = f"/jobs/{other.id}/notifications/{row_id}{change}"
    operator.post(address, {"condition": "on_failure"}, 404)
    assert job_notifications.of_job(job.id).row(row_id).condition == Condition.ALWAYS
