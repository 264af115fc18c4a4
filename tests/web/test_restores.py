"""Restores in the browser, with and without JavaScript."""

from pathlib import Path

from sqlalchemy import update

from tests.browser import Browser
from tests.services.restoring import items, reload, sqlite_artifact
from webapp.models.run import Restore
from webapp.services import restore_work
from webapp.services.transaction import transaction


def start(browser: Browser, tmp_path: Path) -> int:
    artifact = sqlite_artifact(tmp_path)
    target = str(tmp_path / "restored.db")
    browser.post("/restores", {"artifact": str(artifact.id), "target": target})
    return int(browser.last.location.rpartition("/")[2])


def work() -> None:
    restore_id = restore_work.claim()
    assert restore_id is not None
    restore_work.carry_out(restore_id)


def test_a_backup_is_restored_without_javascript(operator: Browser, tmp_path: Path) -> None:
    artifact = sqlite_artifact(tmp_path)
    form = operator.get(f"/restores/new?artifact={artifact.id}").select_one("#restore-form")
    assert form is not None
    assert artifact.key.rpartition("/")[2] in operator.last.text
    data = {tag["name"]: tag.get("value", "") for tag in form.select("input:not([type=checkbox])")}
    assert data["artifact"] == str(artifact.id)

    operator.post(str(form["action"]), {**data, "target": str(tmp_path / "restored.db")})
    page = operator.follow()
    assert "Waiting for its turn" in page.text
    assert page.select_one("noscript meta[http-equiv=refresh]") is not None
    work()

    page = operator.get(operator.last.request.path)
    assert "Restored in" in page.text
    assert page.select_one("noscript meta[http-equiv=refresh]") is None
    assert len(items(tmp_path / "restored.db")) == 500


def test_a_target_that_exists_comes_back_with_the_form(operator: Browser, tmp_path: Path) -> None:
    artifact = sqlite_artifact(tmp_path)
    (tmp_path / "there.db").touch()
    data = {"artifact": str(artifact.id), "target": str(tmp_path / "there.db")}
    page = operator.post("/restores", data, 422)
    assert "exists already" in page.select_one("#target-error").text  # type: ignore[union-attr]
    assert page.select_one("#target")["value"] == data["target"]  # type: ignore[index]
    partial = operator.htmx_post("/restores", data, 422)
    assert [tag.get("id") for tag in partial.find_all(recursive=False)] == ["restore-form"]


def test_an_empty_target_is_asked_for(operator: Browser, tmp_path: Path) -> None:
    artifact = sqlite_artifact(tmp_path)
    page = operator.post("/restores", {"artifact": str(artifact.id), "target": " "}, 422)
    assert "Enter the target." in page.text


def test_htmx_is_sent_to_the_page_of_the_restore(operator: Browser, tmp_path: Path) -> None:
    artifact = sqlite_artifact(tmp_path)
    data = {"artifact": str(artifact.id), "target": str(tmp_path / "new.db")}
    operator.htmx_post("/restores", data, 204)
    assert operator.last.headers["HX-Redirect"] == "/restores/1"


def test_polling_follows_and_ends_by_itself(operator: Browser, tmp_path: Path) -> None:
    restore_id = start(operator, tmp_path)
    box = operator.get(f"/restores/{restore_id}").select_one("#restore")
    assert box is not None
    assert (box["hx-trigger"], box["hx-swap"]) == ("every 1s", "outerHTML")
    with transaction() as session:
        session.execute(
            update(Restore).values(owner="x:1:1", step="Verify", bytes_done=64, bytes_total=100)
        )

    partial = operator.htmx_get(str(box["hx-get"]))
    assert partial.select_one("progress")["value"] == "64"  # type: ignore[index]
    assert partial.select_one("#restore")["hx-trigger"] == "every 1s"  # type: ignore[index]
    assert partial.select("[hx-swap-oob]") == []
    with transaction() as session:
        session.execute(update(Restore).values(owner="", step=""))
    work()

    last = operator.htmx_get(str(box["hx-get"]))
    assert last.select("[hx-trigger]") == []
    assert [tag["id"] for tag in last.select("[hx-swap-oob]")] == [
        "restore-chip",
        "restore-actions",
    ]
    assert "Restore: Success" in operator.last.headers["HX-Trigger"]


def test_a_new_step_is_announced_once(operator: Browser, tmp_path: Path) -> None:
    restore_id = start(operator, tmp_path)
    with transaction() as session:
        session.execute(update(Restore).values(owner="x:1:1", step="Load"))
    operator.htmx_get(f"/restores/{restore_id}/progress?seen=Verify")
    assert "Restore: Load" in operator.last.headers["HX-Trigger"]
    operator.htmx_get(f"/restores/{restore_id}/progress?seen=Load")
    assert "HX-Trigger" not in operator.last.headers


def test_a_failure_shows_the_step_and_the_error(operator: Browser, tmp_path: Path) -> None:
    restore_id = start(operator, tmp_path)
    (tmp_path / "restored.db").touch()
    work()
    page = operator.get(f"/restores/{restore_id}")
    assert "stopped in the step “Load”" in page.text
    assert "exists already" in page.select_one("pre.excerpt").text  # type: ignore[union-attr]


def test_cancel_works_without_javascript(operator: Browser, tmp_path: Path) -> None:
    restore_id = start(operator, tmp_path)
    form = operator.get(f"/restores/{restore_id}").select_one("#stop-restore form")
    assert form is not None
    operator.post(str(form["action"]))
    assert "It had not begun, so the target is as it was." in operator.follow().text
    assert reload(restore_id).outcome == "cancelled"
    operator.post(str(form["action"]), status=409)


def test_cancel_through_htmx_swaps_the_progress(operator: Browser, tmp_path: Path) -> None:
    restore_id = start(operator, tmp_path)
    partial = operator.htmx_post(f"/restores/{restore_id}/stop")
    assert "Cancelled by" in partial.text
    assert partial.select("[hx-trigger]") == []


def test_a_viewer_watches_and_changes_nothing(
    operator: Browser, viewer: Browser, tmp_path: Path
) -> None:
    restore_id = start(operator, tmp_path)
    assert str(tmp_path / "restored.db") in viewer.get("/restores").text
    page = viewer.get(f"/restores/{restore_id}")
    assert page.select("main form") == []
    viewer.post(f"/restores/{restore_id}/stop", status=403)
    viewer.get("/restores/new?artifact=1", 403)
    viewer.post("/restores", {"artifact": "1", "target": "/tmp/x"}, 403)
    assert reload(restore_id).outcome == "running"


def test_without_a_backup_the_explorer_is_where_to_choose_one(operator: Browser) -> None:
    operator.get("/restores/new", 303)
    assert operator.last.location == "/storage"
    operator.get("/restores/new?artifact=9", 404)
    operator.get("/restores/9", 404)


def test_the_empty_list_says_what_to_do(operator: Browser) -> None:
    assert "No restores yet" in operator.get("/restores").text


def test_hostile_names_are_shown_as_they_are(operator: Browser) -> None:
    with transaction() as session:
        session.add(
            Restore(
                artifact_key="<script>alert(1)</script>",
                source_type="sqlite",
                target='"><b>x',
                outcome="failure",
                error="<img src=x onerror=alert(1)>",
            )
        )
    page = operator.get("/restores/1")
    assert page.select("main img, main script, main b") == []
