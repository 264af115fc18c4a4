"""The doctor finds what is wrong and says what to do."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from flask import Flask

from tests.conftest import make_settings
from tests.factories import make_channel, make_source, make_user
from webapp.app import create_app
from webapp.backup.sources import postgresql_clients
from webapp.core import clock
from webapp.models import db
from webapp.models.delivery import EventRow
from webapp.models.run import Restore
from webapp.models.setting import Setting
from webapp.models.user import User
from webapp.services import config_schedule, doctor, heartbeat, schema
from webapp.services.doctor import Finding, Level
from webapp.services.installation import install, installation
from webapp.services.transaction import transaction


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    """An installation as `dbackup serve` makes it; htmx is a file that is there."""
    app = create_app(make_settings(tmp_path, htmx_url="/static/app.js"))
    with app.app_context():
        schema.upgrade()
        yield app
        db.session.remove()
        db.engine.dispose()


def problems(what: str) -> list[Finding]:
    return [
        finding
        for finding in doctor.examine()
        if finding.level is Level.PROBLEM and finding.what == what
    ]


def test_a_sound_installation_has_no_problems(app: Flask) -> None:
    findings = doctor.examine()
    assert [finding for finding in findings if finding.level is Level.PROBLEM] == []
    assert {finding.what for finding in findings} == {what for what, _ in doctor.CHECKS}


def test_missing_tables_are_a_problem_with_a_cure(tmp_path: Path) -> None:
    app = create_app(make_settings(tmp_path, htmx_url="/static/app.js"))
    with app.app_context():
        (finding,) = problems("Database")
        db.engine.dispose()
    assert "dbackup serve" in finding.advice


def test_half_a_password_that_was_taken_for_a_host_is_not_shown(tmp_path: Path) -> None:
    url = "postgresql+psycopg://dbackup:wal@nut77x@db.invalid/dbackup"
    app = create_app(make_settings(tmp_path, htmx_url="/static/app.js", database_url=url))
    with app.app_context():
        (finding,) = problems("Database")
        db.engine.dispose()
    assert "nut77x" not in finding.words
    assert "failed to resolve host '***@db.invalid'" in finding.words


def test_a_lost_key_names_what_it_would_open(app: Flask, tmp_path: Path) -> None:
    make_channel(name="Ops")
    sealer = installation().sealer
    user = make_user(email="mara@example.org")
    with transaction() as session:
        session.merge(Setting(key=heartbeat.KEY, value=sealer.seal({"url": "https://x.example"})))
        session.merge(Setting(key=config_schedule.SECRET, value=sealer.seal({"typed": "x"})))
        session.get_one(User, user.id).totp_secret = sealer.seal({"totp": "x"})
        session.add(
            Restore(
                artifact_key="a", source_type="sqlite", target="/b", unlock=sealer.seal({"a": "b"})
            )
        )
    install(app, make_settings(tmp_path, encryption_keys=(Fernet.generate_key().decode(),)))
    (finding,) = problems("Keys")
    assert "channel “Ops”" in finding.words
    assert "second factor of mara@example.org" in finding.words
    assert "heartbeat address" in finding.words
    assert "passphrase of the configuration backup" in finding.words
    assert "restore 1" in finding.words


def test_a_key_file_that_others_may_read_is_a_problem(app: Flask, tmp_path: Path) -> None:
    (tmp_path / "secret_key").write_text("s")
    (tmp_path / "secret_key").chmod(0o644)
    (finding,) = problems("Keys")
    assert finding.advice == f"Run: chmod 600 {tmp_path / 'secret_key'}"


def test_a_clock_behind_what_is_stored_is_a_problem(app: Flask) -> None:
    with transaction() as session:
        session.add(
            EventRow(type="user_login", payload={}, occurred_at=clock.now() + timedelta(hours=1))
        )
    (finding,) = problems("Clock")
    assert "3600 s" in finding.words or "3599 s" in finding.words


@pytest.mark.parametrize(("used", "count"), [(True, 2), (False, 0)])
def test_missing_client_programs_are_a_problem_only_where_they_are_needed(
    app: Flask, monkeypatch: pytest.MonkeyPatch, used: bool, count: int
) -> None:
    make_source(type="postgresql" if used else "sqlite")
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(postgresql_clients, "DEBIAN", Path("/nonexistent"))
    assert len(problems("Client programs")) == count


def test_a_vendored_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    app = create_app(make_settings(tmp_path, htmx_url="/static/vendor/nothing.js"))
    with app.app_context():
        schema.upgrade()
        (finding,) = [item for item in doctor.examine() if item.what == "htmx"]
        db.engine.dispose()
    assert finding.level is Level.NOTE
    assert "make vendor" in finding.advice
