from pathlib import Path

import pytest
from flask import Flask

from tests.conftest import make_settings
from tests.factories import make_job, make_source
from webapp.core.errors import ConflictError, InvalidError, NotFoundError, SecretError
from webapp.models.job import SourceRow
from webapp.services import destinations
from webapp.services.connections import Values
from webapp.services.installation import install
from webapp.services.sources import BOOK, open_source
from webapp.services.transaction import reading

POSTGRES = {
    "host": "127.0.0.1",
    "port": 1,
    "database": "shop",
    "user": "backup",
    "password": "deep blue lagoon",
    "sslmode": "prefer",
    "sslrootcert": "",
}
pytestmark = pytest.mark.usefixtures("app")


def _stored(row_id: int) -> SourceRow | None:
    with reading() as session:
        return session.get(SourceRow, row_id)


def test_a_new_source_is_sealed_and_its_summary_may_be_shown() -> None:
    row = BOOK.create("postgresql", Values(name="Shop", config=POSTGRES))
    assert row.summary == "shop on 127.0.0.1:1"
    assert "lagoon" not in row.config
    assert open_source(row).config == POSTGRES


def test_a_reference_is_read_when_the_source_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    values = Values(name="Shop", config=POSTGRES | {"password": "env:SHOP_PASSWORD"})
    row = BOOK.create("postgresql", values)
    with pytest.raises(SecretError, match="SHOP_PASSWORD is not set"):
        open_source(row)
    monkeypatch.setenv("SHOP_PASSWORD", "from outside")
    assert open_source(row).secrets == ("from outside",)


def test_the_setting_for_private_networks_counts_for_databases_and_destinations(
    app: Flask, tmp_path: Path
) -> None:
    install(app, make_settings(tmp_path, allow_private_networks="none"))
    source = BOOK.create("postgresql", Values(name="Shop", config=POSTGRES))
    assert "private network" in BOOK.test(source.id).words
    config = {"host": "127.0.0.1", "port": 1, "user": "u", "path": "p", "password": "p"}
    place = destinations.BOOK.create("sftp", Values(name="Far", config=config))
    assert "private network" in destinations.BOOK.test(place.id).words
    install(app, make_settings(tmp_path, allow_private_networks="self-hosted"))
    assert "Nothing answers" in BOOK.test(source.id).words
    assert "Nothing answers" in destinations.BOOK.test(place.id).words


def test_only_secrets_may_be_references(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a host "env:NAME" would show a variable of the server in an error."""
    monkeypatch.setenv("SHOP_PASSWORD", "from outside")
    row = BOOK.create(
        "postgresql", Values(name="S", config=POSTGRES | {"host": "env:SHOP_PASSWORD"})
    )
    assert open_source(row).config["host"] == "env:SHOP_PASSWORD"


def test_a_taken_name_is_refused_on_creating_and_saving() -> None:
    first, second = make_source(name="Shop"), make_source(name="Till")
    values = Values(name="Shop", config={"path": "/srv/x.db"})
    with pytest.raises(InvalidError, match="called “Shop” already") as caught:
        BOOK.create("sqlite", values)
    assert caught.value.field == "name"
    with pytest.raises(InvalidError):
        BOOK.save(second.id, second.version, values)
    assert BOOK.save(first.id, first.version, values).name == "Shop"


def test_an_unknown_type_is_refused() -> None:
    with pytest.raises(InvalidError, match="no source of type “oracle”"):
        BOOK.create("oracle", Values(name="x", config={}))


def test_a_stale_edit_does_not_have_the_last_word() -> None:
    row = make_source(name="Shop")
    BOOK.save(row.id, row.version, Values(name="First", config={"path": "/srv/1.db"}))
    with pytest.raises(ConflictError, match="Somebody else changed this source"):
        BOOK.save(row.id, row.version, Values(name="Second", config={"path": "/srv/2.db"}))
    stored = _stored(row.id)
    assert stored is not None
    assert (stored.name, stored.summary) == ("First", "/srv/1.db")


def test_a_source_that_jobs_use_is_not_deleted_and_the_jobs_are_named() -> None:
    row = make_source(name="Shop")
    for name in ("Weekly", "Nightly"):
        make_job(name=name, source_id=row.id)
    with pytest.raises(ConflictError, match="Shop is used by “Nightly”, “Weekly”"):
        BOOK.delete(row.id)
    assert _stored(row.id) is not None


def test_a_source_that_nothing_uses_is_deleted() -> None:
    row = make_source(name="Shop")
    assert BOOK.delete(row.id) == "Shop"
    assert _stored(row.id) is None
    with pytest.raises(NotFoundError, match="no such source"):
        BOOK.delete(row.id)


def test_the_list_names_the_jobs() -> None:
    row = make_source(name="Shop")
    make_job(name="Nightly", source_id=row.id)
    assert [(item.row.name, item.jobs) for item in BOOK.listed() if item.jobs] == [
        ("Shop", ("Nightly",))
    ]


def test_a_test_says_what_is_there(tmp_path: Path) -> None:
    trial = BOOK.test(make_source(config={"path": f"{tmp_path}/dbackup.db"}).id)
    assert trial.ok
    assert trial.words.startswith("SQLite 3.")


def test_a_failed_test_says_what_to_do_and_hides_the_password() -> None:
    trial = BOOK.test_config("postgresql", Values(name="Shop", config=POSTGRES))
    assert not trial.ok
    assert "Nothing answers at 127.0.0.1:1" in trial.words
    assert "lagoon" not in trial.words


def test_a_test_without_its_secret_is_a_failed_test() -> None:
    config = POSTGRES | {"password": "file:/nowhere/password"}
    trial = BOOK.test_config("postgresql", Values(name="Shop", config=config))
    assert not trial.ok
    assert "/nowhere/password cannot be read" in trial.words
