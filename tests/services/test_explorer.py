"""What lies at a destination is seen there, listed, locked, and deleted by its typed name."""

from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import delete, select

from tests.factories import make_destination, make_job
from tests.servers.http import Peer
from tests.services.restoring import items, sqlite_artifact
from webapp.backup.retention import LOCK
from webapp.core.errors import ConflictError, InvalidError, NotFoundError
from webapp.models.run import ArtifactRow, Outcome, Restore
from webapp.services import explorer, restore_work, restores
from webapp.services.transaction import reading, transaction


@pytest.fixture
def artifact(app: Flask, tmp_path: Path) -> ArtifactRow:
    return sqlite_artifact(tmp_path)


def forget(artifact: ArtifactRow) -> None:
    with transaction() as session:
        session.execute(delete(ArtifactRow).where(ArtifactRow.id == artifact.id))


def state(artifact: ArtifactRow) -> list[tuple[str, str, bool]]:
    found = explorer.look(artifact.destination_id).found
    return [(each.key, each.state, each.artifact_id is not None) for each in found]


def test_a_listed_backup_is_seen_where_it_lies(artifact: ArtifactRow) -> None:
    look = explorer.look(artifact.destination_id)
    assert state(artifact) == [(artifact.key, "whole", True)]
    assert (look.total, look.unlisted) == (1, 0)
    assert look.size > artifact.size


def test_a_changed_a_lost_and_a_foreign_file_are_told_apart(
    artifact: ArtifactRow, tmp_path: Path
) -> None:
    root = tmp_path / "backups"
    (root / "somebody.tar").write_bytes(b"mine")
    with (root / artifact.key).open("ab") as file:
        file.write(b"more")
    assert {key: what for key, what, _ in state(artifact)} == {
        artifact.key: "differs",
        "somebody.tar": "bare",
    }
    (root / artifact.key).unlink()
    assert (artifact.key, "missing", True) in state(artifact)


def test_a_fresh_installation_lists_and_restores_what_is_there(
    artifact: ArtifactRow, tmp_path: Path
) -> None:
    forget(artifact)
    assert explorer.look(artifact.destination_id).unlisted == 1
    (made,) = explorer.import_(artifact.destination_id)
    target = tmp_path / "again.db"
    restores.request(made, target=str(target), source_id=None, requested_by="Mara")
    restore_id = restore_work.claim()
    assert restore_id is not None
    restore_work.carry_out(restore_id)
    assert len(items(target)) == 500
    assert explorer.import_(artifact.destination_id) == ()


def test_an_imported_backup_belongs_to_the_job_of_its_folder(artifact: ArtifactRow) -> None:
    forget(artifact)
    job = make_job(folder="shop")
    (made,) = explorer.import_(artifact.destination_id, artifact.key)
    with reading() as session:
        assert session.get_one(ArtifactRow, made).job_id == job.id


def test_a_lock_lies_at_the_destination_and_stops_deleting(
    artifact: ArtifactRow, tmp_path: Path
) -> None:
    explorer.set_locked(artifact.destination_id, artifact.key, True)
    assert (tmp_path / "backups" / (artifact.key + LOCK)).exists()
    assert explorer.one(artifact.destination_id, artifact.key).locked
    with pytest.raises(ConflictError):
        explorer.remove(artifact.destination_id, artifact.key, artifact.key.rpartition("/")[2])
    explorer.set_locked(artifact.destination_id, artifact.key, False)
    explorer.remove(artifact.destination_id, artifact.key, artifact.key.rpartition("/")[2])
    assert state(artifact) == []
    with reading() as session:
        assert session.scalars(select(ArtifactRow)).all() == []


def test_deleting_wants_the_name(artifact: ArtifactRow) -> None:
    with pytest.raises(InvalidError):
        explorer.remove(artifact.destination_id, artifact.key, "yes")
    assert state(artifact) == [(artifact.key, "whole", True)]


def test_what_a_restore_reads_is_not_deleted(artifact: ArtifactRow, tmp_path: Path) -> None:
    restores.request(
        artifact.id, target=str(tmp_path / "x.db"), source_id=None, requested_by="Mara"
    )
    with pytest.raises(ConflictError):
        explorer.remove(artifact.destination_id, artifact.key, artifact.key.rpartition("/")[2])
    with reading() as session:
        assert session.scalars(select(Restore.outcome)).one() == Outcome.RUNNING


def test_what_is_not_there_is_not_found(artifact: ArtifactRow) -> None:
    with pytest.raises(NotFoundError):
        explorer.set_locked(artifact.destination_id, "shop/none.gz", True)


def test_a_destination_that_does_not_answer_is_said(app: Flask, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    place = make_destination(type="nothing-known", config={"path": str(tmp_path / "file")})
    assert explorer.look(place.id).problem


def test_what_a_service_says_is_shown_without_credentials(app: Flask, peer: Peer) -> None:
    peer.answer(
        403,
        b"<Error><Code>AccessDenied</Code><Message>proxy http://squid:unKnown-77@proxy.example.org "
        b"refused, and so is tall ships</Message></Error>",
    )
    config = {
        "bucket": "vault",
        "prefix": "",
        "endpoint": peer.url,
        "region": "us-east-1",
        "access_key": "AK",
        "secret_key": "tall ships",
        "addressing": "path",
        "ca_file": "",
    }
    problem = explorer.look(make_destination(type="s3", config=config).id).problem
    assert "unKnown-77" not in problem
    assert "proxy http://squid:***@proxy.example.org refused, and so is ***" in problem
