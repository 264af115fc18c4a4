"""A backup is killed while it writes: what it left goes at the start, and nothing else does."""

import contextlib
import gc
import json
import os
import secrets
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from flask import Flask
from sqlalchemy import select, update

from tests.factories import make_destination, make_job, make_source
from tests.servers.s3 import S3Server
from tests.servers.sftp import HOST, SftpServer
from webapp.app import create_app
from webapp.backup import manifest, scratch
from webapp.backup.branches import STORED
from webapp.backup.destinations import sftp_keys
from webapp.backup.errors import BackupError
from webapp.core import clock
from webapp.core.settings import PROJECT_ROOT, Settings
from webapp.models import db
from webapp.models.delivery import EventRow
from webapp.models.job import DestinationRow, Job
from webapp.models.run import Outcome, Run, RunLine, Unfinished
from webapp.services import leftovers, processes, runs, schema
from webapp.services.destinations import open_destination
from webapp.services.leftovers import Sweeper
from webapp.services.transaction import reading, transaction
from webapp.services.unfinished import Notes
from webapp.workers import leftovers as worker
from webapp.workers import runtime

pytestmark = pytest.mark.crash


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    """An application that other processes can share: its tables are made by the migrations."""
    app = create_app(settings)
    with app.app_context():
        schema.upgrade()
        yield app
        db.session.remove()
        db.engine.dispose()


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return fill(tmp_path / "shop.db", megabytes=120)


def fill(path: Path, *, megabytes: int) -> Path:
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE item (content BLOB)")
        for _ in range(megabytes):
            connection.execute("INSERT INTO item VALUES (randomblob(1000000))")
    return path


def job_at(place: DestinationRow, database: Path) -> Job:
    source = make_source(name="shop", config={"path": str(database)})
    job: Job = make_job(
        name="nightly", source_id=source.id, destinations=[place.id], compression="none"
    )
    return job


def killed(settings: Settings, is_writing: Callable[[], bool]) -> None:
    """Run the job in a process of its own, and kill that while it writes."""
    environ = os.environ | {
        "DBACKUP_INSTANCE_PATH": str(settings.instance_path),
        "DBACKUP_DATABASE_URL": settings.database_url,
        "DBACKUP_SECRET_KEY": settings.secret_key,
        "DBACKUP_ENCRYPTION_KEYS": " ".join(settings.encryption_keys),
        "TMPDIR": str(settings.instance_path / "copies"),
    }
    (settings.instance_path / "copies").mkdir(exist_ok=True)
    command = [sys.executable, "-m", "webapp.server", "jobs", "run", "nightly"]
    process = subprocess.Popen(command, cwd=PROJECT_ROOT, env=environ, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not is_writing():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()


def start_and_wait(app: Flask, is_clean: Callable[[], bool]) -> None:
    """Start what a server starts, and wait until it has cleaned up."""
    began = time.monotonic()
    running = runtime.start(app)
    try:
        assert time.monotonic() - began < 2
        while not is_clean():
            assert time.monotonic() - began < 15
            time.sleep(0.02)
    finally:
        assert running.stop()


def notes() -> list[str]:
    with reading() as session:
        return list(session.scalars(select(Unfinished.ref)))


def the_run() -> Run:
    with reading() as session:
        return session.scalars(select(Run)).one()


def lines() -> str:
    with reading() as session:
        return "\n".join(session.scalars(select(RunLine.text)))


def halves(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


def test_what_a_killed_backup_left_in_a_directory_goes_at_the_start(
    app: Flask, settings: Settings, database: Path, tmp_path: Path
) -> None:
    shelf = tmp_path / "nas"
    job = job_at(make_destination(name="nas", config={"path": str(shelf)}), database)
    killed(settings, lambda: any(path.stat().st_size for path in shelf.rglob("*.half")))
    (left,) = halves(shelf)
    other = left.with_name(f".{left.name.split('.')[1]}.somebody.half")
    other.write_bytes(b"of another DBackup at the same place")

    start_and_wait(app, lambda: not left.exists() and not notes())

    assert halves(shelf) == [other]
    assert the_run().outcome == Outcome.INTERRUPTED
    assert "nas: what the run left half-written was removed." in lines()
    assert job.folder in str(left)


@pytest.fixture
def s3() -> Iterator[Any]:
    with S3Server() as server:
        client = boto3.client(
            "s3",
            endpoint_url=server.url,
            region_name="us-east-1",
            aws_access_key_id="admin",
            aws_secret_access_key="x",
        )
        client.create_bucket(Bucket="vault")
        yield server, client


def bucket(server: S3Server) -> DestinationRow:
    config = {
        "bucket": "vault",
        "prefix": "here",
        "endpoint": server.url,
        "region": "us-east-1",
        "access_key": "AK",
        "secret_key": "tall ships",
        "addressing": "path",
        "ca_file": "",
    }
    place: DestinationRow = make_destination(type="s3", name="vault", config=config)
    return place


def uploads(client: Any) -> list[str]:
    found = client.list_multipart_uploads(Bucket="vault").get("Uploads", ())
    return [upload["UploadId"] for upload in found]


def test_the_upload_of_a_killed_backup_is_aborted_at_the_start(
    app: Flask, settings: Settings, database: Path, s3: Any
) -> None:
    server, client = s3
    job_at(bucket(server), database)
    killed(settings, lambda: bool(uploads(client) and notes()))
    (ref,) = notes()
    key = ref.partition(" ")[2]
    other = client.create_multipart_upload(Bucket="vault", Key=key)["UploadId"]
    assert len(uploads(client)) == 2

    start_and_wait(app, lambda: not notes())

    assert uploads(client) == [other]
    assert client.list_objects_v2(Bucket="vault").get("Contents", []) == []


@pytest.fixture
def sftp(tmp_path: Path) -> Iterator[SftpServer]:
    (tmp_path / "srv").mkdir()
    with SftpServer(tmp_path / "srv") as running:
        yield running
        gc.collect()  # destinations end their connections when they are let go of


def remote(server: SftpServer) -> DestinationRow:
    shown = sftp_keys.of(server.host_key.get_name(), server.host_key.asbytes())
    config = {
        "host": HOST,
        "port": server.port,
        "user": server.user,
        "password": server.password,
        "private_key": "",
        "passphrase": "",
        "path": "/backups/here",
        "host_key": str(shown),
    }
    place: DestinationRow = make_destination(type="sftp", name="far", config=config)
    return place


def test_what_a_killed_backup_left_on_an_sftp_server_goes_at_the_start(
    app: Flask, settings: Settings, database: Path, sftp: SftpServer
) -> None:
    job_at(remote(sftp), database)
    killed(settings, lambda: any(p.stat().st_size for p in sftp.root.rglob("*.half")))
    (left,) = halves(sftp.root)
    other = left.with_name(".1.gz.00000000.half")
    other.write_bytes(b"of somebody else")

    start_and_wait(app, lambda: not notes())

    assert halves(sftp.root) == [other]


def test_a_destination_that_is_away_is_tried_again_and_said_once(
    app: Flask,
    settings: Settings,
    database: Path,
    sftp: SftpServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    place = remote(sftp)
    job_at(place, database)
    killed(settings, lambda: any(p.stat().st_size for p in sftp.root.rglob("*.half")))
    runs.recover()
    sftp.password, right = "something else", sftp.password
    sweeper = Sweeper()
    caplog.set_level("WARNING")
    now = [time.monotonic()]
    monkeypatch.setattr(leftovers.time, "monotonic", lambda: now[0])
    for hours in (0, 0, 1, 7, 14):
        now[0] += hours * 3600
        assert sweeper.sweep() == 0
    assert len(halves(sftp.root)) == 1
    said = [record for record in caplog.records if record.message == "leftovers stay for now"]
    assert len(said) == 1
    with reading() as session:
        events = session.scalars(select(EventRow.type)).all()
    assert events == ["backup_interrupted"]
    sftp.password = right
    assert sweeper.sweep() == 0  # not yet
    now[0] += 7 * 3600
    assert sweeper.sweep() == 1
    assert halves(sftp.root) == []


@pytest.mark.parametrize("where", ["nas", "far"])
def test_a_run_that_works_is_left_alone(
    app: Flask, database: Path, tmp_path: Path, sftp: SftpServer, where: str
) -> None:
    """Two processes on one database: this one starts while the other one writes."""
    shelf = tmp_path / "nas" if where == "nas" else sftp.root / "backups/here"
    place = make_destination(config={"path": str(shelf)}) if where == "nas" else remote(sftp)
    job = job_at(place, database)
    run_id = runs.start(job.id, "cli", "Mara")
    destination = open_destination(place)
    destination.journal = Notes(run_id, place.id)
    with destination.open_write("shop/1.db") as writer:
        writer.write(b"half")
        assert len(notes()) == 1
        assert Sweeper().sweep() == 0
        # it lost its lease and was given up, but writes still
        for owner in (processes.owner(), "other.host:1:1"):
            ended(run_id, owner)
            assert Sweeper().sweep() == 0
        if where == "nas":
            ended(run_id, f"{processes.owner().split(':')[0]}:4194303:1")
            assert Sweeper().sweep() == 0  # its process is dead, they say, but the file is in use
        writer.write(b" and whole")
    assert (shelf / "shop/1.db").read_bytes() == b"half and whole"
    assert notes() == []


def ended(run_id: int, owner: str) -> None:
    with transaction() as session:
        session.execute(
            update(Run)
            .where(Run.id == run_id)
            .values(outcome=Outcome.INTERRUPTED, owner=owner, finished_at=clock.now())
        )


def test_a_run_of_another_machine_is_cleaned_up_after_an_hour(
    app: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process may live: it is known by its lease alone."""
    _, run_id = left_behind(tmp_path, ".1.gz.12345678.half")
    ended(run_id, "other.host:1:1")
    assert Sweeper().sweep() == 0
    later = clock.now() + leftovers.MAY_STILL_WRITE
    monkeypatch.setattr(clock, "now", lambda: later)
    assert Sweeper().sweep() == 1
    assert halves(tmp_path / "nas") == []


def left_behind(tmp_path: Path, name: str) -> tuple[DestinationRow, int]:
    shelf = tmp_path / "nas"
    (shelf / "shop").mkdir(parents=True)
    (shelf / "shop" / name).write_bytes(b"left")
    place = make_destination(name="nas", config={"path": str(shelf)})
    with transaction() as session:
        run = Run(job_name="Shop", trigger="manual")
        session.add(run)
        session.flush()
        ref = f"shop/{name}" if name.endswith(".half") else f"{STORED}shop/{name}"
        session.add(Unfinished(run_id=run.id, destination_id=place.id, ref=ref))
    return place, run.id


@pytest.mark.parametrize("has_manifest", [True, False])
def test_a_file_that_was_never_verified_goes_and_a_whole_one_stays(
    app: Flask, tmp_path: Path, has_manifest: bool
) -> None:
    place, run_id = left_behind(tmp_path, "1.gz")
    if has_manifest:
        manifest.write(open_destination(place), "shop/1.gz", {"format": 1})
    ended(run_id, f"{processes.owner().split(':')[0]}:4194303:1")
    assert Sweeper().sweep() == 1
    assert (tmp_path / "nas/shop/1.gz").exists() is has_manifest
    assert notes() == []


def test_two_servers_that_clean_up_at_once_say_it_once(
    app: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, run_id = left_behind(tmp_path, "1.gz")
    ended(run_id, f"{processes.owner().split(':')[0]}:4194303:1")
    found = leftovers._due()
    assert Sweeper().sweep() == 1
    monkeypatch.setattr(leftovers, "_due", lambda: found)  # it looked a moment before
    assert Sweeper().sweep() == 0
    assert lines().count("was removed") == 1


@pytest.mark.parametrize("ref", ["shop/1.gz", "../secret.half", "shop/../../.x.half", ""])
def test_only_half_written_files_can_be_discarded(app: Flask, tmp_path: Path, ref: str) -> None:
    place = open_destination(make_destination(config={"path": str(tmp_path / "nas")}))
    with pytest.raises(BackupError):
        place.discard(ref)


def test_a_run_that_ends_by_itself_leaves_no_note(
    app: Flask, tmp_path: Path, sftp: SftpServer, s3: Any
) -> None:
    database = fill(tmp_path / "shop.db", megabytes=12)
    places = [
        make_destination(name="nas", config={"path": str(tmp_path / "nas")}),
        remote(sftp),
        bucket(s3[0]),
    ]
    source = make_source(name="shop", config={"path": str(database)})
    job = make_job(source_id=source.id, destinations=[place.id for place in places])
    assert runs.execute(runs.start(job.id, "cli", "Mara")) is Outcome.SUCCESS
    assert notes() == []
    database.write_bytes(secrets.token_bytes(5000))
    assert runs.execute(runs.start(job.id, "cli", "Mara")) is Outcome.FAILURE
    assert notes() == []


def test_a_clean_up_that_failed_is_made_up_for(
    app: Flask, database: Path, sftp: SftpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line breaks during the upload and is not back when the run ends."""
    job = job_at(remote(sftp), database)
    sftp.breaks_after = 5_000_000
    whole = SftpServer.wrote

    def wrote(server: SftpServer, count: int) -> int:
        if (server.breaks_after or 0) - count < 0:
            server.password = "gone"
        return whole(server, count)

    right = sftp.password
    monkeypatch.setattr(SftpServer, "wrote", wrote)
    assert runs.execute(runs.start(job.id, "cli", "Mara")) is Outcome.FAILURE
    assert len(halves(sftp.root)) == 1
    sftp.password, sftp.breaks_after = right, None
    monkeypatch.undo()
    assert Sweeper().sweep() == 1
    assert halves(sftp.root) == []


def test_what_an_attempt_left_is_not_in_the_way_of_the_next_one(
    app: Flask, tmp_path: Path, sftp: SftpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is away after the file got its name, and back for the second attempt."""
    job = job_at(remote(sftp), fill(tmp_path / "small.db", megabytes=1))
    with transaction() as session:
        session.get_one(Job, job.id).retries = 1
    sftp.leaves_at_rename, right = True, sftp.password
    run_id = runs.start(job.id, "manual", "Mara")
    assert runs.claim() == run_id
    assert runs.execute(run_id) is Outcome.RUNNING
    assert [path.suffix for path in sftp.root.rglob("*") if path.is_file()] == [".sqlite"]
    sftp.leaves_at_rename, sftp.password = False, right
    later = clock.now() + timedelta(hours=1)
    monkeypatch.setattr(clock, "now", lambda: later)
    assert runs.claim() == run_id
    assert runs.execute(run_id) is Outcome.SUCCESS, lines()
    assert Sweeper().sweep() > 0
    assert notes() == []
    (whole,) = [path.name for path in sftp.root.rglob("*.sqlite")]
    assert whole.endswith("Z-1.2.sqlite")


def test_the_thread_says_its_faults_once_and_goes_on(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "LOOK_EVERY", 0.01)
    calls: list[int] = []

    def stumble(_: Sweeper) -> int:
        calls.append(1)
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(Sweeper, "sweep", stumble)
    thread = worker.start(app)
    deadline = time.monotonic() + 10
    while len(calls) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert thread.stop(5)
    assert len(calls) >= 3
    with reading() as session:
        (event,) = session.scalars(select(EventRow))
    assert "a fault of ours" in json.dumps(event.payload)


def test_copies_of_killed_processes_go_at_the_start_too(
    app: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("left", "fresh"):
        (tmp_path / f"{scratch.PREFIX}{name}").mkdir()
    old = time.time() - 120
    os.utime(tmp_path / f"{scratch.PREFIX}left", (old, old))
    Sweeper().sweep()
    assert [path.name for path in tmp_path.glob(f"{scratch.PREFIX}*")] == [f"{scratch.PREFIX}fresh"]
