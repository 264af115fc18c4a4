"""Restores over a database that exists: the new one is whole before the old one goes.

MySQL and MariaDB cannot rename a database; there the old one is dropped before the new one loads.
"""

import contextlib
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from webapp.backup.errors import BackupError
from webapp.backup.files import sync_directory, words
from webapp.backup.progress import Progress
from webapp.backup.sources.base import Reader, Source
from webapp.backup.sources.mysql import Mysql
from webapp.backup.sources.postgresql import Postgresql
from webapp.backup.sources.sqlite import Sqlite
from webapp.backup.sources.sqlite_files import COMPANIONS

DISCONNECT_EVERY: Final = 0.1  # seconds; a renaming waits for 5 at most


class Replacing:
    """Restores as its source does, and replaces a target that exists."""

    def __init__(self, source: Source) -> None:
        self.type = source.type
        self._source = source

    def restore(self, input: Reader, target: str, progress: Progress) -> None:
        """Load what is read into the target, old or new.

        Raises:
            BackupError: loading failed; the old database is untouched, except on MySQL.
            CancelledError: it was stopped.
        """
        source = self._source
        if not exists(source, target):
            source.restore(input, target, progress)
        elif isinstance(source, Sqlite):
            _replace_file(source, input, Path(target), progress)
        elif isinstance(source, Postgresql):
            _replace_postgresql(source, input, target, progress)
        elif isinstance(source, Mysql):
            with source.server.connected() as cursor:
                cursor.execute(f"DROP DATABASE {_quoted(target)}")
            source.restore(input, target, progress)
        else:
            raise BackupError(f"{source.label} databases cannot be replaced here.")


def exists(source: Source, target: str) -> bool:
    """Say whether there is a database or file of this name."""
    if isinstance(source, Sqlite):
        return os.path.lexists(target)
    if isinstance(source, Postgresql):
        with source.server.maintenance() as connection:
            query = "SELECT 1 FROM pg_database WHERE datname = %s"
            return connection.execute(query, (target,)).fetchone() is not None
    if isinstance(source, Mysql):
        with source.server.connected() as cursor:
            query = "SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = %s"
            cursor.execute(query, (target,))
            return cursor.fetchone() is not None
    return False


def check(source: Source, target: str) -> None:
    """Refuse a target that may not be replaced.

    Raises:
        BackupError: it is no database file, or it belongs to the server itself.
    """
    if not exists(source, target):
        source.check_target(target)
    elif isinstance(source, Sqlite):
        path = Path(target)
        if path.is_symlink() or not path.is_file():
            raise BackupError(f"{target} is not a plain file. Choose the database file itself.")
        with words(f"read {target}"), path.open("rb") as file:
            start = file.read(16)
        if start and start != b"SQLite format 3\0":
            raise BackupError(f"{target} is not a SQLite database, so it is not replaced.")
    elif target in _OF_THE_SERVER:
        raise BackupError(f"{target} belongs to the server itself. Choose another name.")


_OF_THE_SERVER = frozenset(
    {"postgres", "template0", "template1", "mysql", "sys", "information_schema"}
) | {"performance_schema"}


def _replace_file(source: Sqlite, input: Reader, target: Path, progress: Progress) -> None:
    fresh = target.with_name(f"{target.name}.dbackup-{secrets.token_hex(4)}")
    try:
        source.restore(input, str(fresh), progress)
        progress.check()
        with words(f"replace {target}"):
            status = target.stat()
            os.chmod(fresh, status.st_mode & 0o7777)
            with contextlib.suppress(PermissionError):
                os.chown(fresh, status.st_uid, status.st_gid)
            for suffix in COMPANIONS:  # a log of the old file would be played into the new one
                target.with_name(target.name + suffix).unlink(missing_ok=True)
            os.replace(fresh, target)
            sync_directory(target.parent)
    finally:
        fresh.unlink(missing_ok=True)


def _replace_postgresql(source: Postgresql, input: Reader, target: str, progress: Progress) -> None:
    mark = secrets.token_hex(4)
    fresh, old = f"dbackup_new_{mark}", f"dbackup_old_{mark}"
    source.restore(input, fresh, progress)
    try:
        progress.check()
        with source.server.maintenance() as connection:
            # a renaming keeps newcomers out while it waits for the others to leave
            with _without_users(source, target), connection.transaction():
                _run(connection, "ALTER DATABASE {} RENAME TO {}", target, old)
                _run(connection, "ALTER DATABASE {} RENAME TO {}", fresh, target)
            _disconnect(connection, old)
            _run(connection, "DROP DATABASE {}", old)
    except BaseException:
        drop(source, fresh)
        raise


def drop(source: Source, name: str) -> None:
    """Drop a database of ours; one that is not there is fine, and so is a server that is gone."""
    with contextlib.suppress(BackupError):
        if isinstance(source, Postgresql):
            with source.server.maintenance() as connection:
                _disconnect(connection, name)
                _run(connection, "DROP DATABASE IF EXISTS {}", name)
        elif isinstance(source, Mysql):
            with source.server.connected() as cursor:
                cursor.execute(f"DROP DATABASE IF EXISTS {_quoted(name)}")


@contextmanager
def _without_users(source: Postgresql, name: str) -> Iterator[None]:
    """Disconnect everybody from the database, again and again while the block runs: a pool of
    connections comes back at once.
    """
    ended = threading.Event()

    def work() -> None:
        with contextlib.suppress(BackupError), source.server.maintenance() as connection:
            while not ended.is_set():
                _disconnect(connection, name)
                ended.wait(DISCONNECT_EVERY)

    thread = threading.Thread(target=work, name="disconnect users")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _disconnect(connection: Any, name: str) -> None:
    query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
    connection.execute(query, (name,))


def _run(connection: Any, statement: str, *names: str) -> None:
    from psycopg import sql

    connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def _quoted(name: str) -> str:
    return f"`{name.replace('`', '``')}`"
