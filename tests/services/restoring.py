"""Real artifacts for tests of restores and of the explorer: made by the engine itself."""

import sqlite3
from contextlib import closing
from pathlib import Path

from tests.factories import make_destination, make_source
from webapp.backup.engine import Place, back_up
from webapp.models.job import DestinationRow, SourceRow
from webapp.models.run import ArtifactRow, Restore
from webapp.services.destinations import open_destination
from webapp.services.sources import open_source
from webapp.services.transaction import reading, transaction

ROWS = 500


class Quiet:
    """A Progress that nobody watches."""

    def step(self, name: str) -> None: ...
    def advance(self, done: int, total: int | None) -> None: ...
    def line(self, level: str, text: str) -> None: ...
    def check(self) -> None: ...


def fill(path: Path, rows: int = ROWS) -> Path:
    """Make a SQLite database with a table."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT)")
        database.executemany(
            "INSERT INTO item (name) VALUES (?)", [(f"item {n}",) for n in range(rows)]
        )
    return path


def items(path: Path) -> list[tuple[int, str]]:
    """Return the table's content."""
    with closing(sqlite3.connect(path)) as database:
        return database.execute("SELECT id, name FROM item ORDER BY id").fetchall()


def sqlite_artifact(tmp_path: Path, key: str = "shop/2026-03-01.sqlite.gz") -> ArtifactRow:
    """Back up a new SQLite database to a new directory."""
    path = fill(tmp_path / f"{key.replace('/', '-')}.db")
    source = make_source(config={"path": str(path)})
    return store(source, make_destination(config={"path": str(tmp_path / "backups")}), key)


def store(source: SourceRow, place: DestinationRow, key: str) -> ArtifactRow:
    """Back up for real, and list the artifact."""
    stored = back_up(
        open_source(source),
        [Place(place.id, place.name, open_destination(place))],
        key=key,
        compression="gzip",
        facts={},
        progress=Quiet(),
    )
    row = ArtifactRow(
        destination_id=place.id,
        key=stored.key,
        source_type=source.type,
        size=stored.size,
        sha256=stored.sha256,
        manifest=stored.manifest,
    )
    with transaction() as session:
        session.add(row)
        session.flush()
        session.refresh(row)
    return row


def reload(restore_id: int) -> Restore:
    """Return the row as it is stored now."""
    with reading() as session:
        return session.get_one(Restore, restore_id)
