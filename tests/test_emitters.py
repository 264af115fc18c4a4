"""Every event of the catalogue comes from the use case it tells about. Nothing here publishes."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from flask import Flask
from sqlalchemy import select

from tests.browser import Browser
from tests.factories import make_channel, make_destination, make_job, make_source, make_user
from tests.services.restoring import fill, sqlite_artifact
from webapp.core import clock
from webapp.models.delivery import EventRow
from webapp.models.job import Job
from webapp.models.run import ArtifactRow, Run
from webapp.models.user import Role
from webapp.notify.events import EVENTS
from webapp.services import (
    config_schedule,
    due_jobs,
    processes,
    restore_work,
    restores,
    runs,
)
from webapp.services.transaction import reading, transaction


@dataclass(frozen=True)
class World:
    """What an emitter finds."""

    app: Flask
    folder: Path

    def admin(self) -> Browser:
        make_user(role=Role.ADMIN, name="Mara", email="mara@example.org")
        browser = Browser(self.app)
        browser.sign_in("mara@example.org")
        return browser

    def job(self, *places: str, **values: object) -> Job:
        source = make_source(name="shop", config={"path": str(fill(self.folder / "shop.db"))})
        ids = [
            make_destination(name=name, config={"path": str(self.folder / name)}).id
            for name in places or ("nas",)
        ]
        job: Job = make_job(name="Shop", source_id=source.id, destinations=ids, **values)
        return job

    def run(self, job: Job) -> None:
        runs.start(job.id, "manual", "Mara")
        run_id = runs.claim()
        assert run_id is not None
        runs.execute(run_id)


def sign_in(world: World) -> None:
    world.admin()


def create_user(world: World) -> None:
    form = {
        "email": "new@example.org",
        "name": "New",
        "role": "viewer",
        "password": "quiet rivers carry boats",
        "repeated": "quiet rivers carry boats",
    }
    world.admin().post("/users/new", form)


def restore(world: World) -> None:
    _restore(sqlite_artifact(world.folder), world.folder / "again.db")


def restore_a_damaged_backup(world: World) -> None:
    artifact = sqlite_artifact(world.folder)
    stored = world.folder / "backups" / artifact.key
    stored.write_bytes(stored.read_bytes()[:-9])
    _restore(artifact, world.folder / "again.db")


def _restore(artifact: ArtifactRow, target: Path) -> None:
    restores.request(artifact.id, target=str(target), source_id=None, requested_by="Mara")
    restore_id = restore_work.claim()
    assert restore_id is not None
    restore_work.carry_out(restore_id)


def download_the_configuration(world: World) -> None:
    world.admin().post("/settings/configuration-backup", {"secrets": "leave_out"}, status=200)


def fail_to_store_the_configuration(world: World) -> None:
    (world.folder / "nas").write_text("a file where the directory should be")
    place = make_destination(config={"path": str(world.folder / "nas")})
    config_schedule.save(
        enabled=True,
        schedule="0 3 * * *",
        destination_id=place.id,
        keep_last=3,
        sealed=False,
        typed="",
    )
    config_schedule.run()


def back_up(world: World) -> None:
    world.run(world.job())


def back_up_to_one_of_two(world: World) -> None:
    (world.folder / "full").write_text("a file where the directory should be")
    world.run(world.job("nas", "full"))


def back_up_what_is_gone(world: World) -> None:
    job = world.job()
    (world.folder / "shop.db").unlink()
    world.run(job)


def stop_a_run(world: World) -> None:
    job = world.job()
    run_id = runs.start(job.id, "manual", "Mara")
    world.admin().post(f"/runs/{run_id}/stop")


def die_while_a_run_goes(world: World) -> None:
    job = world.job()
    with transaction() as session:
        run = Run(
            job_id=job.id,
            job_name=job.name,
            trigger="manual",
            owner=f"{processes.owner().split(':')[0]}:4194303:1",
        )
        session.add(run)
    runs.recover()


def sleep_over_a_start(world: World) -> None:
    world.job(schedule="0 * * * *", served_until=clock.now() - timedelta(hours=3))
    assert due_jobs.hold()
    for job_id in due_jobs.overdue():
        due_jobs.serve(job_id)


def try_a_channel(world: World) -> None:
    channel = make_channel()
    world.admin().post(f"/channels/{channel.id}/test")


EMITTERS: Final[dict[str, Callable[[World], None]]] = {
    "user_login": sign_in,
    "user_created": create_user,
    "restore_complete": restore,
    "restore_failure": restore_a_damaged_backup,
    "config_backup": download_the_configuration,
    "system_error": fail_to_store_the_configuration,
    "backup_success": back_up,
    "backup_partial": back_up_to_one_of_two,
    "backup_failure": back_up_what_is_gone,
    "backup_cancelled": stop_a_run,
    "backup_interrupted": die_while_a_run_goes,
    "backup_missed": sleep_over_a_start,
    "channel_test": try_a_channel,
}


def published() -> list[str]:
    with reading() as session:
        return list(session.scalars(select(EventRow.type)))


def test_every_event_has_its_emitter_and_no_other_has() -> None:
    assert set(EMITTERS) == {event.type for event in EVENTS}


@pytest.mark.parametrize("event_type", [event.type for event in EVENTS])
def test_the_use_case_publishes_it(app: Flask, tmp_path: Path, event_type: str) -> None:
    EMITTERS[event_type](World(app, tmp_path))
    assert published().count(event_type) == 1


def test_a_cancelled_restore_is_published_by_the_button(app: Flask, tmp_path: Path) -> None:
    """The same event as a failed one, in its own words."""
    artifact = sqlite_artifact(tmp_path)
    browser = World(app, tmp_path).admin()
    browser.post("/restores", {"artifact": str(artifact.id), "target": str(tmp_path / "new.db")})
    browser.post("/restores/1/stop")
    assert published().count("restore_failure") == 1
    with reading() as session:
        row = session.scalars(select(EventRow).where(EventRow.type == "restore_failure")).one()
    assert row.payload["stopped_by"] == "Mara"
