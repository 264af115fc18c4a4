"""dbackup events."""

import json

import pytest
from sqlalchemy import select

from tests.factories import make_channel, make_job
from webapp.models.delivery import Delivery, EventRow
from webapp.models.routing import JobChannel
from webapp.notify.events import EVENTS
from webapp.services import delivery_log, notification_settings
from webapp.services.delivery_log import Filters
from webapp.services.transaction import reading, transaction


def states() -> list[tuple[str, str, str]]:
    log = select(EventRow.type, Delivery.channel_name, Delivery.state).join(
        Delivery, Delivery.event_id == EventRow.id
    )
    with reading() as session:
        return [tuple(row) for row in session.execute(log)]


def test_a_sample_is_queued_where_a_real_event_would_go(dbackup) -> None:
    channel = make_channel(name="Ops")
    notification_settings.choose_global([channel.id])
    result = dbackup("events", "emit", "restore_failure", "--sample")
    assert result.exit_code == 0, result.stderr
    assert "Ops: queued" in result.stdout
    assert states() == [("restore_failure", "Ops", "queued")]


def test_an_event_that_is_off_says_why_nothing_is_sent(dbackup) -> None:
    result = dbackup("events", "emit", "user_login", "--sample")
    assert "The event is off." in result.stdout
    assert states() == [("user_login", "", "skipped")]


def test_own_facts_replace_the_sample(dbackup) -> None:
    channel = make_channel(name="Ops")
    notification_settings.choose_global([channel.id])
    facts = next(event for event in EVENTS if event.type == "system_error").sample().payload()
    data = json.dumps(facts | {"component": "Cellar"})
    assert dbackup("events", "emit", "system_error", "--data", data).exit_code == 0
    (line,) = delivery_log.page(Filters()).lines
    assert "Cellar" in line.title


def test_a_backup_event_follows_the_rows_of_its_job(dbackup) -> None:
    channel, job = make_channel(name="Ops"), make_job(name="nightly")
    with transaction() as session:
        session.add(JobChannel(job_id=job.id, channel_id=channel.id, condition="on_failure"))
    result = dbackup("events", "emit", "backup_failure", "--sample", "--job", "nightly")
    assert "Ops: queued" in result.stdout
    result = dbackup("events", "emit", "backup_success", "--sample", "--job", "nightly")
    assert "On Failure" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nonsense", "--sample"), "no event “nonsense”"),
        (("channel_test", "--sample"), "no event “channel_test”"),
        (("user_login",), "--sample or --data"),
        (("user_login", "--sample", "--data", "{}"), "--sample or --data"),
        (("user_login", "--data", "{"), "not JSON"),
        (("user_login", "--data", "[]"), "JSON object"),
        (("user_login", "--data", "{}"), "needs more fields"),
        (("user_login", "--data", '{"colour": 1}'), "no field colour"),
        (("backup_failure", "--sample"), "--job"),
        (("user_login", "--sample", "--job", "nightly"), "belongs to no job"),
        (("backup_failure", "--sample", "--job", "x"), "no job “x”"),
    ],
)
def test_what_cannot_be_published_is_refused_in_one_line(dbackup, arguments, words) -> None:
    result = dbackup("events", "emit", *arguments)
    assert result.exit_code == 1
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert states() == []


def test_the_list_names_every_event_that_can_be_published(dbackup) -> None:
    entries = json.loads(dbackup("events", "list", "--json").stdout)
    assert [entry["id"] for entry in entries] == [
        event.type for event in EVENTS if event.type != "channel_test"
    ]
    on = {entry["id"]: entry["on"] for entry in entries}
    assert (on["user_login"], on["system_error"], on["backup_failure"]) == (False, True, None)
