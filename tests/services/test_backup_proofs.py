"""Backups are proven by restoring them: by hand, by schedule, and with the truth when they fail."""

import io
import json
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psycopg
import pymysql
import pytest
from flask import Flask
from pymysql.cursors import Cursor
from sqlalchemy import select

from tests.factories import make_destination, make_job, make_source
from tests.services.restoring import fill, items, reload, sqlite_artifact, store
from tests.services_needed import HOST, PORT, mariadb_url, require_mariadb, require_postgres
from webapp.core import clock
from webapp.core.errors import InvalidError
from webapp.models.delivery import EventRow
from webapp.models.job import Job, SourceRow
from webapp.models.run import Outcome, Restore
from webapp.notify.events.restore_failure import RestoreFailure
from webapp.notify.message import Reader
from webapp.services import backup_proofs, jobs, restore_work, restores, runs, uploads
from webapp.services.transaction import reading

READER = Reader(timezone="UTC", base_url="https://b.example.org", instance="B")


@pytest.fixture
def job(app: Flask, tmp_path: Path) -> Job:
    source = make_source(name="shop", config={"path": str(fill(tmp_path / "shop.db"))})
    place = make_destination(name="nas", config={"path": str(tmp_path / "nas")})
    made: Job = make_job(
        name="Shop", source_id=source.id, destinations=[place.id], prove_every="weekly"
    )
    return made


def back_up(job: Job) -> None:
    runs.execute(runs.start(job.id, "cli", "mara"))


def carry_out() -> Restore:
    restore_id = restore_work.claim()
    assert restore_id is not None
    restore_work.carry_out(restore_id)
    return reload(restore_id)


def events() -> list[EventRow]:
    with reading() as session:
        return list(session.scalars(select(EventRow).order_by(EventRow.id)))


def test_a_trial_counts_the_rows_and_leaves_nothing(job: Job, tmp_path: Path) -> None:
    back_up(job)
    backup_proofs.begin_due()
    trial = carry_out()
    assert (trial.outcome, trial.step) == (Outcome.SUCCESS, "Count")
    assert trial.counts == [["item", 500]]
    assert sorted(path.name for path in tmp_path.glob("*.db")) == ["dbackup.db", "shop.db"]
    assert [event.type for event in events()] == ["backup_success"]


def test_the_next_success_says_when_a_backup_was_proven(job: Job) -> None:
    back_up(job)
    assert events()[0].payload["proven_at"] == ""
    backup_proofs.begin_due()
    carry_out()
    back_up(job)
    proven = jobs.one(job.id).row.proven_at
    assert proven is not None
    assert events()[-1].payload["proven_at"] == proven.isoformat()


def test_a_damaged_backup_fails_its_trial_and_that_is_announced(job: Job, tmp_path: Path) -> None:
    back_up(job)
    artifact = next((tmp_path / "nas").rglob("*.gz"))
    content = bytearray(artifact.read_bytes())
    content[len(content) // 2] ^= 0xFF
    artifact.write_bytes(bytes(content))
    backup_proofs.begin_due()
    assert carry_out().outcome == Outcome.FAILURE
    assert events()[-1].type == "restore_failure"
    assert events()[-1].payload["target"] == restores.SCRATCH
    said = RestoreFailure.from_payload(events()[-1].payload).say(READER)
    assert said.title == "Trial restore failed: Shop"
    assert said.text == (
        "The trial restore of job Shop, shop to a scratch database, stopped in the step “Verify”. "
        "The restore changed nothing in the backup."
    )
    assert (said.fields[0].name, said.fields[0].value) == ("Job", "Shop")
    assert jobs.one(job.id).row.proven_at is None


def test_it_is_tried_once_a_week(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    assert backup_proofs.begin_due() == []  # nothing to try yet
    back_up(job)
    assert len(backup_proofs.begin_due()) == 1
    carry_out()
    assert backup_proofs.begin_due() == []
    later = clock.now() + timedelta(days=7)
    monkeypatch.setattr(clock, "now", lambda: later)
    assert len(backup_proofs.begin_due()) == 1
    assert backup_proofs.begin_due() == []


def test_what_only_a_passphrase_opens_cannot_be_tried_by_schedule(job: Job) -> None:
    values = jobs.Values(
        name="Shop", source_id=job.source_id, destination_ids=[1], schedule="", timezone="UTC",
        compression="gzip", keep_last=None, enabled=True, prove_every="weekly",
        encryption="passphrase", passphrase="quiet rivers carry boats",
    )  # fmt: skip
    with pytest.raises(InvalidError) as caught:
        jobs.save(job.id, values, version=1)
    assert caught.value.field == "prove_every"


def test_a_table_that_only_its_program_can_read_does_not_fail_the_trial(
    app: Flask, tmp_path: Path
) -> None:
    path = fill(tmp_path / "maps.db")
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            """
            PRAGMA writable_schema = ON;
            INSERT INTO sqlite_master VALUES
              ('table', 'near', 'near', 0, 'CREATE VIRTUAL TABLE near USING vec0(a)');
            """
        )
    place = make_destination(config={"path": str(tmp_path / "nas")})
    artifact = store(make_source(config={"path": str(path)}), place, "maps/1.sqlite.gz")
    restores.prove(artifact.id, requested_by="Mara")
    trial = carry_out()
    assert (trial.error, trial.counts) == (None, [["item", 500]])


# over a database that exists ------------------------------------------------------------------


def test_an_existing_file_is_replaced_only_when_its_name_was_typed(
    app: Flask, tmp_path: Path
) -> None:
    artifact = sqlite_artifact(tmp_path)
    target = fill(tmp_path / "live.db", rows=3)
    for overwrite, confirm in ((False, ""), (True, ""), (True, "live")):
        with pytest.raises(InvalidError):
            restores.request(
                artifact.id, target=str(target), source_id=None, requested_by="Mara",
                overwrite=overwrite, confirm=confirm,
            )  # fmt: skip
    restores.request(
        artifact.id, target=str(target), source_id=None, requested_by="Mara", overwrite=True,
        confirm=str(target),
    )  # fmt: skip
    assert carry_out().outcome == Outcome.SUCCESS
    assert len(items(target)) == 500


def test_the_log_of_the_old_file_does_not_get_into_the_new_one(app: Flask, tmp_path: Path) -> None:
    artifact = sqlite_artifact(tmp_path)
    target = fill(tmp_path / "live.db", rows=3)
    with closing(sqlite3.connect(target)) as user:
        user.execute("PRAGMA journal_mode=WAL")
        user.execute("DELETE FROM item")
        user.commit()
        assert (tmp_path / "live.db-wal").exists()
        restores.request(
            artifact.id, target=str(target), source_id=None, requested_by="Mara", overwrite=True,
            confirm=str(target),
        )  # fmt: skip
        assert carry_out().outcome == Outcome.SUCCESS
        assert len(items(target)) == 500


def test_a_damaged_backup_does_not_touch_what_is_there(app: Flask, tmp_path: Path) -> None:
    artifact = sqlite_artifact(tmp_path)
    stored = tmp_path / "backups" / artifact.key
    stored.write_bytes(stored.read_bytes()[:-20] + b"x" * 20)
    target = fill(tmp_path / "live.db", rows=3)
    restores.request(
        artifact.id, target=str(target), source_id=None, requested_by="Mara", overwrite=True,
        confirm=str(target),
    )  # fmt: skip
    assert carry_out().outcome == Outcome.FAILURE
    assert len(items(target)) == 3
    assert sorted(tmp_path.glob("live*")) == [target]


def test_a_file_that_is_no_database_is_not_replaced(app: Flask, tmp_path: Path) -> None:
    artifact = sqlite_artifact(tmp_path)
    target = tmp_path / "letter.txt"
    target.write_text("a letter, and not a database at all")
    with pytest.raises(InvalidError, match="is not a SQLite database"):
        restores.request(
            artifact.id, target=str(target), source_id=None, requested_by="Mara", overwrite=True,
            confirm=str(target),
        )  # fmt: skip


# uploaded -------------------------------------------------------------------------------------


def uploaded(tmp_path: Path, *, manifest: bool) -> uploads.Upload:
    artifact = sqlite_artifact(tmp_path)
    path = tmp_path / "backups" / artifact.key
    stated = Path(f"{path}.json").read_bytes() if manifest else None
    return uploads.receive(io.BytesIO(path.read_bytes()), path.name, "sqlite", stated)


@pytest.mark.parametrize("manifest", [True, False])
def test_an_uploaded_file_is_restored_and_goes(app: Flask, tmp_path: Path, manifest: bool) -> None:
    upload = uploaded(tmp_path, manifest=manifest)
    assert upload.checksum_known is manifest
    target = tmp_path / "back.db"
    restores.request_upload(upload, target=str(target), source_id=None, requested_by="Mara")
    assert carry_out().outcome == Outcome.SUCCESS
    assert len(items(target)) == 500
    assert list((tmp_path / "uploads").glob("*")) == []
    assert [event.type for event in events()] == ["restore_complete"]


def test_a_manifest_of_another_backup_is_refused(app: Flask, tmp_path: Path) -> None:
    facts = {"format": 1, "compression": "none", "source": {"type": "sqlite"}}
    facts |= {"created_at": "2026-03-01T02:00:00+00:00", "size": 3, "sha256": "0" * 64}
    stated = json.dumps(facts).encode()
    with pytest.raises(InvalidError, match="differ from this manifest"):
        uploads.receive(io.BytesIO(b"abc"), "x.gz", "sqlite", stated)
    assert list((tmp_path / "uploads").glob("*")) == []


def test_an_upload_has_a_limit(app: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "LARGEST", 10)
    with pytest.raises(InvalidError, match="larger than"):
        uploads.receive(io.BytesIO(b"a" * 11), "x.gz", "sqlite")
    assert list((tmp_path / "uploads").glob("*")) == []


# PostgreSQL -----------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[psycopg.Connection]:
    require_postgres()
    with psycopg.connect(f"host={HOST} port={PORT} user=postgres", autocommit=True) as connection:
        yield connection


@pytest.fixture
def shop(app: Flask, server: psycopg.Connection) -> Iterator[tuple[str, SourceRow]]:
    name = f"dbackup_test_{secrets.token_hex(6)}"
    server.execute(f'CREATE DATABASE "{name}"')
    url = f"host={HOST} port={PORT} user=postgres dbname={name}"
    with psycopg.connect(url, autocommit=True) as database:
        database.execute("CREATE TABLE item (id int)")
        database.execute("INSERT INTO item SELECT generate_series(1, 1234)")
        database.execute("CREATE SCHEMA stock")
        database.execute('CREATE TABLE stock."odd ""name" (id int)')
    config = {"host": HOST, "port": PORT, "user": "postgres", "database": name}
    yield name, make_source(type="postgresql", name="pg", config=config)
    server.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def ours(server: psycopg.Connection) -> list[str]:
    query = "SELECT datname FROM pg_database WHERE datname ~ '^dbackup_(trial|new|old|restoring)'"
    return [name for (name,) in server.execute(query)]


def test_a_postgresql_trial_counts_every_table_and_drops_its_database(
    shop: tuple[str, SourceRow], server: psycopg.Connection, tmp_path: Path
) -> None:
    place = make_destination(config={"path": str(tmp_path / "nas")})
    artifact = store(shop[1], place, "shop/1.dump.gz")
    restores.prove(artifact.id, requested_by="Mara")
    trial = carry_out()
    assert trial.error is None
    assert trial.counts == [["item", 1234], ['stock.odd "name', 0]]
    assert ours(server) == []


def test_a_postgresql_database_in_use_is_replaced(
    shop: tuple[str, SourceRow], server: psycopg.Connection, tmp_path: Path
) -> None:
    name, source = shop
    place = make_destination(config={"path": str(tmp_path / "nas")})
    artifact = store(source, place, "shop/1.dump.gz")
    url = f"host={HOST} port={PORT} user=postgres dbname={name}"
    with psycopg.connect(url, autocommit=True) as user:
        user.execute("DELETE FROM item")
        restores.request(
            artifact.id, target=name, source_id=source.id, requested_by="Mara", overwrite=True,
            confirm=name,
        )  # fmt: skip
        ended = carry_out()
    assert (ended.outcome, ended.error) == (Outcome.SUCCESS, None)
    with psycopg.connect(url) as database:
        assert database.execute("SELECT count(*) FROM item").fetchone() == (1234,)
    assert ours(server) == []


def test_a_postgresql_database_whose_users_come_back_at_once_is_replaced(
    shop: tuple[str, SourceRow], tmp_path: Path
) -> None:
    name, source = shop
    place = make_destination(config={"path": str(tmp_path / "nas")})
    artifact = store(source, place, "shop/1.dump.gz")
    ended, url = threading.Event(), f"host={HOST} port={PORT} user=postgres dbname={name}"

    def work() -> None:  # as a pool of connections does
        while not ended.is_set():
            with suppress(psycopg.Error), psycopg.connect(url, autocommit=True) as user:
                while not ended.is_set():
                    user.execute("SELECT pg_sleep(0.05)")

    users = [threading.Thread(target=work) for _ in range(6)]
    for user in users:
        user.start()
    outcomes = []
    for _ in range(3):
        restores.request(
            artifact.id, target=name, source_id=source.id, requested_by="Mara", overwrite=True,
            confirm=name,
        )  # fmt: skip
        outcomes.append(carry_out().error)
    ended.set()
    for user in users:
        user.join(20)
    assert outcomes == [None, None, None]


# MariaDB --------------------------------------------------------------------------------------


@pytest.fixture
def maria(app: Flask) -> Iterator[tuple[str, SourceRow, Cursor]]:
    require_mariadb()
    url = urlsplit(mariadb_url())
    login = {
        "host": url.hostname or HOST,
        "port": url.port or 3306,
        "user": unquote(url.username or "root"),
        "password": unquote(url.password or ""),
    }
    name = f"dbackup_test_{secrets.token_hex(6)}"
    with (
        closing(pymysql.connect(**login, autocommit=True)) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(f"CREATE DATABASE `{name}`")
        cursor.execute(f"CREATE TABLE `{name}`.item (id INT PRIMARY KEY)")
        cursor.execute(f"INSERT INTO `{name}`.item VALUES (1), (2), (3)")
        cursor.execute(f"CREATE TABLE `{name}`.price (id INT) WITH SYSTEM VERSIONING")
        cursor.execute(f"INSERT INTO `{name}`.price VALUES (1), (2)")
        yield (
            name,
            make_source(type="mysql", name="maria", config=login | {"database": name}),
            cursor,
        )
        cursor.execute(f"DROP DATABASE IF EXISTS `{name}`")


def trials(cursor: Cursor) -> int:
    return int(cursor.execute("SHOW DATABASES LIKE 'dbackup\\_trial\\_%'"))


def test_a_mariadb_backup_is_proven_and_restored_over_what_is_there(
    maria: tuple[str, SourceRow, Cursor], tmp_path: Path
) -> None:
    name, source, cursor = maria
    place = make_destination(config={"path": str(tmp_path / "nas")})
    artifact = store(source, place, "shop/1.sql.gz")
    restores.prove(artifact.id, requested_by="Mara")
    trial = carry_out()
    assert (trial.error, trial.counts) == (None, [["item", 3], ["price", 2]])
    assert trials(cursor) == 0
    cursor.execute(f"DELETE FROM `{name}`.item")
    restores.request(
        artifact.id, target=name, source_id=source.id, requested_by="Mara", overwrite=True,
        confirm=name,
    )  # fmt: skip
    assert carry_out().error is None
    assert cursor.execute(f"SELECT * FROM `{name}`.item") == 3
