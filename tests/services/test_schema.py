"""The tables are at the revision that this version needs, or somebody is told."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from flask import Flask
from sqlalchemy import func, inspect, select, text

from tests.conftest import make_settings
from tests.factories import make_channel
from tests.torture import upgrades
from webapp.app import create_app
from webapp.core import clock
from webapp.core.settings import PROJECT_ROOT
from webapp.models import Base, db
from webapp.models.delivery import Attempt, Delivery, EventRow
from webapp.notify.events import BY_TYPE
from webapp.services import outbox, schema
from webapp.services.routing import Target
from webapp.services.schema import SchemaError
from webapp.services.transaction import transaction


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


TABLES = (EventRow, Delivery, Attempt)


def in_use() -> None:
    """Make an event with two deliveries, one of which was tried."""
    rows = [make_channel(), make_channel()]
    targets = [
        Target(channel_id=row.id, channel_name=row.name, channel_type=row.type) for row in rows
    ]
    with transaction() as session:
        outbox.write(session, BY_TYPE["restore_failure"].sample(), targets)
        tried = session.scalars(select(Delivery.id)).first()
        session.add(
            Attempt(delivery_id=tried, number=1, started_at=clock.now(), duration_ms=1, outcome="x")
        )


def counts() -> list[int]:
    with db.engine.connect() as connection:
        return [
            connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in TABLES
        ]


def test_an_upgrade_that_makes_tables_anew_keeps_every_row_that_refers_to_them(
    empty: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "REVISIONS", upgrades.copied_to(tmp_path / "migrations"))
    schema.upgrade()
    in_use()
    for _ in range(2):
        wanted = upgrades.add(schema.REVISIONS)
        assert schema.upgrade()
        assert schema.stored() == wanted
        assert counts() == [1, 2, 1]
    with db.engine.connect() as connection:
        assert connection.scalar(text("PRAGMA foreign_keys")) == 1, "references are enforced again"


def test_an_upgrade_that_leaves_a_reference_to_nothing_is_undone(
    empty: Flask,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(schema, "REVISIONS", upgrades.copied_to(tmp_path / "migrations"))
    schema.upgrade()
    in_use()
    before = schema.stored()
    path = schema.REVISIONS / f"{upgrades.add(schema.REVISIONS)}_again.py"
    path.write_text(f"{path.read_text()}    op.execute('DELETE FROM event')\n")
    with pytest.raises(SystemExit):
        schema.upgrade()
    assert "a row of delivery would refer to a row of event" in caplog.text
    assert schema.stored() == before
    assert counts() == [1, 2, 1]
    with db.engine.connect() as connection:
        assert connection.scalar(text("PRAGMA foreign_keys")) == 1
