"""Pages of runs: live, ended, and the history."""

import json
import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask

from tests.browser import Browser
from tests.factories import make_destination, make_job, make_source
from webapp.core import clock
from webapp.models.job import Job
from webapp.models.run import Outcome, Run, RunLine
from webapp.services import run_history, runs
from webapp.services.transaction import transaction


@pytest.fixture
def job(app: Flask, tmp_path: Path) -> Job:
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE item (name TEXT)")
    connection.close()
    (tmp_path / "shelf").mkdir()
    place = make_destination(name="nas", config={"path": str(tmp_path / "shelf")})
    source = make_source(name="shop", config={"path": str(path)})
    made: Job = make_job(name="Shop nightly", source_id=source.id, destinations=[place.id])
    return made


def working(job: Job) -> int:
    """Make a run that stands in the middle of its dump."""
    run_id = runs.start(job.id, "cli", "Mara")
    began = clock.now() - timedelta(seconds=10)
    with transaction() as session:
        run = session.get_one(Run, run_id)
        run.steps = [
            {"name": "Connect", "state": "done", "seconds": 0.3},
            {"name": "Dump", "state": "running", "started_at": began.isoformat()},
            {"name": "Store", "state": "waiting"},
            {"name": "Verify", "state": "waiting"},
        ]
        run.step, run.bytes_done, run.bytes_total = "Dump", 50_000_000, 100_000_000
        session.add(RunLine(run_id=run_id, level="warning", text="careful <b>now</b>"))
    return run_id


def ended(job: Job) -> int:
    run_id = runs.start(job.id, "cli", "Mara")
    runs.execute(run_id)
    return run_id


def events(browser: Browser) -> dict[str, str]:
    found = json.loads(browser.last.headers.get("HX-Trigger", "{}"))
    assert isinstance(found, dict)
    return found


def test_a_running_run_polls_itself_and_refreshes_without_javascript(
    operator: Browser, job: Job
) -> None:
    run_id = working(job)
    page = operator.get(f"/runs/{run_id}")
    progress = page.select_one("#run-progress")
    assert progress is not None
    assert progress["hx-trigger"] == "every 1s"
    assert "Step 2 of 4: Dump" in progress.text
    assert "50 MB of 100 MB" in progress.text
    assert "MB/s" in progress.text
    bar = progress.select_one("progress")
    assert bar is not None
    assert bar["value"] == "32"
    assert page.select_one("noscript meta[http-equiv=refresh]") is not None


def test_log_lines_are_escaped_and_have_their_level(operator: Browser, job: Job) -> None:
    page = operator.get(f"/runs/{working(job)}")
    log = page.select_one("#run-log")
    assert log is not None
    assert "WARN" in log.text
    assert "careful <b>now</b>" in log.text


def test_a_poll_brings_only_new_lines_and_says_a_new_step(operator: Browser, job: Job) -> None:
    run_id = working(job)
    last = run_history.show(run_id).last_line
    part = operator.htmx_get(f"/runs/{run_id}/progress?line={last}&step=Connect")
    assert part.select_one("#run-log") is None
    assert events(operator)["announce"] == "Step 2 of 4: Dump"
    with transaction() as session:
        session.add(RunLine(run_id=run_id, text="one more"))
    part = operator.htmx_get(f"/runs/{run_id}/progress?line={last}&step=Dump")
    log = part.select_one("#run-log")
    assert log is not None
    assert (log["hx-swap-oob"], "careful" in log.text) == ("beforeend", False)
    assert "one more" in log.text
    assert "announce" not in events(operator)


def test_a_poll_without_news_asks_on_from_the_same_line(operator: Browser, job: Job) -> None:
    run_id = working(job)
    part = operator.htmx_get(f"/runs/{run_id}/progress?line=999&step=Dump")
    progress = part.select_one("#run-progress")
    assert progress is not None
    assert "line=999" in str(progress["hx-get"])


def test_polling_ends_with_the_run(operator: Browser, job: Job) -> None:
    run_id = ended(job)
    part = operator.htmx_get(f"/runs/{run_id}/progress?line=0&step=Verify")
    progress = part.select_one("#run-progress")
    assert progress is not None
    assert not progress.has_attr("hx-trigger")
    assert "Backed up in" in progress.text
    assert events(operator)["announce"] == f"Run {run_id} ended: success"
    page = operator.get(f"/runs/{run_id}")
    assert page.select_one("meta[http-equiv=refresh]") is None


def test_an_ended_run_says_where_it_is_stored(operator: Browser, job: Job) -> None:
    page = operator.get(f"/runs/{ended(job)}")
    places = page.select_one("#run-destinations")
    assert places is not None
    assert "nas" in places.text
    assert "Stored" in places.text


def test_a_failed_run_says_step_and_error(operator: Browser, job: Job, tmp_path: Path) -> None:
    (tmp_path / "shop.db").write_bytes(b"this is no database" * 99)
    page = operator.get(f"/runs/{ended(job)}")
    progress = page.select_one("#run-progress")
    assert progress is not None
    assert "Failed in the step" in progress.text
    error = progress.select_one("pre")
    assert error is not None
    assert error.text.strip()


def test_stop_run_asks_and_stops(operator: Browser, job: Job) -> None:
    run_id = runs.start(job.id, "manual", "Mara")
    page = operator.get(f"/runs/{run_id}")
    assert "Stop this run?" in page.text
    assert "Waiting for its turn" in page.text
    operator.post(f"/runs/{run_id}/stop")
    page = operator.follow()
    assert "Stopped by Otis Operator" in page.text
    operator.post(f"/runs/{run_id}/stop")
    assert "ended already" in operator.follow().text


def test_a_viewer_looks_but_does_not_stop(viewer: Browser, job: Job) -> None:
    run_id = working(job)
    assert "Stop run" not in viewer.get(f"/runs/{run_id}").text
    viewer.post(f"/runs/{run_id}/stop", status=403)


def test_the_log_is_a_text_file(operator: Browser, job: Job) -> None:
    run_id = ended(job)
    operator.get(f"/runs/{run_id}/log")
    assert operator.last.mimetype == "text/plain"
    assert "Started by Mara on the command line." in operator.last.text


def test_the_run_of_a_deleted_job_stays_readable(operator: Browser, job: Job) -> None:
    run_id = ended(job)
    operator.post(f"/jobs/{job.id}/delete")
    assert "Shop nightly, deleted" in operator.get(f"/runs/{run_id}").text


def test_a_run_that_is_not_there_is_404(operator: Browser) -> None:
    operator.get("/runs/4711", status=404)
    operator.get("/runs/4711/log", status=404)


def test_without_runs_the_history_says_so(viewer: Browser) -> None:
    assert "No runs yet" in viewer.get("/runs").text


def history(job: Job, count: int, outcome: str = Outcome.SUCCESS) -> None:
    with transaction() as session:
        session.add_all(
            Run(
                job_id=job.id,
                job_name=job.name,
                trigger="schedule",
                outcome=outcome,
                finished_at=clock.now(),
            )
            for _ in range(count)
        )


def shown(browser: Browser, path: str) -> list[int]:
    page = browser.get(path)
    return [int(str(row["id"]).removeprefix("run-")) for row in page.select("#run-rows tbody tr")]


def test_the_history_pages_by_key(viewer: Browser, job: Job) -> None:
    history(job, run_history.PAGE_SIZE + 5)
    first = shown(viewer, "/runs")
    assert first == list(range(55, 5, -1))
    older = viewer.get("/runs").select_one("a[rel=next]")
    assert older is not None
    assert shown(viewer, str(older["href"])) == [5, 4, 3, 2, 1]
    newer = viewer.get(str(older["href"])).select_one("a[rel=prev]")
    assert newer is not None
    assert shown(viewer, str(newer["href"])) == first


def test_the_history_filters_by_job_and_outcome(viewer: Browser, job: Job) -> None:
    other = make_job(name="Other")
    history(job, 1)
    history(other, 1, Outcome.FAILURE)
    history(job, 1, Outcome.FAILURE)
    assert shown(viewer, f"/runs?job={job.id}") == [3, 1]
    assert shown(viewer, "/runs?outcome=failure") == [3, 2]
    assert shown(viewer, f"/runs?job={job.id}&outcome=failure") == [3]
    assert "No run matches" in viewer.get("/runs?outcome=partial").text
    assert shown(viewer, "/runs?outcome=nonsense") == [3, 2, 1]


def test_the_history_over_htmx_is_the_rows_alone(viewer: Browser, job: Job) -> None:
    history(job, 2)
    part = viewer.htmx_get("/runs?outcome=success")
    assert [tag["id"] for tag in part.find_all(recursive=False)] == ["run-rows"]
    assert events(viewer)["announce"] == "2 runs"
