"""The dashboard's figures are those of the tables, and asking for them stays cheap."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import event as sql_event
from sqlalchemy import update

from tests.factories import make_channel, make_destination, make_job, make_source
from webapp.core import clock, ids
from webapp.models import db
from webapp.models.delivery import Delivery, EventRow
from webapp.models.job import Job
from webapp.models.routing import GlobalChannel
from webapp.models.run import Run
from webapp.services import dashboard, dashboard_runs
from webapp.services.transaction import transaction

pytestmark = pytest.mark.usefixtures("app")
NOW = datetime(2026, 11, 17, 8, 42, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)


def add_run(job: Job, outcome: str, ago: timedelta = timedelta(hours=1), **values: object) -> int:
    started = values.pop("started_at", NOW - ago)
    assert isinstance(started, datetime)
    ended = {} if outcome == "running" else {"finished_at": started + timedelta(seconds=48)}
    row = Run(
        **{
            "job_id": job.id,
            "job_name": job.name,
            "trigger": "schedule",
            "outcome": outcome,
            "started_at": started,
            "owner": "x:1:1",
        }
        | ended
        | values
    )
    with transaction() as session:
        session.add(row)
        session.flush()
        return row.id


def add_delivery(state: str, ago: timedelta = timedelta(hours=1), *, is_test: bool = False) -> None:
    moment = NOW - ago
    millis = int(moment.timestamp() * 1000)
    tail = ids.uuid7()[14:]
    with transaction() as session:
        row = EventRow(type="system_error", payload={}, occurred_at=moment, is_test=is_test)
        session.add(row)
        session.flush()
        identifier = f"{millis >> 16:08x}-{millis & 0xFFFF:04x}-{tail}"
        due = NOW if state in {"queued", "retrying"} else None
        session.add(
            Delivery(
                id=identifier,
                event_id=row.id,
                state=state,
                created_at=moment,
                next_attempt_at=due,
            )
        )


def test_a_fresh_installation_has_nothing_to_show() -> None:
    stats = dashboard.stats()
    assert (stats.jobs, stats.finished, stats.stored_week, stats.delivered) == (0, 0, 0, 0)
    assert dashboard_runs.problem() is None
    assert dashboard_runs.jobs().shown == dashboard_runs.next_runs() == ()
    assert dashboard_runs.last_runs() == ()
    assert dashboard.notification_health().words == "No channels"


def test_a_jobs_health_is_its_last_result_and_a_cancelled_run_is_none() -> None:
    good, bad, cancelled, fresh, off = (make_job(name=name) for name in "abcde")
    add_run(good, "failure", timedelta(hours=3))
    add_run(good, "success")
    add_run(bad, "success", timedelta(hours=3))
    add_run(bad, "partial")
    add_run(cancelled, "success", timedelta(hours=3))
    add_run(cancelled, "cancelled")
    add_run(off, "failure")
    with transaction() as session:
        session.execute(update(Job).where(Job.id == off.id).values(enabled=False))
    add_run(fresh, "running")

    stats = dashboard.stats()
    health = {job.state.name: job.state.health for job in dashboard_runs.jobs().shown}

    assert (stats.jobs, stats.healthy, stats.failing, stats.without_result) == (4, 2, 1, 1)
    assert health == {
        "a": "healthy",
        "b": "failing",
        "c": "healthy",
        "d": "running",
        "e": "off",
    }


def test_runs_of_the_last_day_are_counted_by_how_they_ended() -> None:
    job = make_job()
    for outcome in ("success", "success", "partial", "failure", "missed", "cancelled", "running"):
        add_run(job, outcome)
    add_run(job, "success", timedelta(hours=25))
    stats = dashboard.stats()
    assert (stats.finished, stats.succeeded, stats.failed) == (6, 2, 3)


def test_what_was_backed_up_is_summed_by_day_and_week() -> None:
    job = make_job()
    add_run(job, "success", size=100)
    add_run(job, "partial", size=20)
    add_run(job, "success", timedelta(days=3), size=3000)
    add_run(job, "success", timedelta(days=8), size=50_000)
    stats = dashboard.stats()
    assert (stats.stored_day, stats.stored_week) == (120, 3120)


def test_messages_of_the_last_day_are_counted_without_tests() -> None:
    for state in ("sent", "sent", "failed", "expired", "retrying", "skipped", "queued"):
        add_delivery(state)
    add_delivery("sent", timedelta(hours=25))
    add_delivery("sent", is_test=True)
    add_delivery("failed", is_test=True)
    stats = dashboard.stats()
    assert (stats.delivered, stats.undelivered, stats.retrying) == (2, 2, 1)
    assert dashboard.notification_health().undelivered == 2


def test_counts_stop_somewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboard, "MOST", 3)
    for _ in range(5):
        add_delivery("sent")
    assert dashboard.stats().delivered == 3


def test_the_chart_counts_by_days_of_the_reader() -> None:
    job = make_job()
    midnight_in_berlin = NOW - datetime(2026, 11, 16, 23, 0, tzinfo=UTC)
    add_run(job, "success", midnight_in_berlin)
    add_run(job, "success", midnight_in_berlin + timedelta(seconds=1))
    add_run(job, "failure", midnight_in_berlin + timedelta(days=13))
    add_run(job, "failure", midnight_in_berlin + timedelta(days=13, seconds=1))
    add_run(job, "cancelled")

    chart = dashboard_runs.chart(BERLIN)

    assert [day.label for day in chart.days] == [str(number) for number in range(4, 18)]
    assert [(day.succeeded, day.failed) for day in chart.days] == [
        (0, 1),
        *[(0, 0)] * 11,
        (1, 0),
        (1, 0),
    ]
    assert (chart.succeeded, chart.failed) == (2, 1)
    in_utc = dashboard_runs.chart(ZoneInfo("UTC"))
    assert [(day.succeeded, day.failed) for day in in_utc.days][-2:] == [(2, 0), (0, 0)]


def test_days_are_right_where_the_clocks_change(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = datetime(2026, 10, 26, 12, tzinfo=UTC)
    monkeypatch.setattr(clock, "now", lambda: moment)
    job = make_job()
    # 25 October has 25 hours in Berlin: 22:30 UTC the day before is 00:30 of it, 22:59 UTC is 23:59
    for hour, minute, day in ((22, 30, 24), (22, 59, 25), (23, 0, 25)):
        started = datetime(2026, 10, day, hour, minute, tzinfo=UTC)
        add_run(job, "success", NOW - started)
    days = dashboard_runs.chart(BERLIN).days
    assert [(day.long_label, day.succeeded) for day in days[-3:]] == [
        ("24 Oct", 0),
        ("25 Oct", 2),
        ("26 Oct", 1),
    ]


def test_the_next_runs_are_those_of_jobs_that_are_on_soonest_first() -> None:
    make_job(name="night", schedule="0 2 * * *", timezone="Europe/Berlin")
    make_job(name="hourly", schedule="0 * * * *")
    make_job(name="off", schedule="* * * * *", enabled=False)
    make_job(name="by hand")
    assert [(run.name, run.at.astimezone(UTC)) for run in dashboard_runs.next_runs()] == [
        ("hourly", datetime(2026, 11, 17, 9, 0, tzinfo=UTC)),
        ("night", datetime(2026, 11, 18, 1, 0, tzinfo=UTC)),
    ]


def test_a_schedule_that_cannot_be_read_does_not_break_the_page() -> None:
    make_job(name="odd", schedule="every full moon")
    assert dashboard_runs.next_runs() == ()


def test_the_last_runs_come_newest_first_with_progress() -> None:
    job = make_job(name="shop")
    add_run(job, "success")
    add_run(job, "running", bytes_done=64, bytes_total=100, step="Store")
    add_run(job, "running", owner="")
    waiting, running, done = dashboard_runs.last_runs()
    assert (waiting.waiting, running.waiting) == (True, False)
    assert (running.step, running.percent) == ("Store", 64)
    assert (done.outcome, done.took, done.percent) == ("success", timedelta(seconds=48), None)


def test_ticks_are_the_last_results_of_each_job_oldest_first() -> None:
    job, other = make_job(name="a"), make_job(name="b")
    for number in range(20):
        add_run(job, "failure" if number == 19 else "success", timedelta(hours=30 - number))
        add_run(other, "running" if number else "missed")
    ticks = {item.state.name: item.ticks for item in dashboard_runs.jobs().shown}
    assert ticks == {"a": (True,) * 13 + (False,), "b": (False,)}


def test_the_latest_failure_is_the_problem_and_the_others_are_counted() -> None:
    first, latest = make_job(name="first"), make_job(name="latest")
    good_at = NOW - timedelta(hours=6) + timedelta(seconds=48)
    add_run(latest, "success", timedelta(hours=6))
    add_run(latest, "failure", timedelta(minutes=12), error="The server refused user backup.")
    add_run(first, "failure", timedelta(hours=2))
    problem = dashboard_runs.problem()
    assert problem is not None
    assert (problem.job.name, problem.others, problem.last_good) == ("latest", 1, good_at)
    assert problem.job.error == "The server refused user backup."


def test_channels_that_need_a_look_come_first() -> None:
    make_channel(name="a never")
    make_channel(name="b fine", last_delivered_at=NOW)
    make_channel(name="c off", enabled=False)
    make_channel(name="d failing", failing_since=NOW)
    make_channel(name="e broken", failing_since=NOW, broken_at=NOW)
    health = dashboard.notification_health()
    assert [channel.name[0] for channel in health.shown] == ["e", "d", "b", "a", "c"]
    assert health.words == "1 channel healthy, 1 broken, 1 failing, 1 never used, 1 off"
    assert health.total == 5


def done() -> list[str]:
    checklist = dashboard.checklist()
    assert checklist is not None
    return [todo.key for todo in checklist.todos if todo.done]


def test_the_checklist_follows_the_real_data_and_goes_when_it_is_complete() -> None:
    assert done() == []
    channel = make_channel()
    assert done() == ["channel"]
    with transaction() as session:
        session.add(GlobalChannel(channel_id=channel.id, position=0))
    assert done() == ["channel", "global"]
    add_delivery("sent")
    assert done() == ["channel", "global"]
    add_delivery("failed", is_test=True)
    assert done() == ["channel", "global", "test"]
    source = make_source()
    assert done() == ["channel", "global", "test", "source"]
    place = make_destination()
    checklist = dashboard.checklist()
    assert checklist is not None
    assert (checklist.done, checklist.current) == (5, "job")
    make_job(source_id=source.id, destinations=[place.id])
    assert dashboard.checklist() is None


def test_the_checklist_can_be_hidden() -> None:
    dashboard.hide_checklist()
    dashboard.hide_checklist()
    assert dashboard.checklist() is None


def test_a_test_is_found_at_either_end_of_a_long_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboard, "EVENTS_LOOKED_AT", 2)
    add_delivery("sent", is_test=True)
    for _ in range(6):
        add_delivery("sent")
    assert done() == ["test"]


@contextmanager
def statements() -> Iterator[list[str]]:
    seen: list[str] = []

    def note(*args: object) -> None:
        seen.append(str(args[2]))

    sql_event.listen(db.engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        sql_event.remove(db.engine, "before_cursor_execute", note)


EVERY: list[Callable[[], object]] = [
    dashboard.stats,
    dashboard.notification_health,
    dashboard.checklist,
    dashboard_runs.jobs,
    dashboard_runs.problem,
    lambda: dashboard_runs.chart(BERLIN),
    dashboard_runs.next_runs,
    dashboard_runs.last_runs,
]


def queries() -> int:
    with statements() as seen:
        for ask in EVERY:
            ask()
    return len([sql for sql in seen if sql.lstrip().startswith(("SELECT", "WITH"))])


def test_one_job_and_twenty_cost_the_same_number_of_queries() -> None:
    add_run(make_job(schedule="0 2 * * *"), "failure")
    make_channel()
    before = queries()
    for number in range(19):
        job = make_job(schedule="0 3 * * *")
        make_channel()
        add_run(job, "failure" if number % 2 else "success")
        add_delivery("failed")
    assert queries() == before < 25


def test_no_question_walks_through_all_runs_or_deliveries() -> None:
    for number in range(30):
        add_run(make_job(), "success", timedelta(hours=number))
        add_delivery("sent")
    asked: list[tuple[str, object]] = []

    def note(*args: object) -> None:
        asked.append((str(args[2]), args[3]))

    sql_event.listen(db.engine, "before_cursor_execute", note)
    for ask in EVERY:
        ask()
    sql_event.remove(db.engine, "before_cursor_execute", note)
    with db.engine.connect() as connection:
        steps = [
            (str(row[3]), sql)
            for sql, parameters in asked
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", parameters)  # type: ignore[arg-type]
        ]
    walks = ("SCAN run", "SCAN delivery", "SCAN event", "SEARCH run USING INDEX ix_run_outcome")
    whole = {sql for step, sql in steps if step.startswith(walks) and "LIMIT" not in sql}
    assert len(steps) > 20
    assert {sql for sql in whole if "WHERE run.outcome = ?" not in sql} == set()
    assert sum("ix_run_started_at" in step for step, _ in steps) == 2
