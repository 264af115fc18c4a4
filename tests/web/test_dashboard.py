"""The dashboard in the browser."""

from datetime import timedelta

import pytest

from tests.browser import Browser
from tests.factories import make_channel, make_job
from tests.services.test_dashboard import add_run
from webapp.core import clock
from webapp.models.job import Job
from webapp.services import dashboard
from webapp.web.views.dashboard import BLOCKS


def run(job: Job, outcome: str, **values: object) -> None:
    """Add a run of some minutes ago."""
    at = clock.now() - timedelta(minutes=5)
    add_run(job, outcome, started_at=at, **values)


def test_a_new_installation_shows_the_first_steps_and_no_problem(admin: Browser) -> None:
    page = admin.get("/")
    steps = [item.text.split()[:3] for item in page.select("#checklist li")]
    assert len(steps) == 6
    assert (
        page.select_one("#checklist [aria-current=step] a.btn-primary")["href"] == "/channels/new"
    )  # type: ignore[index]
    assert len(page.select("main .btn-primary")) == 1
    assert page.select("#problem .callout") == []
    assert "0 of 6 done" in page.text


def test_the_first_steps_go_on_with_the_data(admin: Browser) -> None:
    make_channel()
    page = admin.get("/")
    assert "1 of 6 done" in page.text
    current = page.select_one("#checklist [aria-current=step]")
    assert current is not None
    assert "Choose global channels" in current.text


def test_hide_works_without_javascript_and_lasts(admin: Browser) -> None:
    form = admin.get("/").select_one("#checklist form")
    assert form is not None
    admin.post(str(form["action"]))
    page = admin.follow()
    assert page.select("#checklist") == []
    assert page.select_one("main .btn-primary")["href"] == "/jobs/new"  # type: ignore[index]


def test_hide_through_htmx_takes_the_card_away(admin: Browser) -> None:
    admin.htmx_post("/dashboard/checklist/hide")
    assert admin.last.data == b""
    assert "First steps hidden" in admin.last.headers["HX-Trigger"]
    assert dashboard.checklist() is None


def test_only_admins_see_and_hide_the_first_steps(operator: Browser, viewer: Browser) -> None:
    for browser in (operator, viewer):
        assert browser.get("/").select("#checklist") == []
        browser.post("/dashboard/checklist/hide", status=403)
    assert dashboard.checklist() is not None


@pytest.mark.parametrize("name", BLOCKS)
def test_each_block_is_the_page_s_own_and_asks_again(viewer: Browser, name: str) -> None:
    make_channel(name="Ops alerts")
    run(make_job(name="nightly", schedule="0 2 * * *"), "failure", error="It broke.")
    (root,) = viewer.htmx_get(f"/dashboard/{name}").find_all(recursive=False)
    assert (root["hx-get"], root["hx-trigger"], root["hx-swap"]) == (
        f"/dashboard/{name}",
        "every 30s",
        "outerHTML",
    )
    on_page = viewer.get("/").select_one(f"#{root['id']}")
    assert on_page is not None
    assert on_page["hx-get"] == root["hx-get"]


def test_a_block_opened_as_a_page_leads_to_the_dashboard(viewer: Browser) -> None:
    viewer.get("/dashboard/stats", 303)
    assert viewer.last.location == "/"
    viewer.get("/dashboard/nothing", 404)


def test_a_failing_job_is_said_on_top(viewer: Browser) -> None:
    job = make_job(name="crm <b>")
    run(job, "failure", error="The server refused user backup.\nDetails follow.")
    callout = viewer.get("/").select_one("#problem .callout")
    assert callout is not None
    assert "crm <b> failed" in callout.text
    assert "The server refused user backup." in callout.text
    assert "Details follow" not in callout.text
    assert callout.select_one("a")["href"] == "/runs/1"  # type: ignore[index]


def test_the_chart_says_the_same_numbers_in_a_table(viewer: Browser) -> None:
    job = make_job()
    run(job, "success")
    run(job, "failure")
    chart = viewer.get("/").select_one("#chart")
    assert chart is not None
    assert "1 succeeded, 1 failed." in chart.text
    rows = [[cell.text for cell in row.select("td")] for row in chart.select("tbody tr")]
    assert len(rows) == 14
    assert [sum(int(row[column]) for row in rows) for column in (0, 1)] == [1, 1]
    assert len(chart.select("svg.chart rect.f-hatch")) == 1


def test_running_and_waiting_runs_have_their_own_look(viewer: Browser) -> None:
    job = make_job(name="shop")
    run(job, "running", bytes_done=64, bytes_total=100, step="Store")
    run(job, "running", owner="")
    last = viewer.get("/").select_one("#last-runs")
    assert last is not None
    assert last.select_one("progress[value='64']") is not None
    assert "Store, 64%" in last.text
    assert "Queued" in last.text


def test_channels_show_their_health(viewer: Browser) -> None:
    make_channel(name="Server room", failing_since=clock.now())
    make_channel(name="Ops alerts", last_delivered_at=clock.now())
    health = viewer.get("/").select_one("#notification-health")
    assert health is not None
    assert "1 channel healthy, 1 failing" in health.text
    assert [item.select_one(".strong").text for item in health.select("li")] == [  # type: ignore[union-attr]
        "Server room",
        "Ops alerts",
    ]
