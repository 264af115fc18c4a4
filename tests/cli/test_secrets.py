"""dbackup secrets, with the key rotation behind it."""

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
from webapp.services import key_rotation
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
