"""dbackup secrets, with the key rotation behind it."""

import threading
import time
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from flask import Flask

from tests.conftest import KEY, make_settings
from tests.factories import make_channel, make_destination, make_source
from webapp.core.errors import SecretError
from webapp.core.secrets import Sealer
from webapp.models.channel import ChannelRow
from webapp.models.job import DestinationRow, SourceRow
from webapp.models.run import Restore
from webapp.services import key_rotation, restore_work
from webapp.services.installation import install
from webapp.services.transaction import reading, transaction

NEW = Fernet.generate_key().decode()


def configs() -> list[str]:
    with reading() as session:
        tables = (ChannelRow, SourceRow, DestinationRow)
        return [row.config for table in tables for row in session.query(table)]


def test_everything_stored_opens_with_the_new_key_alone(
    dbackup, app: Flask, tmp_path: Path
) -> None:
    make_channel()
    make_source()
    make_destination()
    install(app, make_settings(tmp_path, encryption_keys=(NEW, KEY)))
    result = dbackup("secrets", "rotate")
    assert result.stdout == "Sealed 3 configurations anew.\n"
    opened = [Sealer([NEW]).open(config) for config in configs()]
    assert opened[1] == {"path": "/srv/app.db"}
    assert len(opened) == 3


def test_one_that_cannot_be_opened_leaves_all_as_they_were(app: Flask, tmp_path: Path) -> None:
    make_channel(name="Old")
    lost = make_channel(name="Lost", config={})
    stranger = Sealer([Fernet.generate_key().decode()]).seal({})
    with transaction() as session:
        session.get_one(ChannelRow, lost.id).config = stranger
    before = configs()
    install(app, make_settings(tmp_path, encryption_keys=(NEW, KEY)))
    with pytest.raises(SecretError, match="“Lost”"):
        key_rotation.reseal()
    assert configs() == before
    assert key_rotation.unopenable() == ["channel “Lost”"]


def test_a_restore_that_waits_opens_its_artifact_with_the_new_key_alone(
    app: Flask, tmp_path: Path
) -> None:
    waiting = Restore(
        artifact_key="shop/1.sqlite.zst.age",
        source_type="sqlite",
        target="/srv/shop.db",
        unlock=restore_work.seal_unlock("correct horse battery"),
    )
    with transaction() as session:
        session.add(waiting)
    install(app, make_settings(tmp_path, encryption_keys=(NEW, KEY)))
    key_rotation.reseal()
    with reading() as session:
        unlock = session.get_one(Restore, waiting.id).unlock
    assert Sealer([NEW]).open(unlock or "") == {"unlock": "correct horse battery"}


@pytest.mark.postgres
def test_what_is_saved_during_a_rotation_is_not_overwritten(
    postgres_app: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = make_channel(config={"url": "https://old.example.org/"})
    install(postgres_app, make_settings(tmp_path, encryption_keys=(NEW, KEY)))
    has_read, reseal = threading.Event(), Sealer.reseal

    def slowly(self: Sealer, sealed: str) -> str:
        has_read.set()
        time.sleep(1)
        return reseal(self, sealed)

    def rotate() -> None:
        with postgres_app.app_context():
            key_rotation.reseal()

    monkeypatch.setattr(Sealer, "reseal", slowly)
    rotation = threading.Thread(target=rotate)
    rotation.start()
    assert has_read.wait(10)
    with transaction() as session:
        row = session.get_one(ChannelRow, channel.id)
        row.config = Sealer([NEW]).seal({"url": "https://new.example.org/"})
    rotation.join(20)
    with reading() as session:
        stored = session.get_one(ChannelRow, channel.id).config
    assert Sealer([NEW]).open(stored) == {"url": "https://new.example.org/"}
