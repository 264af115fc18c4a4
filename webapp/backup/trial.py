"""Proves a backup: restores it into a scratch database, counts its rows, drops it again."""

import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Final

from webapp.backup import manifest, replace, scratch
from webapp.backup.destinations.base import Destination
from webapp.backup.errors import BackupError
from webapp.backup.progress import Progress
from webapp.backup.restore import restore
from webapp.backup.sources import sqlite_files
from webapp.backup.sources.base import Source
from webapp.backup.sources.mysql import Mysql
from webapp.backup.sources.postgresql import Postgresql
from webapp.backup.sources.sqlite import Sqlite
from webapp.backup.steps import step

PREFIX: Final = "dbackup_trial_"
LEFT_AFTER: Final = 24 * 3600  # seconds; a trial does not take longer
Counts = list[tuple[str, int]]


def prove(
    destination: Destination, key: str, *, source: Source, progress: Progress, unlock: str = ""
) -> Counts:
    """Restore the artifact on trial; return the rows of each table.

    The steps are those of a restore, and "Count". Nothing stays, however it ends.

    Raises:
        BackupError: with the step that failed.
        CancelledError: it was stopped.
    """
    with _target(destination, key, source) as target:
        restore(destination, key, source=source, target=target, progress=progress, unlock=unlock)
        with step("Count", progress):
            return _count(source, target, progress)


@contextmanager
def _target(destination: Destination, key: str, source: Source) -> Iterator[str]:
    if isinstance(source, Sqlite):
        needed = int(manifest.read(destination, key).values.get("dump_size") or 0)
        with scratch.directory(needed) as directory:
            yield str(directory / "trial.db")
        return
    _sweep(source)
    name = f"{PREFIX}{int(time.time())}_{secrets.token_hex(4)}"
    try:
        yield name
    finally:
        replace.drop(source, name)


def _sweep(source: Source) -> None:
    """Drop what a killed trial left on the server."""
    for name in _databases(source):
        began = name.removeprefix(PREFIX).partition("_")[0]
        if began.isdecimal() and int(began) < time.time() - LEFT_AFTER:
            replace.drop(source, name)


def _databases(source: Source) -> list[str]:
    if isinstance(source, Postgresql):
        query = "SELECT datname FROM pg_database WHERE starts_with(datname, %s)"
        with source.server.maintenance() as connection:
            return [str(name) for (name,) in connection.execute(query, (PREFIX,))]
    if isinstance(source, Mysql):
        with source.server.connected() as cursor:
            cursor.execute(
                "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE LEFT(SCHEMA_NAME, %s) "
                "= %s",
                (len(PREFIX), PREFIX),
            )
            return [str(row[0]) for row in cursor.fetchall()]
    return []


def _count(source: Source, target: str, progress: Progress) -> Counts:
    if isinstance(source, Sqlite):
        return _count_sqlite(target, progress)
    if isinstance(source, Postgresql):
        return _count_postgresql(source, target, progress)
    if isinstance(source, Mysql):
        return _count_mysql(source, target, progress)
    raise BackupError(f"The tables of {source.label} cannot be counted here.")


def _count_sqlite(target: str, progress: Progress) -> Counts:
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' "
    found: Counts = []
    with closing(sqlite3.connect(f"file:{target}?mode=ro", uri=True)) as connection:
        try:
            names = [name for (name,) in connection.execute(query + "ESCAPE '\\' ORDER BY name")]
            for name in names:
                progress.check()
                quoted = name.replace('"', '""')
                try:
                    (rows,) = connection.execute(f'SELECT count(*) FROM "{quoted}"').fetchone()  # noqa: S608 - a quoted name
                except sqlite3.Error as error:
                    if not sqlite_files.needs_its_program(error):
                        raise
                    progress.line("warning", f"The table {name} was not counted: {error}.")
                else:
                    found.append((name, rows))
        except sqlite3.Error as error:
            raise BackupError(f"The restored tables cannot be read: {error}.") from error
    return found


def _count_postgresql(source: Postgresql, target: str, progress: Progress) -> Counts:
    from psycopg import sql

    query = (
        "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE c.relkind = 'r' AND n.nspname NOT LIKE 'pg\\_%' "
        "AND n.nspname <> 'information_schema' ORDER BY 1, 2"
    )
    found: Counts = []
    with source.server.connected(target) as connection:
        for schema, table in connection.execute(query).fetchall():
            progress.check()
            counting = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, table))
            row = connection.execute(counting).fetchone()
            name = table if schema == "public" else f"{schema}.{table}"
            found.append((name, int(row[0]) if row else 0))
    return found


def _count_mysql(source: Mysql, target: str, progress: Progress) -> Counts:
    found: Counts = []
    with source.server.connected(target) as cursor:
        cursor.execute(
            "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s "
            "AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') ORDER BY 1",
            (target,),
        )
        for (table,) in cursor.fetchall():
            progress.check()
            quoted = str(table).replace("`", "``")
            cursor.execute(f"SELECT count(*) FROM `{quoted}`")  # noqa: S608 - a quoted name
            row = cursor.fetchone()
            found.append((str(table), int(row[0]) if row else 0))
    return found
