"""One source, several databases of a real server: backed up, kept, restored and told one by one."""

import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from flask import Flask
from sqlalchemy import select

from tests.backup.conftest import MariaScratch
from tests.conftest import make_settings
from tests.factories import make_destination, make_job, make_source
from tests.services.restoring import reload
from tests.services_needed import HOST, PORT, require_mariadb, require_postgres
from webapp.app import create_app
from webapp.backup import manifest
from webapp.backup.destinations.local import Local
from webapp.backup.errors import BackupError
from webapp.backup.progress import Progress
from webapp.backup.sources.base import Writer
from webapp.backup.sources.postgresql import Postgresql
from webapp.core import clock
from webapp.models import db
from webapp.models.delivery import EventRow
from webapp.models.job import Job, SourceRow
from webapp.models.run import ArtifactRow, Outcome, Run, RunLine
from webapp.notify.events import BY_TYPE
from webapp.notify.message import Reader
from webapp.services import (
    artifact_names,
    backup_proofs,
    config_backups,
    explorer,
    jobs,
    processes,
    restore_work,
    restores,
    run_history,
    runs,
)
from webapp.services.connections import Values
from webapp.services.sources import BOOK, open_parts, open_source
from webapp.services.transaction import reading, transaction

SERVER = f"host={HOST} port={PORT} user=postgres"
READER = Reader(timezone="UTC", base_url="https://b.example.org", instance="Fernhill")
PHRASE = "quiet rivers carry boats"


class World:
    """Three databases with 1, 2 and 3 rows, and a job over them that stores at one directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        mark = secrets.token_hex(4)
        self.names = [f"dbackup_test_{mark}_{part}" for part in ("blog", "crm", "shop")]
        with self.server() as server:
            for rows, name in enumerate(self.names, 1):
                server.execute(f'CREATE DATABASE "{name}"')
                self.fill(name, rows)

    def server(self, database: str = "postgres") -> psycopg.Connection:
        return psycopg.connect(f"{SERVER} dbname={database}", autocommit=True)

    def fill(self, name: str, rows: int) -> None:
        with self.server(name) as database:
            database.execute("CREATE TABLE item AS SELECT generate_series(1, %s) AS n", (rows,))

    def drop(self, *names: str) -> None:
        with self.server() as server:
            for name in names:
                server.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def rename(self, old: str, new: str) -> None:
        with self.server() as server:
            server.execute(f'ALTER DATABASE "{old}" RENAME TO "{new}"')

    def config(self, *names: str) -> dict[str, Any]:
        chosen = "\n".join(names or self.names)
        return {"host": HOST, "port": PORT, "user": "postgres", "database": chosen}

    def job(self, *names: str, **values: Any) -> Job:
        source = make_source(type="postgresql", name="pg", config=self.config(*names))
        place = make_destination(name="nas", config={"path": str(self.folder / "nas")})
        job: Job = make_job(name="All", source_id=source.id, destinations=[place.id], **values)
        return job

    def rows(self, name: str) -> int:
        with self.server(name) as database:
            found = database.execute("SELECT count(*) FROM item").fetchone()
        return int(found[0]) if found else -1


@pytest.fixture
def world(app: Flask, tmp_path: Path) -> Iterator[World]:
    require_postgres()
    made = World(tmp_path)
    yield made
    made.drop(*made.names, *(f"{name}_again" for name in made.names))


def run(job: Job) -> Run:
    run_id = runs.start(job.id, "cli", "Mara")
    runs.execute(run_id)
    return stored(run_id)


def stored(run_id: int) -> Run:
    with reading() as session:
        return session.get_one(Run, run_id)


def artifacts(database: str | None = None) -> list[ArtifactRow]:
    chosen = select(ArtifactRow).order_by(ArtifactRow.id)
    if database is not None:
        chosen = chosen.where(ArtifactRow.database == database)
    with reading() as session:
        return list(session.scalars(chosen))


def published() -> list[EventRow]:
    with reading() as session:
        return list(session.scalars(select(EventRow).order_by(EventRow.id)))


def said() -> str:
    """Return the text of the last message."""
    row = published()[-1]
    return BY_TYPE[row.type].from_payload(row.payload).say(READER).text


def log(run_id: int) -> str:
    with reading() as session:
        return "\n".join(session.scalars(select(RunLine.text).where(RunLine.run_id == run_id)))


def restored(artifact: ArtifactRow, target: str, source_id: int) -> str | None:
    restores.request(artifact.id, target=target, source_id=source_id, requested_by="Mara")
    restore_id = restore_work.claim()
    assert restore_id is not None
    restore_work.carry_out(restore_id)
    return reload(restore_id).error


def test_each_database_becomes_a_backup_that_restores_as_itself(world: World) -> None:
    job = world.job()
    ended = run(job)
    assert (ended.outcome, ended.error) == (Outcome.SUCCESS, None)
    assert [row.database for row in artifacts()] == world.names
    assert ended.size == sum(row.size for row in artifacts())
    assert [(step["name"], step["state"]) for step in ended.steps] == [
        (name, "done") for name in world.names
    ]
    local = Local({"path": str(world.folder / "nas")})
    for rows, artifact in enumerate(artifacts(), 1):
        assert artifact.database.replace("_", "-") in artifact.key
        assert manifest.read(local, artifact.key).database == artifact.database
        assert restores.draft(artifact.id).suggestion.startswith(f"{artifact.database[:40]}_")
        target = f"{artifact.database}_again"
        assert restored(artifact, target, job.source_id) is None
        assert world.rows(target) == rows
    (success, *rest) = published()
    assert success.type == "backup_success"
    assert [each["name"] for each in success.payload["databases"]] == world.names
    assert {event.payload["database"] for event in rest} == set(world.names)


def test_one_that_fails_makes_the_run_partial_and_is_named(world: World) -> None:
    job = world.job()
    blog, crm, shop = world.names
    world.rename(crm, f"{crm}_again")
    ended = run(job)
    assert ended.outcome == Outcome.PARTIAL
    assert [row.database for row in artifacts()] == [blog, shop]
    assert ended.error is not None
    assert ended.error.startswith(f"{crm}: There is no database {crm}")
    assert [step["state"] for step in ended.steps] == ["done", "failed", "done"]
    assert ended.destinations[0]["stored"] is True
    assert ended.destinations[0]["detail"] == "2 of 3 databases"
    assert published()[-1].type == "backup_partial"
    assert said() == f"2 of 3 databases of pg (PostgreSQL) were backed up, not {crm}."
    assert run_history.show(ended.id).kept == (blog, shop)


def test_a_fault_of_ours_in_one_does_not_cost_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    blog, crm, shop = world.names
    whole = Postgresql.dump

    def dump(source: Postgresql, output: Writer, progress: Progress) -> None:
        if source.config["database"] == crm:
            raise LookupError("nobody thought of this")
        whole(source, output, progress)

    monkeypatch.setattr(Postgresql, "dump", dump)
    ended = run(world.job())
    assert (ended.outcome, ended.step) == (Outcome.PARTIAL, "Dump")
    assert [row.database for row in artifacts()] == [blog, shop]
    assert ended.error == f"{crm}: LookupError: nobody thought of this"
    assert sorted(event.type for event in published()) == ["backup_partial", "system_error"]


def test_when_all_fail_the_run_failed(world: World) -> None:
    job = world.job("gone_1", "gone_2")
    ended = run(job)
    assert (ended.outcome, artifacts()) == (Outcome.FAILURE, [])
    assert ended.error is not None
    assert "gone_1: " in ended.error
    assert "gone_2: " in ended.error
    assert [event.type for event in published()] == ["backup_failure"]
    assert ended.destinations[0]["stored"] is False


def test_the_next_attempt_does_only_what_is_missing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = world.job(retries=1, retry_pause=5, keep_last=1)
    crm = world.names[1]
    world.rename(crm, f"{crm}_again")
    run_id = runs.start(job.id, "manual", "Mara")
    assert runs.claim() == run_id
    assert runs.execute(run_id) is Outcome.RUNNING
    assert (len(artifacts()), published()) == (2, [])
    world.rename(f"{crm}_again", crm)
    later = clock.now() + timedelta(minutes=6)
    monkeypatch.setattr(clock, "now", lambda: later)
    assert runs.claim() == run_id
    assert runs.execute(run_id) is Outcome.SUCCESS
    assert sorted(row.database for row in artifacts()) == world.names
    assert [event.type for event in published()] == ["backup_success"]
    assert stored(run_id).size == sum(row.size for row in artifacts())


def test_each_database_keeps_its_own_last_ones(world: World) -> None:
    job = world.job(keep_last=2)
    blog, crm, shop = world.names
    run(job)
    world.rename(crm, f"{crm}_again")
    for _ in range(3):
        run(job)
    assert [len(artifacts(name)) for name in (blog, crm, shop)] == [2, 1, 2]
    assert len(list((world.folder / "nas").rglob("*.gz"))) == 5


def test_a_source_that_grows_keeps_the_backups_it_had(world: World) -> None:
    """Also those whose manifest names no database, because an older version made them."""
    blog, _, shop = world.names
    job = world.job(shop, keep_last=2)
    for _ in range(2):
        run(job)
    files = sorted((world.folder / "nas").rglob("*.json"))
    files[0].write_text(files[0].read_text().replace(f'"database": "{shop}"', '"old": 1'))
    source = BOOK.stored(job.source_id)
    BOOK.save(source.row.id, source.row.version, Values(name="pg", config=world.config(blog, shop)))
    run(job)
    assert [len(artifacts(name)) for name in (blog, shop)] == [1, 3]
    assert files[0].exists()  # may be the last one of blog
    run(job)
    assert [len(artifacts(name)) for name in (blog, shop)] == [2, 2]
    assert not files[0].exists()


def test_what_was_whole_stays_when_the_run_is_stopped(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    blog, crm, _ = world.names
    whole = Postgresql.dump
    job = world.job()
    run_id = runs.start(job.id, "manual", "Mara")
    assert runs.claim() == run_id

    def dump(source: Postgresql, output: Any, progress: Progress) -> None:
        if source.config["database"] == crm:
            runs.stop(run_id, "Mara Lindqvist")
        whole(source, output, progress)

    monkeypatch.setattr(Postgresql, "dump", dump)
    assert runs.execute(run_id) is Outcome.CANCELLED
    assert [row.database for row in artifacts()] == [blog]
    assert len(list((world.folder / "nas").rglob("*.gz"))) == 1
    assert said() == (
        "Mara Lindqvist stopped the run. 1 of 3 databases of pg (PostgreSQL) were backed up before "
        f"that: {blog}."
    )


def test_a_killed_run_says_what_of_it_is_whole(world: World) -> None:
    blog = world.names[0]
    run_id = run(world.job()).id
    with transaction() as session:
        row = session.get_one(Run, run_id)
        row.outcome, row.owner = Outcome.RUNNING, f"{processes.owner().split(':')[0]}:4194303:1"
        row.databases = [
            each if each["name"] == blog else each | {"stored": False, "size": 0, "places": []}
            for each in row.databases
        ]
    assert runs.recover() == 1
    assert f"Whole before that, and kept: {blog}." in (stored(run_id).error or "")
    assert said().startswith(
        f"1 of 3 databases of pg (PostgreSQL) were backed up before that: {blog}."
    )


def test_the_connection_test_says_which_databases_there_are(world: World) -> None:
    values = Values(name="pg", config=world.config())
    good = BOOK.test_config("postgresql", values)
    assert good.ok
    assert f"All 3 databases were found: {', '.join(world.names)}." in good.words
    blog, _, shop = world.names
    bad = BOOK.test_config("postgresql", Values(name="pg", config=world.config(blog, "gone", shop)))
    assert not bad.ok
    assert bad.words.splitlines()[0] == f"Found: {blog}, {shop}."
    assert bad.words.splitlines()[1].startswith("gone: There is no database gone")


def test_a_server_that_does_not_answer_is_said_once(app: Flask) -> None:
    config = {"host": HOST, "port": 1, "user": "u", "database": "a\nb\nc"}
    trial = BOOK.test_config("postgresql", Values(name="pg", config=config))
    assert trial.words.startswith(f"Nothing answers at {HOST}:1.")


def test_a_job_is_proven_when_each_of_its_databases_is(world: World) -> None:
    job = world.job(prove_every="weekly")
    run(job)
    begun = backup_proofs.begin_due()
    assert len(begun) == 3
    for number, restore_id in enumerate(begun, 1):
        assert restore_work.claim() == restore_id
        restore_work.carry_out(restore_id)
        trial = reload(restore_id)
        assert trial.counts == [["item", world.names.index(trial.database) + 1]]
        assert (jobs.one(job.id).row.proven_at is not None) is (number == 3)


def test_a_fresh_installation_finds_and_restores_each(world: World, tmp_path: Path) -> None:
    job = world.job()
    run(job)
    content = config_backups.export(PHRASE).content
    (tmp_path / "other").mkdir()
    other = create_app(make_settings(tmp_path / "other"))
    with other.app_context():
        db.create_all()
        summary = config_backups.import_(content, PHRASE)
        assert (summary.sources, summary.identical) == (1, True)
        with reading() as session:
            source = session.scalars(select(SourceRow)).one()
        assert [name for name, _ in open_parts(source)] == world.names
        look = explorer.look(1)
        assert sorted(found.database for found in look.found) == world.names
        explorer.import_(1)
        crm = artifacts(world.names[1])[0]
        assert restored(crm, f"{crm.database}_again", source.id) is None
        assert world.rows(f"{crm.database}_again") == 2
        db.session.remove()
        db.engine.dispose()


def test_a_source_of_one_database_goes_on_as_it_was(world: World) -> None:
    shop = world.names[2]
    ended = run(world.job(shop))
    assert [step["name"] for step in ended.steps] == ["Connect", "Dump", "Store", "Verify"]
    assert ended.databases == []
    (artifact,) = artifacts()
    assert artifact.key.endswith(f"Z-{ended.id}.dump.gz")
    assert published()[-1].payload["databases"] == []
    assert said() == "pg (PostgreSQL) was backed up and read back without a difference."


def test_the_log_says_which_database_a_line_is_about(world: World) -> None:
    ended = run(world.job())
    for name in world.names:
        assert f"{name}: nas: " in log(ended.id)


@pytest.fixture
def maria(app: Flask) -> Iterator[MariaScratch]:
    require_mariadb()
    made = MariaScratch()
    yield made
    made.clean()


def test_databases_of_mariadb_with_names_that_look_alike(
    maria: MariaScratch, tmp_path: Path
) -> None:
    mark = secrets.token_hex(4)
    names = [f"dbackup_test_{mark} größe", f"dbackup_test_{mark} gr,e"]
    for rows, name in enumerate(names, 1):
        maria._made += [name, f"{name}2"]
        maria.run(None, f"CREATE DATABASE `{name}`", f"CREATE TABLE `{name}`.item (n INT)")
        for _ in range(rows):
            maria.run(name, "INSERT INTO item VALUES (1)")
    config = maria.login | {"database": "\n".join(names), "tls": "prefer"}
    assert BOOK.test_config("mysql", Values(name="m", config=config)).ok
    source = make_source(type="mysql", name="maria", config=config)
    place = make_destination(config={"path": str(tmp_path / "nas")})
    job = make_job(source_id=source.id, destinations=[place.id], name_pattern="{database}-{date}")
    assert run(job).outcome == Outcome.SUCCESS
    assert [row.database for row in artifacts()] == names
    for rows, artifact in enumerate(artifacts(), 1):
        assert restored(artifact, f"{artifact.database}2", source.id) is None
        assert len(maria.rows(f"{artifact.database}2", "SELECT * FROM item")) == rows


def test_names_of_several_databases_never_come_twice() -> None:
    moment = clock.now()
    names = artifact_names.render(
        "{date}", job="j", source="s", moment=moment, run_id=7, databases=["a b", "a.b", "a-b-2"]
    )
    assert [name.partition("_")[2] for name in names] == ["a-b-7", "a-b-2-7", "a-b-2-2-7"]
    (one,) = artifact_names.render(
        "{database}-{date}", job="j", source="My file", moment=moment, run_id=7, databases=[""]
    )
    assert one.startswith("My-file-")


def test_an_opened_source_is_never_about_several(app: Flask) -> None:
    row = make_source(
        type="postgresql", config={"host": "h", "port": 1, "user": "u", "database": "a\nb"}
    )
    assert open_source(row).databases == ("a",)
    assert open_source(row, "b").databases == ("b",)
    assert open_source(row, "elsewhere").databases == ("a",)


def test_a_destination_that_takes_some_of_it_is_named_with_what_it_lacks(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_source(type="postgresql", name="pg", config=world.config())
    places = [
        make_destination(name=name, config={"path": str(world.folder / name)})
        for name in ("nas", "attic")
    ]
    job = make_job(source_id=source.id, destinations=[place.id for place in places])
    crm = world.names[1]
    write = Local.open_write

    def full(self: Local, key: str) -> AbstractContextManager[Writer]:
        if self.root.name == "attic" and crm.replace("_", "-") in key:
            raise BackupError("The disk is full.")
        return write(self, key)

    monkeypatch.setattr(Local, "open_write", full)
    ended = run(job)
    assert ended.outcome == Outcome.PARTIAL
    assert ended.error == f"attic: {crm}: The disk is full."
    nas, attic = ended.destinations
    assert (nas["stored"], nas["detail"]) == (True, "")
    assert attic["stored"] is False
    assert attic["detail"] == f"2 of 3 databases\n{crm}: The disk is full."
    assert said() == "pg (PostgreSQL) was backed up, but not stored at attic."
    assert len(artifacts()) == 5


def test_a_run_that_is_out_of_time_keeps_what_was_whole(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    blog, crm, shop = world.names
    whole = Postgresql.dump

    def dump(source: Postgresql, output: Any, progress: Progress) -> None:
        if source.config["database"] == crm:
            recorder = next(iter(runs._mine.recorders()))
            recorder.time_out(timedelta(minutes=3))
        whole(source, output, progress)

    monkeypatch.setattr(Postgresql, "dump", dump)
    ended = run(world.job(time_limit=3))
    assert ended.outcome == Outcome.PARTIAL
    assert "It ran longer than 3 min" in (ended.error or "")
    assert said() == f"1 of 3 databases of pg (PostgreSQL) were backed up, not {crm}, {shop}."
    assert [row.database for row in artifacts()] == [blog]
