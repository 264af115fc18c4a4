"""The files of a destination, uploads and trials, as people see them."""

import io
from pathlib import Path

from flask import Flask

from tests.browser import Browser
from tests.services.restoring import items, reload, sqlite_artifact
from webapp.backup.retention import LOCK
from webapp.models.run import Outcome
from webapp.services import restore_work


def test_a_backup_is_locked_and_deleted_by_its_name(admin: Browser, tmp_path: Path) -> None:
    artifact = sqlite_artifact(tmp_path)
    here = f"/storage/{artifact.destination_id}"
    page = admin.get(f"{here}/files")
    assert "Size as stated" in page.text
    admin.post(f"{here}/lock", {"key": artifact.key, "locked": "1"})
    assert "Locked" in admin.follow().text
    name = artifact.key.rpartition("/")[2]
    asked = admin.post(f"{here}/delete", {"key": artifact.key, "typed": name}, status=422)
    assert "This backup is locked. Unlock it first." in asked.text
    admin.post(f"{here}/lock", {"key": artifact.key, "locked": "0"})
    assert not (tmp_path / "backups" / (artifact.key + LOCK)).exists()
    assert name in admin.get(f"{here}/delete?key={artifact.key}").text
    admin.post(f"{here}/delete", {"key": artifact.key, "typed": "no"}, status=422)
    admin.post(f"{here}/delete", {"key": artifact.key, "typed": name})
    assert "Nothing is here" in admin.follow().text


def test_only_admins_are_offered_to_delete(operator: Browser, tmp_path: Path) -> None:
    artifact = sqlite_artifact(tmp_path)
    page = operator.get(f"/storage/{artifact.destination_id}/files")
    assert "Lock" in page.text
    assert "Delete…" not in page.text


def test_a_trial_shows_the_rows_of_each_table(admin: Browser, tmp_path: Path) -> None:
    artifact = sqlite_artifact(tmp_path)
    assert "Try this backup" in admin.get(f"/restores/new?artifact={artifact.id}").text
    admin.post(f"/storage/artifacts/{artifact.id}/prove")
    restore_id = restore_work.claim()
    assert restore_id is not None
    restore_work.carry_out(restore_id)
    page = " ".join(admin.follow().text.split())
    assert "Rows 1 table" in page
    assert "item 500" in page


def test_a_file_is_uploaded_and_restored(app: Flask, admin: Browser, tmp_path: Path) -> None:
    artifact = sqlite_artifact(tmp_path)
    content = (tmp_path / "backups" / artifact.key).read_bytes()
    admin.get("/restores/upload")
    target = tmp_path / "back.db"
    form = {"kind": "sqlite", "source": "", "target": str(target)}
    admin.post(
        "/restores/upload",
        form | {"file": (io.BytesIO(content), "shop.gz")},  # type: ignore[dict-item]
    )
    assert "its checksum is unknown" in admin.follow().text
    restore_id = restore_work.claim()
    assert restore_id is not None
    restore_work.carry_out(restore_id)
    assert reload(restore_id).outcome == Outcome.SUCCESS
    assert len(items(target)) == 500


def test_an_upload_without_a_file_comes_back(admin: Browser, tmp_path: Path) -> None:
    page = admin.post("/restores/upload", {"kind": "sqlite", "target": "/tmp/x.db"}, status=422)
    assert "Choose the file of a backup." in page.text
