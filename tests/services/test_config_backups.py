"""Configuration backups: nothing is lost, nothing leaks, and a fresh installation gets it all."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from flask import Flask
from sqlalchemy import select, update

from tests.browser import PASSWORD
from tests.conftest import make_settings
from tests.factories import make_channel, make_destination, make_job, make_source, make_user
from webapp.app import create_app
from webapp.core import passphrase
from webapp.core.errors import ConflictError, InvalidError, SecretError
from webapp.models import db
from webapp.models.channel import ChannelRow
from webapp.models.delivery import EventRow
from webapp.models.job import Job, SourceRow
from webapp.models.routing import EventChannel, EventSetting, GlobalChannel, JobChannel
from webapp.models.user import Role, User
from webapp.services import (
    config_backups,
    notification_settings,
    passwords,
    preferences,
    signing_in,
    sources,
)
from webapp.services.channels import config_of
from webapp.services.config_backups import notification_fingerprint
from webapp.services.sessions import Visitor
from webapp.services.transaction import reading, transaction

pytestmark = pytest.mark.usefixtures("app")
PHRASE = "quiet rivers carry boats"
HOOK = "https://discord.com/api/webhooks/1174/sEcReT-tOkEn"
HERE = Visitor(ip_address="::1", browser="")


@pytest.fixture(autouse=True)
def cheap_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make guessing cheap, and the tests quick."""
    monkeypatch.setattr(passphrase, "N", 2**10)


@contextmanager
def fresh(path: Path) -> Iterator[Flask]:
    """An installation of another server: other keys, empty tables."""
    path.mkdir()
    app = create_app(
        make_settings(path, encryption_keys=(Fernet.generate_key().decode(),), base_url=None)
    )
    with app.app_context():
        db.create_all()
        yield app
        db.session.remove()
        db.engine.dispose()


def fill() -> None:
    """Set everything that can be set, in an order that is not alphabetical."""
    preferences.save(
        instance_name="Fernhill", base_url="https://fernhill.example.org", timezone="Europe/Berlin"
    )
    mail = make_channel(
        type="email",
        name="zz mail",
        config={"host": "mail.example.org", "port": 587, "password": "mAiLpAsS"},
    )
    hook = make_channel(
        type="discord", name="ops", config={"webhook_url": HOOK}, fallback_id=mail.id, enabled=False
    )
    own = make_channel(name="bridge", config={"url": "env:HOOK", "method": "PUT"})
    notification_settings.choose_global([own.id, mail.id])
    notification_settings.set_enabled("user_login", True)
    notification_settings.choose_channels("restore_failure", [hook.id, mail.id])
    notification_settings.choose_channels("config_backup", [])
    notification_settings.set_notify_user("user_login", "admin_and_user")
    source = make_source(
        type="postgresql",
        name="orders",
        config={"host": "db", "port": 5432, "database": "o", "user": "u", "password": "dBpAsS"},
    )
    first, second = make_destination(name="nas"), make_destination(name="attic")
    job = make_job(
        name="nightly",
        source_id=source.id,
        destinations=[second.id, first.id],
        schedule="30 2 * * 1-5",
        timezone="Europe/Berlin",
        keep_last=7,
        enabled=False,
    )
    with transaction() as session:
        session.add(JobChannel(job_id=job.id, channel_id=mail.id, condition="on_failure"))
        session.flush()
        session.add(JobChannel(job_id=job.id, channel_id=hook.id, condition="always"))
    make_user(name="Mara", email="Mara@example.org", role=Role.ADMIN, timezone="Asia/Tokyo")


def parsed(file: config_backups.ExportFile) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(file.content)
    return document


def test_a_fresh_installation_notifies_in_the_very_same_way(tmp_path: Path) -> None:
    fill()
    before = notification_fingerprint()
    content = config_backups.export(PHRASE).content

    with fresh(tmp_path / "other"):
        assert notification_fingerprint() != before
        summary = config_backups.import_(content, PHRASE)

        assert notification_fingerprint() == before
        assert (summary.identical, summary.fingerprint, summary.incomplete) == (True, before, ())
        assert (summary.channels, summary.jobs, summary.users) == (3, 1, 1)
        setup = notification_settings.overview()
        assert [channel.name for channel in setup.global_channels] == ["bridge", "zz mail"]


def test_secrets_are_sealed_with_the_keys_of_the_new_installation(tmp_path: Path) -> None:
    fill()
    content = config_backups.export(PHRASE).content
    with fresh(tmp_path / "other"):
        config_backups.import_(content, PHRASE)
        with reading() as session:
            ops = session.scalars(select(ChannelRow).where(ChannelRow.name == "ops")).one()
            mail = session.get_one(ChannelRow, ops.fallback_id)
            orders = session.scalars(select(SourceRow)).one()
        assert config_of(ops) == {"webhook_url": HOOK}
        assert (ops.enabled, mail.name) == (False, "zz mail")
        assert ops.summary
        assert "sEcReT" not in ops.summary
        assert sources.open_source(orders).secrets == ("dBpAsS",)


def test_jobs_come_back_with_schedule_destinations_and_notifications(tmp_path: Path) -> None:
    fill()
    content = config_backups.export(PHRASE).content
    with fresh(tmp_path / "other"):
        config_backups.import_(content, PHRASE)
        again = parsed(config_backups.export(None))
    (job,) = again["jobs"]
    assert (job["name"], job["schedule"], job["keep_last"]) == ("nightly", "30 2 * * 1-5", 7)
    assert (job["enabled"], job["timezone"]) == (False, "Europe/Berlin")
    assert (job["source"], job["destinations"]) == ("orders", ["attic", "nas"])
    assert job["notifications"] == [
        {"channel": "zz mail", "condition": "on_failure"},
        {"channel": "ops", "condition": "always"},
    ]


def test_a_second_export_of_the_new_installation_says_the_same(tmp_path: Path) -> None:
    fill()
    first = parsed(config_backups.export(None))
    content = config_backups.export(PHRASE).content
    with fresh(tmp_path / "other"):
        config_backups.import_(content, PHRASE)
        second = parsed(config_backups.export(None))
    del first["created_at"], second["created_at"]
    assert second == first


def test_people_sign_in_with_their_old_password(tmp_path: Path) -> None:
    fill()
    content = config_backups.export(PHRASE).content
    with fresh(tmp_path / "other"):
        config_backups.import_(content, PHRASE)
        user = signing_in.check("mara@example.org", PASSWORD, HERE)
    assert (user.name, user.role, user.timezone) == ("Mara", "admin", "Asia/Tokyo")


def test_an_account_that_exists_keeps_its_own_values(tmp_path: Path) -> None:
    fill()
    content = config_backups.export(PHRASE).content
    with fresh(tmp_path / "other"):
        mine = "lanterns over the harbour"
        make_user(name="New Mara", email="mara@example.org", password=mine, role=Role.ADMIN)
        assert config_backups.import_(content, PHRASE).users == 0
        with reading() as session:
            user = session.scalars(select(User)).one()
        assert user.name == "New Mara"
        assert passwords.matches(user.password_hash, mine)


@pytest.mark.parametrize("phrase", [PHRASE, None])
def test_no_secret_is_readable_in_the_file(phrase: str | None) -> None:
    fill()
    text = config_backups.export(phrase).content.decode()
    for secret in ("sEcReT-tOkEn", "mAiLpAsS", "dBpAsS", "argon2"):
        assert secret not in text
    assert "env:HOOK" in text


def test_a_value_that_no_form_knows_is_treated_as_a_secret() -> None:
    make_channel(config={"url": "env:HOOK", "token_of_an_older_version": "sEcReT"})
    assert b"sEcReT" not in config_backups.export(None).content


def test_the_file_says_what_it_is() -> None:
    sealed, bare = config_backups.export(PHRASE), config_backups.export(None)
    assert (sealed.encrypted, bare.encrypted) == (True, False)
    assert "sealed" in parsed(sealed)
    assert "sealed" not in parsed(bare)
    assert parsed(sealed)["format"] == "dbackup-configuration"
    assert sealed.name.startswith("dbackup-config-2")
    assert sealed.name.endswith("Z.json")


def test_a_file_without_secrets_brings_the_rest_and_says_what_is_missing(tmp_path: Path) -> None:
    fill()
    content = config_backups.export(None).content
    with fresh(tmp_path / "other"):
        summary = config_backups.import_(content, None)
        with reading() as session:
            enabled = dict(session.execute(select(ChannelRow.name, ChannelRow.enabled)).all())
        assert config_backups.export(PHRASE).encrypted
    assert summary.identical is None
    assert summary.incomplete == (
        "zz mail: enter password again.",
        "ops: enter webhook_url again.",
        "orders: enter password again.",
        "Mara@example.org: set a new password, it was not in the file.",
    )
    assert enabled == {"zz mail": False, "ops": False, "bridge": True}


def test_nobody_signs_in_without_a_password(tmp_path: Path) -> None:
    fill()
    content = config_backups.export(None).content
    with fresh(tmp_path / "other"):
        config_backups.import_(content, None)
        for tried in ("", PASSWORD):
            with pytest.raises(InvalidError):
                signing_in.check("mara@example.org", tried, HERE)


def test_an_installation_in_use_is_never_overwritten() -> None:
    fill()
    content = config_backups.export(PHRASE).content
    with pytest.raises(ConflictError, match="fresh installation"):
        config_backups.import_(content, PHRASE)


def test_a_wrong_passphrase_brings_nothing(tmp_path: Path) -> None:
    fill()
    content = config_backups.export(PHRASE).content
    with fresh(tmp_path / "other"):
        with pytest.raises(InvalidError, match="passphrase"):
            config_backups.import_(content, "another phrase entirely")
        with pytest.raises(InvalidError, match="Enter its passphrase"):
            config_backups.import_(content, None)
        assert parsed(config_backups.export(None))["channels"] == []


def test_a_file_changed_by_somebody_else_is_refused(tmp_path: Path) -> None:
    fill()
    content = config_backups.export(PHRASE).content
    changed = content.replace(b"mail.example.org", b"evil.example.org")
    assert changed != content
    with fresh(tmp_path / "other"), pytest.raises(InvalidError, match="was changed"):
        config_backups.import_(changed, PHRASE)


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"[]", b"{}", b'{"format": "other"}', b"null"]
)
def test_other_files_are_refused(content: bytes) -> None:
    with pytest.raises(InvalidError, match="not a configuration backup"):
        config_backups.import_(content, None)


def changed(change: dict[str, Any]) -> bytes:
    return json.dumps(parsed(config_backups.export(None)) | change).encode()


def test_a_newer_file_is_refused() -> None:
    with pytest.raises(InvalidError, match="newer version"):
        config_backups.import_(changed({"version": 2}), None)


@pytest.mark.parametrize(
    "change",
    [
        {"channels": None},
        {"channels": [{"name": "a"}]},
        {"global_channels": ["nobody"]},
        {"preferences": 3},
        {"users": [{"email": "a@b.c", "name": "", "role": "king", "active": True}]},
        {"events": [{"type": "x", "enabled": 1, "custom": 1, "notify_user": "?", "channels": []}]},
    ],
)
def test_a_damaged_file_changes_nothing(change: dict[str, Any]) -> None:
    content = changed(change)
    with pytest.raises(InvalidError, match="not a whole"):
        config_backups.import_(content, None)
    assert parsed(config_backups.export(None))["channels"] == []


@pytest.mark.parametrize(
    ("section", "change"),
    [
        ("channels", {}),  # a name twice
        ("sources", {}),
        ("jobs", {"name": ["a", "b"]}),
        ("jobs", {"name": "other", "enabled": {"a": 1}}),
        ("jobs", {"name": "other", "keep_last": 2**70}),
    ],
)
def test_what_no_table_takes_is_refused_in_words(
    tmp_path: Path, section: str, change: dict[str, Any]
) -> None:
    fill()
    document = parsed(config_backups.export(None))
    document[section].append(document[section][0] | change)
    with fresh(tmp_path / "other"):
        with pytest.raises(InvalidError, match="not a whole"):
            config_backups.import_(json.dumps(document).encode(), None)
        assert parsed(config_backups.export(None))["channels"] == []


def test_a_type_that_this_version_lacks_is_named() -> None:
    odd = {"name": "pager", "type": "pager", "config": {}, "secret_fields": [], "enabled": True}
    with pytest.raises(InvalidError, match="“pager” is of the type"):
        config_backups.import_(changed({"channels": [odd | {"fallback": None}]}), None)


@pytest.mark.parametrize(
    "statement",
    [
        update(ChannelRow).where(ChannelRow.name == "ops").values(enabled=True),
        update(ChannelRow).where(ChannelRow.name == "ops").values(name="ops2"),
        update(ChannelRow).where(ChannelRow.name == "ops").values(fallback_id=None),
        update(EventSetting)
        .where(EventSetting.event_type == "user_login")
        .values(notify_user="user_only"),
        update(EventSetting)
        .where(EventSetting.event_type == "restore_failure")
        .values(custom=False),
        update(EventChannel).values(position=9 - EventChannel.position),
        update(GlobalChannel).values(position=9 - GlobalChannel.position),
        update(JobChannel).where(JobChannel.id == 1).values(condition="always"),
    ],
    ids=str,
)
def test_whatever_changes_notifications_changes_the_fingerprint(statement: Any) -> None:
    fill()
    before = notification_fingerprint()
    with transaction() as session:
        session.execute(statement)
    assert notification_fingerprint() != before


def test_health_and_schedules_are_no_part_of_the_fingerprint() -> None:
    fill()
    before = notification_fingerprint()
    with transaction() as session:
        session.execute(update(ChannelRow).values(failure_count=3, last_error="404"))
        session.execute(update(Job).values(schedule="0 3 * * *"))
    assert notification_fingerprint() == before


def test_an_event_at_its_default_counts_the_same_stored_or_not() -> None:
    before = notification_fingerprint()
    notification_settings.set_enabled("system_error", True)
    assert notification_fingerprint() == before


def published() -> list[EventRow]:
    with reading() as session:
        return list(session.scalars(select(EventRow)))


def test_a_backup_publishes_its_event() -> None:
    file = config_backups.back_up(PHRASE, destination="Download by Mara")
    (event,) = published()
    assert event.type == "config_backup"
    assert event.payload == {
        "file": file.name,
        "size": len(file.content),
        "encrypted": True,
        "destination": "Download by Mara",
    }


def test_a_short_passphrase_is_a_mistake_and_no_failure() -> None:
    with pytest.raises(InvalidError, match="at least 12"):
        config_backups.back_up("short", destination="Download by Mara")
    assert published() == []


def test_a_backup_that_fails_is_reported_to_the_admins() -> None:
    make_channel()
    with transaction() as session:
        session.execute(update(ChannelRow).values(config="gAAAAA"))
    with pytest.raises(SecretError):
        config_backups.back_up(PHRASE, destination="Download by Mara")
    (event,) = published()
    assert (event.type, event.payload["component"]) == ("system_error", "Configuration backup")


def test_a_file_that_could_not_be_stored_is_not_announced_as_written() -> None:
    def full(_file: config_backups.ExportFile) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        config_backups.back_up(PHRASE, destination="/mnt/full", store=full)
    (event,) = published()
    assert event.type == "system_error"
