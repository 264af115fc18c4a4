"""Opening, checking and naming SQLite files."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from webapp.backup.errors import BackupError, CancelledError
from webapp.backup.progress import Progress

BUSY_SECONDS: Final = 30.0
STEPS_BETWEEN_LOOKS: Final = 100_000  # of SQLite's machine; some milliseconds
LONGEST_NAME: Final = 200  # bytes; file systems take 255, and drafts have longer names
COMPANIONS: Final = ("-journal", "-wal", "-shm")
_WORDS: Final = (
    ("not a database", "It is not a SQLite database, or it is encrypted. Check the path."),
    ("malformed", "The database is damaged. Repair it with “sqlite3 FILE .recover”."),
    (
        "locked",
        "Another program held the database locked for 30 s. Try again when it is less busy.",
    ),
    ("disk is full", "The disk for the temporary copy is full. Free some space there."),
    (
        "unable to open",
        (
            "It cannot be opened. The server's user must be allowed to read the file, and to write "
            "in its directory when the database is in WAL mode."
        ),
    ),
    ("readonly", "The server's user must be allowed to write in the directory of this database."),
)

_OF_ITS_PROGRAM: Final = (
    "no such collation sequence",
    "unknown function",
    "no such function",
    "no such module",
    "unknown tokenizer",
    "no such tokenizer",
)


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open an existing file read-only, at one moment in time that lasts as long as the block.

    Raises:
        BackupError: there is no such file, it may not be read, or it is no SQLite database.
    """
    _require_file(path)
    uri = f"{path.as_uri()}?mode=ro"
    try:
        connection = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
    except sqlite3.Error as error:
        raise explained(error, path) from error
    with closing(connection):
        try:
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.Error as error:
            raise explained(error, path) from error
        yield connection


def size(connection: sqlite3.Connection) -> int:
    """Return the size of the database in bytes, what is still in the WAL included."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (page_size,) = connection.execute("PRAGMA page_size").fetchone()
    return int(pages) * int(page_size)


def check(path: Path, name: str, progress: Progress) -> None:
    """Let SQLite look for damage in a file that nobody else has open.

    Raises:
        BackupError: it found some; the file is called `name` there.
    """
    # immutable: no lock and no -wal file beside a copy that is about to be renamed or deleted
    uri = f"{path.as_uri()}?immutable=1"
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
        connection.set_progress_handler(lambda: _is_cancelled(progress), STEPS_BETWEEN_LOOKS)
        try:
            problems = _problems(connection, progress)
        except sqlite3.Error as error:
            progress.check()
            raise explained(error, Path(name)) from error
    if problems:
        found = " ".join(" ".join(problems).split())[:500]
        raise BackupError(f"{name} is damaged. SQLite says: {found}")


def needs_its_program(error: sqlite3.Error) -> bool:
    """Say whether SQLite lacks what only the program of the database brings along: a collation, a
    function or a module of its own. Such a database is no less whole for that.
    """
    return any(sign in str(error) for sign in _OF_ITS_PROGRAM)


def _problems(connection: sqlite3.Connection, progress: Progress) -> list[str]:
    try:
        return _checked(connection, "integrity_check(5)")
    except sqlite3.Error as error:
        if not needs_its_program(error):
            raise
    # one table that needs its program must not keep the others from being checked
    tables = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
    for (table,) in connection.execute(tables).fetchall():
        quoted = str(table).replace('"', '""')
        try:
            if problems := _checked(connection, f'integrity_check("{quoted}")'):
                return problems
        except sqlite3.Error as error:
            if not needs_its_program(error):
                raise
            progress.line(
                "warning",
                f"The table {table} was copied and not checked: SQLite says {error}, which only "
                "the program that uses this database has.",
            )
    return []


def _checked(connection: sqlite3.Connection, pragma: str) -> list[str]:
    found = [str(row[0]) for row in connection.execute(f"PRAGMA {pragma}")]
    return [] if found == ["ok"] else found


def require_new(target: str) -> Path:
    """Return the path for a file that is to be made.

    Raises:
        BackupError: something is there already, or it cannot be made there.
    """
    path = Path(target)
    if not path.is_absolute() or not target.isprintable():
        raise BackupError("Enter the full path of the new file, beginning with a slash.")
    if len(os.fsencode(path.name)) > LONGEST_NAME:
        raise BackupError(f"Use a name of at most {LONGEST_NAME} bytes.")
    for there in (path, *(path.with_name(path.name + suffix) for suffix in COMPANIONS)):
        if os.path.lexists(there):
            raise BackupError(f"{there} exists already. Nothing is overwritten: choose a new name.")
    if not path.parent.is_dir():
        raise BackupError(f"The directory {path.parent} does not exist. Make it first.")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise BackupError(f"The server's user may not write in {path.parent}.")
    return path


def explained(error: sqlite3.Error, path: Path) -> BackupError:
    """Return what SQLite's error means and what to do."""
    said = str(error)
    for sign, words in _WORDS:
        if sign in said:
            return BackupError(f"{path}: {words}")
    return BackupError(f"{path}: SQLite says: {said}.")


def _require_file(path: Path) -> None:
    try:
        if path.is_dir():
            raise BackupError(f"{path} is a directory. Enter the path of the database file.")
        if not path.exists():
            raise BackupError(f"{path} does not exist. Check the path.")
    except PermissionError as error:
        raise BackupError(f"{path}: the server's user may not look into its directory.") from error
    if not path.is_file():
        raise BackupError(f"{path} is not a file. Enter the path of the database file.")
    if not os.access(path, os.R_OK):
        raise BackupError(f"{path}: permission denied. Allow the server's user to read the file.")


def _is_cancelled(progress: Progress) -> bool:
    try:
        progress.check()
    except CancelledError:
        return True
    return False
