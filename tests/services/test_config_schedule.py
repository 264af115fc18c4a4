"""Configuration backups by schedule reach their destination, or somebody hears why not."""

from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select

from tests.factories import make_channel, make_destination
from webapp.backup.destinations.local import Local
from webapp.backup.errors import BackupError
from webapp.core import clock
from webapp.core.errors import InvalidError
from webapp.models.audit import AuditEntry
from webapp.models.delivery import EventRow
from webapp.models.job import DestinationRow
from webapp.models.setting import Setting
from webapp.services import config_backups, config_schedule, key_rotation
from webapp.services.transaction import reading

PASSPHRASE = "quiet rivers carry boats"


@pytest.fixture
def place(app: Flask, tmp_path: Path) -> DestinationRow:
    row: DestinationRow = make_destination(name="nas", config={"path": str(tmp_path / "nas")})
    return row


def save(place: DestinationRow | None, **changes: object) -> None:
    values: dict[str, object] = {
        "enabled": True,
        "schedule": "* * * * *",
        "destination_id": place.id if place else None,
        "keep_last": 2,
        "sealed": True,
        "typed": PASSPHRASE,
    }
    config_schedule.save(**(values | changes))  # type: ignore[arg-type]


def wait(app: Flask) -> bool:
    thread = config_schedule.begin_due(app)
    if thread is not None:
        thread.join()
    return thread is not None


def types() -> list[str]:
    with reading() as session:
        return list(session.scalars(select(EventRow.type).order_by(EventRow.id)))


def test_it_is_made_when_due_kept_in_number_and_announced(
    app: Flask, place: DestinationRow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_channel(name="Ops")
    save(place)
    assert not wait(app)
    start = clock.now()
    for minute in (1, 2, 3):
        later = start + timedelta(minutes=minute)
        monkeypatch.setattr(clock, "now", lambda later=later: later)
        assert wait(app)
        assert not wait(app)
    files = sorted((tmp_path / "nas").rglob("*.json"))
    assert len(files) == 2
    assert types() == ["config_backup"] * 3
    assert config_schedule.current().last_file == files[-1].name
    assert b'"Ops"' in files[-1].read_bytes()
    opened = config_backups._opened  # the sealed part opens with the stored passphrase
    document = config_backups._parsed(files[-1].read_bytes())
    sealed = document.pop(config_backups.SEALED)
    assert "channels" in opened(sealed, PASSPHRASE, document)


def test_what_another_installation_stored_there_stays(
    app: Flask, place: DestinationRow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(place, keep_last=1)
    folder = tmp_path / "nas" / config_schedule.FOLDER
    folder.mkdir(parents=True)
    theirs = folder / "dbackup-config-2026-01-01T03-30-00Z.json"
    theirs.write_text("the only copy of the installation that was lost")
    start = clock.now()
    for minute in (1, 2):
        later = start + timedelta(minutes=minute)
        monkeypatch.setattr(clock, "now", lambda later=later: later)
        assert config_schedule.run().last_error == ""
    assert theirs.exists()
    assert len(list(folder.iterdir())) == 2  # theirs, and the newest of ours


def test_a_stored_backup_is_none_that_failed_when_older_ones_cannot_be_deleted(
    app: Flask, place: DestinationRow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(place, keep_last=1)
    first = config_schedule.run().last_file
    later = clock.now() + timedelta(minutes=1)
    monkeypatch.setattr(clock, "now", lambda: later)

    def refuse(self: Local, key: str) -> None:
        raise BackupError("Nothing is deleted here.")

    with monkeypatch.context() as held:  # as a bucket that keeps everything does
        held.setattr(Local, "delete", refuse)
        plan = config_schedule.run()
    assert types() == ["config_backup", "config_backup", "system_error"]
    assert plan.last_file != first
    assert plan.last_error == (
        "It was stored, but older ones were not deleted. Nothing is deleted here."
    )
    latest = clock.now() + timedelta(minutes=2)
    monkeypatch.setattr(clock, "now", lambda: latest)
    assert config_schedule.run().last_error == ""
    assert len(list((tmp_path / "nas").rglob("*.json"))) == 1


def test_a_failure_is_a_system_error_and_shown(
    app: Flask, place: DestinationRow, tmp_path: Path
) -> None:
    save(place)
    (tmp_path / "nas").write_text("a file where the directory should be")
    plan = config_schedule.run()
    assert plan.last_error
    assert types() == ["system_error"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"typed": ""}, "passphrase"),
        ({"typed": "short"}, "passphrase"),
        ({"typed": "env:NOBODY_SET_THIS"}, "passphrase"),
        ({"schedule": "whenever"}, "schedule"),
        ({"keep_last": 0}, "keep_last"),
        ({"destination_id": 999}, "destination_id"),
    ],
)
def test_what_cannot_be_is_refused_at_its_field(
    place: DestinationRow, changes: dict[str, object], field: str
) -> None:
    with pytest.raises(InvalidError) as caught:
        save(place, **changes)
    assert caught.value.field == field


def test_the_passphrase_is_stored_sealed_and_rotated_with_the_others(
    place: DestinationRow,
) -> None:
    save(place)
    with reading() as session:
        before = session.get_one(Setting, config_schedule.SECRET).value
        assert PASSPHRASE not in before
    key_rotation.reseal()
    with reading() as session:
        assert session.get_one(Setting, config_schedule.SECRET).value != before
    assert config_schedule.run().last_error == ""


def test_without_secrets_no_passphrase_stays(place: DestinationRow, tmp_path: Path) -> None:
    save(place)
    save(place, sealed=False, typed="")
    assert not config_schedule.current().has_passphrase
    assert config_schedule.run().last_error == ""


def test_the_audit_log_holds_what_was_chosen_and_not_each_backup(place: DestinationRow) -> None:
    save(place)
    config_schedule.run()
    save(place, keep_last=7)
    with reading() as session:
        noted = session.scalars(
            select(AuditEntry).where(AuditEntry.object == config_schedule.KEY)
        ).all()
    assert [entry.action for entry in noted] == ["setting.created", "setting.changed"]
    assert (noted[0].after or {})["keep_last"] == 2
    assert (noted[1].before, noted[1].after) == ({"keep_last": 2}, {"keep_last": 7})
