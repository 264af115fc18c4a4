"""Asking for a restore, listing and stopping it."""

from pathlib import Path

import pytest
from sqlalchemy import update

from tests.factories import make_destination, make_job, make_source
from tests.services.restoring import reload, sqlite_artifact
from webapp.core.errors import ConflictError, InvalidError, NotFoundError
from webapp.models.run import ArtifactRow, Restore
from webapp.services import bells, leases, restore_work, restores
from webapp.services.restore_watch import LEASE, lease_name
from webapp.services.transaction import transaction

pytestmark = pytest.mark.usefixtures("app")
SERVER = {"host": "127.0.0.1", "port": 5432, "user": "postgres", "database": "postgres"}


def ask(artifact_id: int, target: object, source_id: int | None = None) -> int:
    return restores.request(
        artifact_id, target=str(target), source_id=source_id, requested_by="Mara"
    )


def postgresql_artifact(**values: object) -> ArtifactRow:
    row = ArtifactRow(
        **{
            "destination_id": make_destination().id,
            "key": "shop/2026-03-01.dump.gz",
            "source_type": "postgresql",
            "size": 10,
            "sha256": "0" * 64,
            "manifest": {},
        }
        | values
    )
    with transaction() as session:
        session.add(row)
        session.flush()
        session.refresh(row)
    return row


def test_a_restore_that_was_asked_for_waits_and_rings_for_a_thread(tmp_path: Path) -> None:
    bells.run_waiting.wait(0)
    artifact = sqlite_artifact(tmp_path)

    progress = restores.get(ask(artifact.id, tmp_path / "new.db"))

    assert progress.is_waiting
    assert [step.state for step in progress.steps] == ["waiting"] * 3
    assert (progress.row.artifact_key, progress.row.requested_by) == (artifact.key, "Mara")
    assert bells.run_waiting.wait(0)


def test_a_file_that_exists_is_refused_at_once(tmp_path: Path) -> None:
    artifact = sqlite_artifact(tmp_path)
    (tmp_path / "there.db").touch()
    with pytest.raises(InvalidError, match="exists already") as caught:
        ask(artifact.id, tmp_path / "there.db")
    assert caught.value.field == "target"
    assert restores.page().restores == ()


def test_a_path_without_directory_is_refused_at_once(tmp_path: Path) -> None:
    artifact = sqlite_artifact(tmp_path)
    with pytest.raises(InvalidError, match="full path"):
        ask(artifact.id, "new.db")


@pytest.mark.postgres
def test_a_database_that_exists_is_refused_at_once() -> None:
    source = make_source(type="postgresql", config=SERVER)
    with pytest.raises(InvalidError, match="There is a database postgres already") as caught:
        ask(postgresql_artifact().id, "postgres", source.id)
    assert caught.value.field == "target"


@pytest.mark.postgres
def test_a_server_that_does_not_answer_is_said_at_once() -> None:
    source = make_source(type="postgresql", config=SERVER | {"port": 1})
    with pytest.raises(InvalidError):
        ask(postgresql_artifact().id, "fresh", source.id)
    assert restores.page().restores == ()


def test_a_database_server_must_be_chosen_among_sources_of_the_same_type(tmp_path: Path) -> None:
    make_source(type="postgresql", config=SERVER)
    other = make_source()
    with pytest.raises(InvalidError, match="Choose the source") as caught:
        ask(postgresql_artifact().id, "fresh", other.id)
    assert caught.value.field == "source"


def test_without_any_source_of_the_type_the_way_out_is_named() -> None:
    with pytest.raises(InvalidError, match="Add one under Sources"):
        ask(postgresql_artifact().id, "fresh")


def test_an_artifact_that_is_not_listed_cannot_be_restored() -> None:
    with pytest.raises(NotFoundError):
        ask(99, "/tmp/new.db")


def test_the_form_offers_the_artifacts_own_source_first() -> None:
    make_source(type="postgresql", name="a first", config=SERVER)
    own = make_source(type="postgresql", name="Shop (prod)", config=SERVER)
    artifact = postgresql_artifact(job_id=make_job(source_id=own.id).id)

    draft = restores.draft(artifact.id)

    assert [name for _, name in draft.sources] == ["Shop (prod)", "a first"]
    assert draft.suggestion.startswith("shop__prod__2")
    assert draft.target_label == "New database"


def test_files_need_no_source(tmp_path: Path) -> None:
    draft = restores.draft(sqlite_artifact(tmp_path).id)
    assert (draft.sources, draft.target_label) == ((), "New file")


def test_a_type_that_this_version_lacks_is_said() -> None:
    with pytest.raises(ConflictError, match="does not know"):
        restores.draft(postgresql_artifact(source_type="oracle").id)


def test_a_waiting_restore_is_stopped_at_once(tmp_path: Path) -> None:
    restore_id = ask(sqlite_artifact(tmp_path).id, tmp_path / "new.db")
    assert restores.stop(restore_id, "Mara Lindqvist").row.outcome == "cancelled"
    assert reload(restore_id).outcome == "cancelled"


def test_a_running_restore_is_asked_to_stop(tmp_path: Path) -> None:
    restore_id = ask(sqlite_artifact(tmp_path).id, tmp_path / "new.db")
    with transaction() as session:
        session.execute(update(Restore).values(step="Load", owner="elsewhere:1:0-0"))
        leases.take(session, lease_name(restore_id), "elsewhere:1:0-0", LEASE)
    assert restores.stop(restore_id, "Mara Lindqvist").is_running
    assert reload(restore_id).stop_requested


def test_an_ended_restore_cannot_be_stopped(tmp_path: Path) -> None:
    restore_id = ask(sqlite_artifact(tmp_path).id, tmp_path / "new.db")
    restore_work.claim()
    restore_work.carry_out(restore_id)
    with pytest.raises(ConflictError, match="has ended"):
        restores.stop(restore_id, "Mara Lindqvist")
    assert reload(restore_id).outcome == "success"


def test_a_restore_that_never_was_is_not_found() -> None:
    with pytest.raises(NotFoundError):
        restores.get(5)
    with pytest.raises(NotFoundError):
        restores.stop(5, "Mara Lindqvist")


def add_restores(count: int) -> None:
    with transaction() as session:
        session.add_all(
            Restore(artifact_key="k", source_type="sqlite", target=f"/t/{n}", outcome="success")
            for n in range(count)
        )


def test_the_list_goes_newest_first_and_by_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restores, "PAGE_SIZE", 2)
    add_restores(5)

    first = restores.page()
    second = restores.page(before=first.older or 0)
    third = restores.page(before=second.older or 0)

    assert [[r.row.id for r in page.restores] for page in (first, second, third)] == [
        [5, 4],
        [3, 2],
        [1],
    ]
    assert (first.newer, third.older) == (None, None)
    assert [r.row.id for r in restores.page(after=third.newer or 0).restores] == [3, 2]
    assert restores.page(after=second.newer or 0).newer is None


def test_the_percentage_is_that_of_the_present_step() -> None:
    row = Restore(outcome="running", step="Verify", bytes_done=64, bytes_total=100)
    progress = restores.Progress(row=row, database_type="", steps=(), took=None)  # type: ignore[arg-type]
    assert progress.percent == 64


def test_steps_say_what_is_done_and_where_it_failed(tmp_path: Path) -> None:
    restore_id = ask(sqlite_artifact(tmp_path).id, tmp_path / "new.db")
    with transaction() as session:
        session.execute(update(Restore).values(step="Verify"))
    assert [s.state for s in restores.get(restore_id).steps] == ["done", "current", "waiting"]
    with transaction() as session:
        session.execute(update(Restore).values(outcome="failure"))
    assert [s.state for s in restores.get(restore_id).steps] == ["done", "failed", "waiting"]
