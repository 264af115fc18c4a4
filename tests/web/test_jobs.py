"""Pages of jobs, with HTMX and without."""

import json

from flask import Flask
from sqlalchemy import select

from tests.browser import Browser
from tests.factories import make_channel, make_destination, make_job, make_source
from webapp.models.job import Job
from webapp.models.routing import JobChannel
from webapp.models.run import Run
from webapp.services import runs
from webapp.services.transaction import reading


def form(**changes: str) -> dict[str, str]:
    return {
        "name": "Shop nightly",
        "source_id": str(make_source().id),
        "destination_ids": str(make_destination().id),
        "compression": "gzip",
        "schedule": "0 2 * * *",
        "timezone": "Europe/Berlin",
        "keep_last": "7",
        "enabled": "y",
    } | changes


def job_rows() -> list[Job]:
    with reading() as session:
        return list(session.scalars(select(Job)))


def route_rows() -> list[tuple[int, str]]:
    with reading() as session:
        found = session.scalars(select(JobChannel).order_by(JobChannel.id))
        return [(row.channel_id, row.condition) for row in found]


def toast(browser: Browser) -> dict[str, object]:
    found = json.loads(browser.last.headers["HX-Trigger"])["toast"]
    assert isinstance(found, dict)
    return found


def test_without_jobs_the_page_says_what_a_job_is(operator: Browser) -> None:
    page = operator.get("/jobs")
    assert "No jobs yet" in page.text
    assert page.select_one("a[href='/jobs/new']") is not None


def test_a_job_is_added_and_leads_to_its_notifications(operator: Browser) -> None:
    operator.post("/jobs", form())
    assert [job.name for job in job_rows()] == ["Shop nightly"]
    page = operator.follow()
    assert "This job tells nobody" in page.text
    assert "Now choose who hears about it" in page.text


def test_a_bad_schedule_comes_back_with_the_reason_and_what_was_typed(
    operator: Browser,
) -> None:
    page = operator.post("/jobs", form(schedule="0 25 * * *"), status=422)
    field = page.select_one("#schedule")
    assert field is not None
    assert (field["value"], field["aria-invalid"]) == ("0 25 * * *", "true")
    assert "“25” cannot be used for the hour" in page.text
    assert job_rows() == []


def test_the_same_over_htmx_is_the_form_alone(operator: Browser) -> None:
    part = operator.htmx_post("/jobs", form(name=""), status=422)
    assert part.select_one("form#job-form") is not None
    assert part.select_one("h1") is None
    assert "Enter a name" in part.text


def test_without_source_and_destination_the_form_says_what_is_missing(
    operator: Browser,
) -> None:
    page = operator.get("/jobs/new")
    assert "There is no source yet" in page.text
    assert "There is no destination yet" in page.text


def test_a_job_is_changed_and_a_stale_form_is_refused(operator: Browser) -> None:
    job = make_job(name="Shop")
    changed = form(name="Shop weekly", schedule="0 2 * * 0", version="1")
    operator.post(f"/jobs/{job.id}", changed)
    assert (job_rows()[0].name, job_rows()[0].schedule) == ("Shop weekly", "0 2 * * 0")
    page = operator.post(f"/jobs/{job.id}", changed | {"name": "Mine"}, status=422)
    assert "Somebody else changed this job" in page.text
    version = page.select_one("input[name=version]")
    assert version is not None
    assert version["value"] == "2"


def test_the_page_says_the_schedule_in_words_with_the_next_five_times(
    operator: Browser,
) -> None:
    job = make_job(schedule="0 2 * * 0", timezone="Europe/Berlin")
    page = operator.get(f"/jobs/{job.id}")
    box = page.select_one("#job-schedule")
    assert box is not None
    assert "Every Sunday at 02:00" in box.text
    times = [item.text for item in box.select("li")]
    assert len(times) == 5
    assert all("Sun" in time and "02:00" in time for time in times)


def test_a_typed_schedule_is_said_before_it_is_saved(operator: Browser) -> None:
    part = operator.htmx_get("/jobs/schedule?schedule=*/20+*+*+*+*&timezone=UTC")
    assert "Every 20 minutes" in part.text
    part = operator.htmx_get("/jobs/schedule?schedule=nightly&timezone=UTC")
    assert "has five fields" in part.text
    part = operator.htmx_get("/jobs/schedule?schedule=0+2+*+*+*&timezone=Mars/Olympus")
    assert "not a known time zone" in part.text


def test_the_switch_works_without_javascript(operator: Browser) -> None:
    job = make_job(name="Shop")
    operator.post(f"/jobs/{job.id}/toggle", {"enabled": "0"})
    assert not job_rows()[0].enabled
    assert "Shop turned off." in operator.follow().text


def test_the_switch_over_htmx_answers_with_the_row(operator: Browser) -> None:
    job = make_job(name="Shop", schedule="0 2 * * *")
    part = operator.htmx_post(f"/jobs/{job.id}/toggle", {"enabled": "0"})
    switch = part.select_one("[role=switch]")
    assert switch is not None
    assert switch["aria-checked"] == "false"
    assert toast(operator)["text"] == "Shop turned off"


def test_run_now_leads_to_the_run(operator: Browser) -> None:
    job = make_job()
    operator.post(f"/jobs/{job.id}/run")
    with reading() as session:
        run = session.scalars(select(Run)).one()
    assert operator.last.headers["Location"] == f"/runs/{run.id}"
    assert (run.trigger, run.requested_by) == ("manual", "Otis Operator")


def test_run_now_twice_says_that_it_is_running_already(operator: Browser) -> None:
    job = make_job(name="Shop")
    operator.post(f"/jobs/{job.id}/run")
    operator.post(f"/jobs/{job.id}/run")
    assert "Shop is running already" in operator.follow().text
    operator.htmx_post(f"/jobs/{job.id}/run", status=204)
    assert "is running already" in str(toast(operator)["text"])


def test_a_job_is_deleted_after_a_question(operator: Browser) -> None:
    job = make_job(name="Shop")
    page = operator.get(f"/jobs/{job.id}")
    assert "Delete Shop?" in page.text
    operator.post(f"/jobs/{job.id}/delete")
    assert job_rows() == []
    assert "Its stored backups are still there" in operator.follow().text


def test_a_running_job_is_not_deleted(operator: Browser) -> None:
    job = make_job(name="Shop")
    runs.start(job.id, "manual", "Mara")
    operator.post(f"/jobs/{job.id}/delete")
    assert "Stop the run" in operator.follow().text


def test_a_viewer_reads_and_changes_nothing(viewer: Browser) -> None:
    job, channel = make_job(name="Shop"), make_channel()
    page = viewer.get(f"/jobs/{job.id}")
    assert page.select_one("form#job-form") is None
    assert page.select_one(f"form[action='/jobs/{job.id}/run']") is None
    viewer.get(f"/jobs/{job.id}/notifications")
    viewer.get("/jobs/new", status=403)
    viewer.post(f"/jobs/{job.id}", form(), status=403)
    viewer.post(f"/jobs/{job.id}/run", status=403)
    viewer.post(f"/jobs/{job.id}/toggle", {"enabled": "0"}, status=403)
    viewer.post(f"/jobs/{job.id}/delete", status=403)
    viewer.post(
        f"/jobs/{job.id}/notifications",
        {"channel": str(channel.id), "condition": "always"},
        status=403,
    )


def test_a_job_that_is_not_there_is_404(operator: Browser) -> None:
    operator.get("/jobs/4711", status=404)
    operator.get("/jobs/4711/notifications", status=404)


# Notifications ----------------------------------------------------------------------------------


def add(browser: Browser, job: Job, channel_id: int, condition: str) -> None:
    data = {"channel": str(channel_id), "condition": condition}
    browser.post(f"/jobs/{job.id}/notifications", data)


def test_rows_are_added_changed_and_removed_without_javascript(operator: Browser) -> None:
    job, channel = make_job(), make_channel(name="Ops")
    add(operator, job, channel.id, "on_failure")
    page = operator.follow()
    row = page.select_one(".route")
    assert row is not None
    checked = row.select_one("input[checked]")
    assert checked is not None
    assert checked["value"] == "on_failure"
    base = f"/jobs/{job.id}/notifications/{str(row['id']).removeprefix('route-')}"
    operator.post(base, {"condition": "always"})
    assert route_rows() == [(channel.id, "always")]
    assert "Ops is told: Always." in operator.follow().text
    operator.post(f"{base}/remove")
    assert route_rows() == []
    assert "Ops removed from this job." in operator.follow().text


def test_a_changed_condition_answers_with_row_summary_and_warning(operator: Browser) -> None:
    job, channel = make_job(), make_channel(name="Ops")
    add(operator, job, channel.id, "always")
    page = operator.get(f"/jobs/{job.id}/notifications")
    assert "Nobody is told when this job fails" not in page.text
    row = page.select_one(".route")
    assert row is not None
    url = f"/jobs/{job.id}/notifications/{str(row['id']).removeprefix('route-')}"
    part = operator.htmx_post(url, {"condition": "on_success"})
    assert [tag["id"] for tag in part.find_all(recursive=False)] == [
        row["id"],
        "routes-warning",
        "routes-summary",
    ]
    assert "Nobody is told when this job fails" in part.text
    assert "No channels" in part.text


def test_a_removed_row_can_be_undone(operator: Browser) -> None:
    job, channel = make_job(), make_channel(name="Ops")
    add(operator, job, channel.id, "on_success")
    page = operator.get(f"/jobs/{job.id}/notifications")
    row = page.select_one(".route")
    assert row is not None
    url = f"/jobs/{job.id}/notifications/{str(row['id']).removeprefix('route-')}/remove"
    operator.htmx_post(url)
    action = toast(operator)["action"]
    assert isinstance(action, dict)
    operator.htmx_post(str(action["url"]), action["fields"])
    assert route_rows() == [(channel.id, "on_success")]


def test_a_new_row_gets_the_focus(operator: Browser) -> None:
    job, channel = make_job(), make_channel()
    data = {"channel": str(channel.id), "condition": "on_failure"}
    part = operator.htmx_post(f"/jobs/{job.id}/notifications", data)
    focused = part.select_one("[autofocus]")
    assert focused is not None
    assert focused["value"] == "on_failure"


def test_the_page_recommends_always_and_on_failure(operator: Browser) -> None:
    job = make_job()
    words = operator.get(f"/jobs/{job.id}/notifications").text
    assert "Recommended for production databases and for compliance" in words
    assert "Recommended for development databases and for team awareness" in words


def test_the_same_channel_twice_is_explained(operator: Browser) -> None:
    job, channel = make_job(), make_channel(name="Ops")
    add(operator, job, channel.id, "on_success")
    add(operator, job, channel.id, "on_failure")
    page = operator.follow()
    assert "For one run each channel gets one message" in page.text


def test_a_row_that_cannot_be_added_is_said_in_place(operator: Browser) -> None:
    job = make_job()
    make_channel()
    data = {"channel": "4711", "condition": "always"}
    assert "deleted" in operator.htmx_post(f"/jobs/{job.id}/notifications", data, 422).text
    assert "deleted" in operator.post(f"/jobs/{job.id}/notifications", data, 422).text


def test_a_test_of_a_row_stands_below(operator: Browser) -> None:
    job, channel = make_job(), make_channel(name="Ops")
    add(operator, job, channel.id, "always")
    row = operator.follow().select_one(".route")
    assert row is not None
    url = f"/jobs/{job.id}/notifications/{str(row['id']).removeprefix('route-')}/test"
    strip = operator.htmx_post(url).select_one("#job-test")
    assert strip is not None
    assert strip["hx-trigger"] == "every 1s"
    assert "Ops" in strip.text
    operator.post(url)
    assert operator.follow().select_one("#job-test") is not None
    closed = operator.htmx_get(f"/jobs/{job.id}/notifications/test/clear")
    assert closed.select_one("#job-test") is not None


def test_texts_of_people_are_escaped(operator: Browser, app: Flask) -> None:
    name = '<!channel> "x" @everyone <script>'
    job, channel = make_job(name=name), make_channel(name="<b>bold</b>")
    add(operator, job, channel.id, "always")
    page = operator.get(f"/jobs/{job.id}/notifications")
    heading = page.select_one("h1")
    assert heading is not None
    assert name in heading.text
    assert page.select_one(".route b") is None
