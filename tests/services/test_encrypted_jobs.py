"""Jobs that encrypt, from what is typed in the form to the restored database."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pyrage
import pytest
from flask import Flask
from sqlalchemy import select

from tests.browser import Browser
from tests.factories import make_destination, make_source
from tests.services.restoring import fill, items, reload
from webapp.core.errors import InvalidError
from webapp.models.job import Job
from webapp.models.run import ArtifactRow, Outcome
from webapp.services import jobs, restore_work, restores, runs
from webapp.services.jobs import Values
from webapp.services.transaction import reading

PASSPHRASE = "tall ships & quiet harbours"


@pytest.fixture
def values(app: Flask, tmp_path: Path) -> dict[str, Any]:
    return {
        "name": "Shop nightly",
        "source_id": make_source(config={"path": str(fill(tmp_path / "shop.db"))}).id,
        "destination_ids": [make_destination(config={"path": str(tmp_path / "kept")}).id],
        "schedule": "",
        "timezone": "UTC",
        "compression": "zstd",
        "keep_last": None,
        "enabled": True,
    }


def _job(job_id: int) -> Job:
    with reading() as session:
        return session.get_one(Job, job_id)


def _backup(job_id: int) -> ArtifactRow:
    run_id = runs.start(job_id, "cli", "Mara")
    runs.execute(run_id)
    with reading() as session:
        return session.scalars(select(ArtifactRow).where(ArtifactRow.run_id == run_id)).one()


def _restore(artifact: ArtifactRow, target: Path, unlock: str) -> int:
    restore_id = restores.request(
        artifact.id, target=str(target), source_id=None, requested_by="Mara", unlock=unlock
    )
    assert restore_work.claim() == restore_id
    restore_work.carry_out(restore_id)
    return restore_id


def test_a_job_with_a_passphrase_backs_up_and_the_passphrase_restores(
    values: dict[str, Any], tmp_path: Path
) -> None:
    job_id = jobs.create(Values(**values, encryption="passphrase", passphrase=PASSPHRASE))
    artifact = _backup(job_id)
    assert artifact.key.endswith(".sqlite.zst.age")
    assert (tmp_path / "kept" / _job(job_id).folder / "dbackup-identity.age").exists()
    done = reload(_restore(artifact, tmp_path / "new.db", PASSPHRASE))
    assert (done.outcome, done.unlock) == (Outcome.SUCCESS, None)
    assert items(tmp_path / "new.db") == items(tmp_path / "shop.db")


def test_the_passphrase_is_nowhere_in_the_database(
    values: dict[str, Any], tmp_path: Path, app: Flask
) -> None:
    job_id = jobs.create(Values(**values, encryption="passphrase", passphrase=PASSPHRASE))
    restores.request(
        _backup(job_id).id,
        target=str(tmp_path / "new.db"),
        source_id=None,
        requested_by="Mara",
        unlock=PASSPHRASE,
    )
    path = app.config["SQLALCHEMY_DATABASE_URI"].removeprefix("sqlite:///")
    with closing(sqlite3.connect(path)) as connection:
        assert PASSPHRASE not in "\n".join(connection.iterdump())


def test_a_wrong_passphrase_is_refused_before_anything_starts(
    values: dict[str, Any], tmp_path: Path
) -> None:
    artifact = _backup(
        jobs.create(Values(**values, encryption="passphrase", passphrase=PASSPHRASE))
    )
    for wrong in ("", "another one entirely"):
        with pytest.raises(InvalidError) as caught:
            _restore(artifact, tmp_path / "new.db", wrong)
        assert caught.value.field == "unlock"


def test_saving_without_a_passphrase_keeps_the_key_that_is_there(values: dict[str, Any]) -> None:
    job_id = jobs.create(Values(**values, encryption="passphrase", passphrase=PASSPHRASE))
    before = _job(job_id)
    jobs.save(job_id, Values(**values | {"name": "Renamed"}, encryption="passphrase"), 1)
    after = _job(job_id)
    assert (after.name, after.identity) == ("Renamed", before.identity)
    jobs.save(job_id, Values(**values), 2)
    assert (_job(job_id).encryption, _job(job_id).identity) == ("none", "")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"encryption": "passphrase"}, "passphrase"),
        ({"encryption": "passphrase", "passphrase": "short"}, "passphrase"),
        ({"encryption": "recipients"}, "recipients"),
        ({"encryption": "recipients", "recipients": "nonsense"}, "recipients"),
        ({"encryption": "rot13"}, "encryption"),
    ],
)
def test_what_cannot_encrypt_is_refused(
    values: dict[str, Any], changes: dict[str, str], field: str
) -> None:
    with pytest.raises(InvalidError) as caught:
        jobs.create(Values(**values, **changes))
    assert caught.value.field == field


def test_public_keys_are_chosen_and_used_in_the_browser(
    operator: Browser, values: dict[str, Any], tmp_path: Path
) -> None:
    key = pyrage.x25519.Identity.generate()
    sent = {
        "name": "Shop nightly",
        "source_id": str(values["source_id"]),
        "destination_ids": str(values["destination_ids"][0]),
        "timezone": "UTC",
        "compression": "zstd",
        "encryption": "recipients",
        "recipients": f"# Mara's laptop\n{key.to_public()}\n",
    }
    operator.post("/jobs", sent)
    artifact = _backup(1)
    page = operator.get(f"/restores/new?artifact={artifact.id}")
    assert page.select_one("input[name=unlock][type=password]") is not None
    data = {"artifact": str(artifact.id), "target": str(tmp_path / "new.db")}
    refused = operator.post("/restores", data, 422)
    assert "This backup is encrypted" in refused.text
    operator.post("/restores", data | {"unlock": str(key)})
    restore_id = restore_work.claim()
    assert restore_id is not None
    restore_work.carry_out(restore_id)
    assert items(tmp_path / "new.db") == items(tmp_path / "shop.db")


def test_two_different_passphrases_are_refused_in_the_form(
    operator: Browser, values: dict[str, Any]
) -> None:
    sent = {
        "name": "Shop nightly",
        "source_id": str(values["source_id"]),
        "destination_ids": str(values["destination_ids"][0]),
        "timezone": "UTC",
        "compression": "zstd",
        "encryption": "passphrase",
        "passphrase": PASSPHRASE,
        "passphrase_again": "tall ships & quite harbours",
    }
    assert "The two passphrases differ" in operator.post("/jobs", sent, 422).text
    assert PASSPHRASE not in operator.last.text


def test_an_artifact_that_was_encrypted_for_others_fails_in_words(
    values: dict[str, Any], tmp_path: Path
) -> None:
    mine, theirs = (pyrage.x25519.Identity.generate() for _ in range(2))
    public = str(theirs.to_public())
    artifact = _backup(jobs.create(Values(**values, encryption="recipients", recipients=public)))
    failed = reload(_restore(artifact, tmp_path / "new.db", str(mine)))
    assert failed.outcome == Outcome.FAILURE
    assert "Enter the private key that belongs to it" in (failed.error or "")
    assert not (tmp_path / "new.db").exists()
