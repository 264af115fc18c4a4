"""The tables are at the revision that this version needs, or somebody is told."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from flask import Flask
from sqlalchemy import inspect, text

from tests.conftest import make_settings
from webapp.app import create_app
from webapp.core.settings import PROJECT_ROOT
from webapp.models import Base, db
from webapp.services import schema
from webapp.services.schema import SchemaError


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Flask]:
    """An application whose database has no tables."""
    app = create_app(make_settings(tmp_path))
    with app.app_context():
        yield app
        db.engine.dispose()


def pretend(revision: str) -> None:
    with db.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :to"), {"to": revision})


def test_the_newest_file_is_the_head_that_alembic_sees() -> None:
    scripts = ScriptDirectory(str(PROJECT_ROOT / "migrations"))
    assert schema.known()[-1] == scripts.get_current_head()
    assert len(schema.known()) == len(list(scripts.walk_revisions()))


def test_an_empty_database_gets_every_table(empty: Flask) -> None:
    assert schema.stored() is None
    assert schema.upgrade()
    assert schema.stored() == schema.known()[-1]
    tables = set(inspect(db.engine).get_table_names())
    assert tables == {*Base.metadata.tables, "alembic_version"}


def test_a_current_database_is_left_alone(empty: Flask) -> None:
    schema.upgrade()
    assert not schema.upgrade()


def test_commands_make_the_tables_of_an_empty_database(empty: Flask) -> None:
    schema.require_current()
    assert schema.stored() == schema.known()[-1]


def test_a_database_of_a_newer_version_is_refused(empty: Flask) -> None:
    schema.upgrade()
    pretend("9999")
    with pytest.raises(SchemaError, match="newer version"):
        schema.upgrade()
    with pytest.raises(SchemaError, match="newer version"):
        schema.require_current()


def test_a_database_that_cannot_be_opened_says_so(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'missing' / 'dbackup.db'}"
    app = create_app(make_settings(tmp_path, database_url=url))
    with app.app_context():
        with pytest.raises(SchemaError, match="DBACKUP_DATABASE_URL"):
            schema.stored()
        db.engine.dispose()
