"""Stored channels are opened with their secrets read at call time."""

from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from tests.factories import make_channel
from webapp.core.errors import PermanentError, SecretError
from webapp.core.secrets import Sealer
from webapp.models.channel import ChannelRow
from webapp.services import channels
from webapp.services.transaction import reading, transaction

pytestmark = pytest.mark.usefixtures("app")

URL = "https://hooks.example.org/backup"


def stored_again(row: ChannelRow) -> ChannelRow:
    with reading() as session:
        return session.get_one(ChannelRow, row.id)


def test_a_stored_channel_opens_with_its_configuration() -> None:
    channel = channels.open_channel(make_channel(type="webhook", config={"url": URL}))
    assert channel.type == "webhook"
    assert channel.config["url"] == URL


def test_a_reference_to_a_variable_is_followed_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    row = make_channel(type="email", config={"password": "env:MAIL_PASSWORD"})
    monkeypatch.setenv("MAIL_PASSWORD", "first")
    assert channels.open_channel(row).config["password"] == "first"
    monkeypatch.setenv("MAIL_PASSWORD", "second")
    assert channels.open_channel(row).config["password"] == "second"


def test_a_reference_to_a_file_is_read_each_time(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("first\n")
    row = make_channel(type="email", config={"password": f"file:{secret}"})
    assert channels.open_channel(row).config["password"] == "first"
    secret.write_text("second\n")
    assert channels.open_channel(row).config["password"] == "second"


def test_the_stored_configuration_keeps_the_reference_itself() -> None:
    row = make_channel(type="email", config={"password": "env:MAIL_PASSWORD"})
    assert channels.config_of(row)["password"] == "env:MAIL_PASSWORD"


def test_only_secret_fields_are_references(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOT_A_SECRET", "leaked")
    row = make_channel(type="email", config={"sender_name": "env:NOT_A_SECRET"})
    assert channels.open_channel(row).config["sender_name"] == "env:NOT_A_SECRET"


def test_a_reference_that_leads_nowhere_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MAIL_PASSWORD", raising=False)
    row = make_channel(type="email", config={"password": "env:MAIL_PASSWORD"})
    with pytest.raises(SecretError, match="MAIL_PASSWORD is not set"):
        channels.open_channel(row)


def test_a_configuration_sealed_with_a_lost_key_says_what_to_restore() -> None:
    row = make_channel(type="webhook")
    row.config = Sealer([Fernet.generate_key().decode()]).seal({"url": URL})
    with pytest.raises(SecretError, match="encryption_keys"):
        channels.open_channel(row)


def test_a_type_of_another_version_is_refused_in_words() -> None:
    with pytest.raises(PermanentError, match="carrier_pigeon") as caught:
        channels.open_channel(make_channel(type="carrier_pigeon"))
    assert caught.value.breaks_channel
    assert "Update DBackup" in caught.value.advice


def test_changes_from_a_service_are_stored_without_making_open_forms_stale() -> None:
    row = make_channel(type="webhook", config={"url": URL, "chat": "old"})
    with transaction() as session:
        channels.store_config_changes(session, row.id, {"chat": "new"})
    again = stored_again(row)
    assert channels.config_of(again) == {"url": URL, "chat": "new"}
    assert again.version == row.version


def test_changes_for_a_deleted_channel_are_dropped() -> None:
    with transaction() as session:
        channels.store_config_changes(session, 4711, {"chat": "new"})
