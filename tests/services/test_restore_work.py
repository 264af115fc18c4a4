"""Every restore that was accepted ends in a recorded outcome, told truthfully."""

import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from flask import Flask
from psycopg import sql
from sqlalchemy import delete, select, update

from tests.backup.conftest import MariaScratch
from tests.factories import make_channel, make_destination, make_source
from tests.services.restoring import fill, items, reload, sqlite_artifact, store
from tests.services_needed import require_mariadb
from webapp.backup.progress import Progress
from webapp.backup.sources.base import Reader as Reading
from webapp.backup.sources.mysql import Mysql
from webapp.backup.sources.sqlite import Sqlite
from webapp.core import clock
from webapp.models.delivery import Delivery, EventRow
from webapp.models.job import DestinationRow, SourceRow
from webapp.models.routing import GlobalChannel
from webapp.models.run import ArtifactRow, Outcome, Restore
from webapp.models.setting import Lease
from webapp.notify.events.restore_failure import RestoreFailure
from webapp.notify.message import Reader, Severity
from webapp.services import processes, restore_work, restores
from webapp.services.installation import installation
from webapp.services.transaction import reading, transaction

pytestmark = pytest.mark.usefixtures("app")
SERVER = {"host": "127.0.0.1", "port": 5432, "user": "postgres"}


def events() -> list[EventRow]:
    with reading() as session:
        return list(session.scalars(select(EventRow).order_by(EventRow.id)))


def types() -> list[str]:
    return [event.type for event in events()]


def work() -> None:
    """Do what a runner's thread does with the next restore."""
    restore_id = restore_work.claim()
    assert restore_id is not None
    restore_work.carry_out(restore_id)


def asked_for(artifact: ArtifactRow, target: Path | str, source_id: int | None = None) -> int:
    return restores.request(
        artifact.id, target=str(target), source_id=source_id, requested_by="Mara Lindqvist"
    )


def test_a_restored_sqlite_file_holds_the_very_rows_and_its_completion_is_published(
    tmp_path: Path,
) -> None:
    artifact = sqlite_artifact(tmp_path)
    restore_id = asked_for(artifact, tmp_path / "restored.db")

    work()

    assert items(tmp_path / "restored.db") == [(n + 1, f"item {n}") for n in range(500)]
    row = reload(restore_id)
    assert (row.outcome, row.step, row.error) == ("success", "Load", None)
    assert row.finished_at is not None
    (event,) = events()
    assert event.type == "restore_complete"
    assert event.payload["restore_id"] == restore_id
    assert event.payload["target"] == str(tmp_path / "restored.db")
    assert event.payload["artifact"] == artifact.key
    assert event.payload["size"] == artifact.size
    assert event.payload["database_type"] == "SQLite"


def test_the_outcome_and_the_messages_about_it_are_stored_together(tmp_path: Path) -> None:
    channel = make_channel()
    with transaction() as session:
        session.add(GlobalChannel(channel_id=channel.id, position=0))
    asked_for(sqlite_artifact(tmp_path), tmp_path / "restored.db")

    work()

    with reading() as session:
        delivery = session.scalars(select(Delivery)).one()
    assert (delivery.channel_id, delivery.state) == (channel.id, "queued")


@pytest.fixture
def databases() -> Iterator[list[str]]:
    """Names to use; databases of these names are dropped afterwards."""
    names = [f"dbackup_test_{uuid.uuid4().hex[:12]}" for _ in range(2)]
    with psycopg.connect(dbname="postgres", autocommit=True, **SERVER) as server:
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(names[0])))
        yield names
        for name in names:
            server.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            )


@pytest.mark.postgres
def test_a_postgresql_backup_becomes_a_new_database_on_the_sources_server(
    tmp_path: Path, databases: list[str]
) -> None:
    name, target = databases
    with psycopg.connect(dbname=name, **SERVER) as database:
        database.execute(
            "CREATE TABLE item AS SELECT n, md5(n::text) FROM generate_series(1, 999) n"
        )
    artifact, _ = postgresql_artifact(tmp_path, name)
    restore_id = asked_for(artifact, target, only_source())

    work()

    assert (reload(restore_id).outcome, reload(restore_id).error) == ("success", None)
    query = "SELECT count(*), md5(string_agg(md5, '' ORDER BY n)) FROM item"
    with (
        psycopg.connect(dbname=name, **SERVER) as before,
        psycopg.connect(dbname=target, **SERVER) as after,
    ):
        found = after.execute(query).fetchone()
        assert found == before.execute(query).fetchone()
        assert found is not None
        assert found[0] == 999
    assert types() == ["restore_complete"]


def test_a_damaged_artifact_fails_in_verify_and_makes_no_target(tmp_path: Path) -> None:
    artifact = sqlite_artifact(tmp_path)
    stored = tmp_path / "backups" / artifact.key
    content = bytearray(stored.read_bytes())
    content[len(content) // 2] ^= 1
    stored.write_bytes(content)
    restore_id = asked_for(artifact, tmp_path / "restored.db")

    work()

    row = reload(restore_id)
    assert (row.outcome, row.step) == ("failure", "Verify")
    assert row.error is not None
    assert "does not match its manifest" in row.error
    assert not (tmp_path / "restored.db").exists()
    (event,) = events()
    assert (event.type, event.payload["step"]) == ("restore_failure", "Verify")
    assert event.payload["error"] == row.error


def test_a_target_that_appeared_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    restore_id = asked_for(sqlite_artifact(tmp_path), tmp_path / "restored.db")
    (tmp_path / "restored.db").write_bytes(b"precious")

    work()

    assert (tmp_path / "restored.db").read_bytes() == b"precious"
    assert reload(restore_id).outcome == "failure"
    assert "exists already" in (reload(restore_id).error or "")
    assert types() == ["restore_failure"]


def test_a_file_that_is_gone_from_the_destination_is_a_failure(tmp_path: Path) -> None:
    artifact = sqlite_artifact(tmp_path)
    (tmp_path / "backups" / f"{artifact.key}.json").unlink()
    restore_id = asked_for(artifact, tmp_path / "restored.db")

    work()

    assert (reload(restore_id).outcome, reload(restore_id).step) == ("failure", "Fetch")
    assert types() == ["restore_failure"]


def test_an_artifact_deleted_from_the_list_meanwhile_is_a_failure(tmp_path: Path) -> None:
    artifact = sqlite_artifact(tmp_path)
    restore_id = asked_for(artifact, tmp_path / "restored.db")
    with transaction() as session:
        session.execute(delete(ArtifactRow))

    work()

    assert reload(restore_id).error == restore_work.NO_ARTIFACT
    assert types() == ["restore_failure"]


def postgresql_artifact(tmp_path: Path, database: str) -> tuple[ArtifactRow, dict[str, object]]:
    config = {**SERVER, "database": database, "password": "", "sslmode": "prefer"}
    source = make_source(type="postgresql", config=config)
    place = make_destination(config={"path": str(tmp_path / "backups")})
    return store(source, place, "shop/2026-03-01.dump.gz"), config


def only_source() -> int:
    with reading() as session:
        return session.scalars(select(SourceRow.id)).one()


@pytest.mark.postgres
def test_a_secret_that_cannot_be_resolved_is_a_failure_in_words(
    tmp_path: Path, databases: list[str]
) -> None:
    artifact, config = postgresql_artifact(tmp_path, databases[0])
    restore_id = asked_for(artifact, databases[1], only_source())
    sealed = installation().sealer.seal(config | {"password": "env:DBACKUP_TEST_NOT_SET"})
    with transaction() as session:
        session.execute(update(SourceRow).values(config=sealed))

    work()

    row = reload(restore_id)
    assert (row.outcome, row.step) == ("failure", "Start")
    assert "DBACKUP_TEST_NOT_SET is not set" in (row.error or "")
    assert types() == ["restore_failure"]


def test_configurations_sealed_with_another_key_are_a_failure_in_words(tmp_path: Path) -> None:
    restore_id = asked_for(sqlite_artifact(tmp_path), tmp_path / "restored.db")
    with transaction() as session:
        session.execute(update(DestinationRow).values(config="gAAAAA"))

    work()

    assert "encryption keys" in (reload(restore_id).error or "")
    assert types() == ["restore_failure"]


def test_a_fault_of_ours_fails_the_restore_and_tells_the_admins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_arguments: object) -> None:
        raise ZeroDivisionError("seven")

    restore_id = asked_for(sqlite_artifact(tmp_path), tmp_path / "restored.db")
    monkeypatch.setattr(Sqlite, "restore", broken)

    work()

    assert reload(restore_id).outcome == "failure"
    assert "ZeroDivisionError" in (reload(restore_id).error or "")
    assert sorted(types()) == ["restore_failure", "system_error"]


def test_passwords_never_reach_the_error_that_is_stored_and_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def chatty(*_arguments: object) -> None:
        raise RuntimeError("could not connect with password correct-horse")

    monkeypatch.setattr(Sqlite, "secrets", property(lambda _self: ("correct-horse",)))
    monkeypatch.setattr(Sqlite, "restore", chatty)
    restore_id = asked_for(sqlite_artifact(tmp_path), tmp_path / "restored.db")

    work()

    assert reload(restore_id).error == "RuntimeError: could not connect with password ***"
    failure = next(event for event in events() if event.type == "restore_failure")
    assert "correct-horse" not in str(failure.payload)


def test_a_restore_stopped_while_it_waits_is_never_begun(tmp_path: Path) -> None:
    restore_id = asked_for(sqlite_artifact(tmp_path), tmp_path / "restored.db")
    restores.stop(restore_id, "Mara Lindqvist")

    assert restore_work.claim() is None

    assert reload(restore_id).outcome == "cancelled"
    assert not (tmp_path / "restored.db").exists()
    assert "Mara Lindqvist cancelled the restore" in cancelled(restore_id)
    assert "It had not begun, so the target is as it was." in cancelled(restore_id)


def test_a_restore_stopped_on_the_way_leaves_nothing_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restore_id = asked_for(sqlite_artifact(tmp_path), tmp_path / "restored.db")
    stop_when("Load", restore_id, monkeypatch)

    work()

    assert (reload(restore_id).outcome, reload(restore_id).step) == ("cancelled", "Load")
    assert left_in(tmp_path) == []
    assert "in the step “Load”" in cancelled(restore_id)
    assert f"Nothing of it was left: there is no {tmp_path / 'restored.db'}." in (
        cancelled(restore_id)
    )


def cancelled(restore_id: int) -> str:
    """Return the text of the one message, which is about a restore that was cancelled."""
    (row,) = events()
    event = RestoreFailure.from_payload(row.payload)
    assert (row.type, event.restore_id) == ("restore_failure", restore_id)
    said = event.say(Reader(timezone="UTC", base_url="https://b.example.org", instance="B"))
    assert said.title.startswith("Restore cancelled: ")
    assert (said.severity, said.error) == (Severity.WARNING, "")
    assert reload(restore_id).stopped_by == "Mara Lindqvist"
    return said.text


def test_a_cancel_before_loading_touched_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restore_id = asked_for(sqlite_artifact(tmp_path), tmp_path / "restored.db")
    stop_when("Verify", restore_id, monkeypatch)
    work()
    assert "Nothing had been loaded, so the target is as it was." in cancelled(restore_id)


def replacing(artifact: ArtifactRow, target: str, source_id: int | None = None) -> int:
    return restores.request(
        artifact.id,
        target=target,
        source_id=source_id,
        requested_by="Mara Lindqvist",
        overwrite=True,
        confirm=target,
    )


def test_a_cancelled_replacement_leaves_the_old_file_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = fill(tmp_path / "live.db", rows=3)
    restore_id = replacing(sqlite_artifact(tmp_path), str(target))
    stop_when("Load", restore_id, monkeypatch)
    work()
    assert len(items(target)) == 3
    assert f"{target} is as it was before." in cancelled(restore_id)


def test_a_cancelled_trial_is_told_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = sqlite_artifact(tmp_path)
    restore_id = restores.prove(artifact.id, requested_by="Mara")
    stop_when("Count", restore_id, monkeypatch)
    work()
    assert "no database but the scratch database was touched" in cancelled(restore_id)


@pytest.mark.postgres
def test_a_cancelled_replacement_on_postgresql_leaves_the_old_database(
    tmp_path: Path, databases: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, _ = databases
    artifact, _ = postgresql_artifact(tmp_path, name)
    with psycopg.connect(dbname=name, **SERVER) as database:
        database.execute("CREATE TABLE precious (n int)")
    restore_id = replacing(artifact, name, only_source())
    stop_when("Load", restore_id, monkeypatch)
    work()
    with psycopg.connect(dbname=name, **SERVER) as database:
        database.execute("SELECT * FROM precious")
    assert f"{name} is as it was before." in cancelled(restore_id)


@pytest.fixture
def maria() -> Iterator[MariaScratch]:
    require_mariadb()
    made = MariaScratch()
    yield made
    made.clean()


def test_a_cancelled_replacement_on_mariadb_says_that_the_old_database_is_gone(
    tmp_path: Path, maria: MariaScratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot be renamed there, so the old one is dropped first."""
    name = str(maria.database("CREATE TABLE item (n INT)").config["database"])
    source = make_source(type="mysql", config=maria.login | {"database": name, "tls": "prefer"})
    place = make_destination(config={"path": str(tmp_path / "backups")})
    artifact = store(source, place, "shop/1.sql.gz")
    restore_id = replacing(artifact, name, source.id)
    load = Mysql.restore

    def stopped(self: Mysql, stream: Reading, target: str, progress: Progress) -> None:
        restores.stop(restore_id, "Mara Lindqvist")
        progress.step("Load")  # hears it at once
        load(self, stream, target, progress)

    monkeypatch.setattr(Mysql, "restore", stopped)
    work()
    assert name not in maria.databases()
    left = f"There is no {name} now. If there was one, it had been dropped for the restore"
    assert left in cancelled(restore_id)
    assert left in (reload(restore_id).remains or "")


def stop_when(step: str, restore_id: int, monkeypatch: pytest.MonkeyPatch) -> None:
    announce = restore_work.RestoreWatch.step

    def press_stop(watch: restore_work.RestoreWatch, name: str) -> None:
        announce(watch, name)
        if name == step:
            restores.stop(restore_id, "Mara Lindqvist")
            announce(watch, name)

    monkeypatch.setattr(restore_work.RestoreWatch, "step", press_stop)


def left_in(tmp_path: Path) -> list[str]:
    return [path.name for path in tmp_path.iterdir() if "restored" in path.name]


def test_a_stopping_server_breaks_the_restore_off_and_says_so(tmp_path: Path) -> None:
    restore_id = asked_for(sqlite_artifact(tmp_path), tmp_path / "restored.db")

    assert restore_work.claim() == restore_id
    restore_work.carry_out(restore_id, shutting_down=lambda: True)

    assert (reload(restore_id).outcome, reload(restore_id).error) == (
        "interrupted",
        restore_work.STOPPED,
    )
    assert left_in(tmp_path) == []
    assert types() == ["restore_failure"]


def dead_process() -> str:
    """Return the name of a process of this host that has ended."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        host, _, _ = processes.owner().rsplit(":", 2)
        return f"{host}:{child.pid}:0-0"


def test_a_restore_of_a_killed_process_is_found_recorded_and_announced_once(
    tmp_path: Path,
) -> None:
    restore_id = asked_for(sqlite_artifact(tmp_path), tmp_path / "restored.db")
    with transaction() as session:
        session.execute(update(Restore).values(owner=dead_process(), step="Load"))

    assert restore_work.recover() == 1
    assert restore_work.recover() == 0

    assert (reload(restore_id).outcome, reload(restore_id).step) == ("interrupted", "Load")
    (event,) = events()
    assert (event.type, event.payload["step"]) == ("restore_failure", "Load")


def test_a_restore_of_a_living_process_is_not_taken_for_dead(tmp_path: Path) -> None:
    asked_for(sqlite_artifact(tmp_path), tmp_path / "restored.db")
    restore_work.claim()
    assert restore_work.recover() == 0


def test_restores_are_taken_once_each_in_the_order_in_which_they_were_asked_for(
    tmp_path: Path,
) -> None:
    artifact = sqlite_artifact(tmp_path)
    first = asked_for(artifact, tmp_path / "one.db")
    second = asked_for(artifact, tmp_path / "two.db")
    assert [restore_work.claim() for _ in range(3)] == [first, second, None]


def test_a_restore_whose_thread_was_lost_is_found_too(tmp_path: Path) -> None:
    restore_id = asked_for(sqlite_artifact(tmp_path), tmp_path / "restored.db")
    restore_work.claim()
    restore_work._mine.clear()

    assert restore_work.recover() == 1

    assert reload(restore_id).outcome == "interrupted"
    assert types() == ["restore_failure"]


def test_a_restore_of_another_machine_is_given_up_when_its_lease_is_over(tmp_path: Path) -> None:
    restore_id = asked_for(sqlite_artifact(tmp_path), tmp_path / "restored.db")
    restore_work.claim()
    with transaction() as session:
        session.execute(update(Restore).values(owner="elsewhere:1:0-0"))
    assert restore_work.recover() == 0
    with transaction() as session:
        session.execute(update(Lease).values(leased_until=clock.now()))

    assert restore_work.recover() == 1

    assert reload(restore_id).outcome == "interrupted"


def test_a_restore_that_was_given_up_meanwhile_is_not_announced_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restore_id = asked_for(sqlite_artifact(tmp_path), tmp_path / "restored.db")
    load = Sqlite.restore

    def give_up(self: Sqlite, *arguments: object) -> None:
        load(self, *arguments)  # type: ignore[arg-type]
        with transaction() as session:
            restore_work.record(session, restore_id, Outcome.INTERRUPTED, error="gone")

    monkeypatch.setattr(Sqlite, "restore", give_up)
    work()
    assert types() == ["restore_failure"]
    assert reload(restore_id).outcome == "interrupted"


def test_an_ended_restore_leaves_no_lease(tmp_path: Path) -> None:
    asked_for(sqlite_artifact(tmp_path), tmp_path / "restored.db")
    work()
    with reading() as session:
        assert session.scalars(select(Lease)).all() == []


def test_a_stop_is_heard_although_the_database_server_keeps_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(self: Sqlite, _input: object, _target: str, progress: Progress) -> None:
        restores.stop(restore_id, "Mara Lindqvist")
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            progress.check()
            time.sleep(0.01)

    restore_id = asked_for(sqlite_artifact(tmp_path), tmp_path / "restored.db")
    monkeypatch.setattr(Sqlite, "restore", silent)
    work()
    assert reload(restore_id).outcome == "cancelled"


def test_a_database_that_is_busy_for_a_moment_does_not_lose_the_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restore_id = asked_for(sqlite_artifact(tmp_path), tmp_path / "restored.db")
    record, refusals = restore_work.record, iter([True, True])

    def record_later(*arguments: object, **more: object) -> bool:
        if next(refusals, False):
            raise restore_work.SQLAlchemyError("database is locked")
        return record(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(restore_work, "record", record_later)
    monkeypatch.setattr(restore_work, "RECORD_AGAIN_AFTER", (0.01, 0.01))

    work()

    assert reload(restore_id).outcome == "success"
    assert types() == ["restore_complete"]


def test_progress_reaches_the_row_while_the_restore_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = sqlite_artifact(tmp_path)
    restore_id = asked_for(artifact, tmp_path / "restored.db")
    seen: list[tuple[str, bool]] = []
    load = Sqlite.restore

    def look(self: Sqlite, *arguments: object) -> None:
        load(self, *arguments)  # type: ignore[arg-type]
        progress = restores.get(restore_id)
        seen.append((progress.row.step, progress.is_running))

    monkeypatch.setattr(Sqlite, "restore", look)
    work()
    assert seen == [("Load", True)]


@pytest.mark.postgres
def test_a_source_that_was_deleted_is_named_as_the_reason(
    tmp_path: Path, databases: list[str]
) -> None:
    name, target = databases
    artifact, _ = postgresql_artifact(tmp_path, name)
    restore_id = asked_for(artifact, target, only_source())
    with transaction() as session:
        session.execute(delete(SourceRow))

    work()

    assert reload(restore_id).error == restore_work.NO_SOURCE
    assert types() == ["restore_failure"]


def test_the_figures_of_the_message_are_those_of_the_restore(tmp_path: Path) -> None:
    restore_id = asked_for(sqlite_artifact(tmp_path), tmp_path / "restored.db")
    work()
    row = reload(restore_id)
    assert row.finished_at is not None
    took = (row.finished_at - row.started_at).total_seconds()
    assert events()[0].payload["seconds"] == pytest.approx(took)
    assert clock.now() >= row.finished_at


def test_a_thread_that_comes_late_does_not_disown_the_restore(app: Flask, tmp_path: Path) -> None:
    restore_id = asked_for(sqlite_artifact(tmp_path), tmp_path / "restored.db")
    together = threading.Barrier(8)
    got: list[int | None] = []

    def claim() -> None:
        with app.app_context():
            together.wait(10)
            got.append(restore_work.claim())

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(got, key=str) == [restore_id, *[None] * 7]
    assert restore_work.recover() == 0
    assert reload(restore_id).outcome == Outcome.RUNNING
