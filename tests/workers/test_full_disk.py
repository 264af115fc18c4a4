"""A full disk still lets the failure notice out: a real file system of 32 MB, really full."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError

from tests.conftest import make_settings
from tests.factories import make_channel
from tests.servers.http import Peer
from tests.services_needed import require
from webapp.app import create_app
from webapp.core import ballast
from webapp.models import db
from webapp.models.delivery import Delivery, State
from webapp.models.setting import ErrorReport
from webapp.notify.events import BY_TYPE
from webapp.services import health, outbox, room
from webapp.services.routing import Target
from webapp.services.transaction import reading, transaction
from webapp.workers.dispatcher import Dispatcher

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "small"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32m", "none", str(path)]
    done = subprocess.run(mount, capture_output=True, check=False) if os.geteuid() == 0 else None
    mounted = done is not None and done.returncode == 0
    require("A small file system", mounted, "only root may mount one")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


@pytest.fixture
def app(small_disk: Path) -> Iterator[Flask]:
    app = create_app(make_settings(small_disk))
    with app.app_context():
        db.create_all()
        yield app
        db.session.remove()
        db.engine.dispose()


def fill(disk: Path) -> Path:
    """Leave not a single byte."""
    path = disk / "filler"
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    assert ballast.free_bytes(disk) == 0
    return path


def test_the_notice_of_a_failure_goes_out_and_the_ballast_comes_back(
    app: Flask, small_disk: Path, peer: Peer
) -> None:
    room.settle()
    stone = small_disk / ballast.NAME
    assert ballast.is_there(stone)
    assert health.look() == ()
    row = make_channel(config={"url": f"{peer.url}/hook", "method": "POST"})
    filler = fill(small_disk)

    target = Target(channel_id=row.id, channel_name=row.name, channel_type=row.type)
    with transaction() as session:
        for _ in range(50):
            outbox.write(session, BY_TYPE["backup_failure"].sample(), [target])
    dispatcher = Dispatcher(app, most_threads=4)
    dispatcher.start()
    peer.wait(20)  # what the rate of a webhook lets through at once
    assert dispatcher.stop(10)
    assert not stone.exists()
    assert [problem.key for problem in health.look()] == ["disk"]

    room.settle()  # the admins are told, too
    with reading() as session:
        [told] = session.scalars(select(ErrorReport.component)).all()
        sent = session.scalar(select(func.count()).where(Delivery.state == State.SENT))
    assert told == "Disk"
    assert sent is not None
    assert sent >= 20

    filler.unlink()
    room.settle()
    assert ballast.is_there(stone)
    assert health.look() == ()


def test_a_quota_that_hides_the_full_disk_costs_one_try(
    app: Flask, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room.settle()
    stone = small_disk / ballast.NAME
    row = make_channel()
    fill(small_disk)
    monkeypatch.setattr(ballast, "give_up_when_low", lambda _path: False)
    target = Target(channel_id=row.id, channel_name=row.name, channel_type=row.type)

    def publish() -> None:
        with transaction() as session:
            for _ in range(500):
                outbox.write(session, BY_TYPE["backup_failure"].sample(), [target])

    with pytest.raises(OperationalError, match="full"):
        publish()
    assert not stone.exists()
    publish()
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(Delivery)) == 500
