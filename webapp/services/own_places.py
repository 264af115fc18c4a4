"""Where no restore may write: into DBackup itself, or into files that are no databases.

Operators restore, and the server writes with the rights of its own user. Whoever could replace
DBackup's database would be whoever they like in it, and a new file of any name could hold a key
that opens the server, or a page that it serves.
"""

import os
from pathlib import Path
from typing import Final

from sqlalchemy import make_url, select, text

from webapp.backup.sources.base import Source
from webapp.backup.sources.postgresql import Postgresql
from webapp.backup.sources.sqlite import Sqlite
from webapp.backup.sources.sqlite_files import COMPANIONS
from webapp.core.errors import InvalidError, SecretError
from webapp.core.settings import PROJECT_ROOT
from webapp.models.job import SourceRow
from webapp.services.installation import installation, own_files
from webapp.services.sources import open_source
from webapp.services.transaction import reading

SUFFIXES: Final = frozenset({".db", ".db3", ".s3db", ".sl3", ".sqlite", ".sqlite3"})
_IDENTITY: Final = "SELECT system_identifier FROM pg_control_system()"
OURS: Final = "{target} belongs to DBackup itself. Choose another target."
NO_DATABASE: Final = (
    "End the name with .db, .sqlite or .sqlite3. Any other name is taken only when a source has "
    "this very path."
)


def refuse(target_source: Source, target: str) -> None:
    """Refuse a target that no restore may have.

    Raises:
        InvalidError: it belongs to DBackup, or has the name of something else than a database.
    """
    if isinstance(target_source, Sqlite):
        if _is_our_file(Path(target)):
            raise InvalidError(OURS.format(target=target), "target")
        if (
            not os.path.lexists(target)
            and Path(target).suffix.lower() not in SUFFIXES
            and target not in _paths_of_sources()
        ):
            raise InvalidError(NO_DATABASE, "target")
    elif isinstance(target_source, Postgresql) and _is_our_database(target_source, target):
        raise InvalidError(OURS.format(target=target), "target")


def _is_our_file(path: Path) -> bool:
    settings, real = installation().settings, path.resolve()
    for own in own_files(settings):
        resolved = own.resolve()
        if any(real == resolved.with_name(f"{resolved.name}{end}") for end in ("", *COMPANIONS)):
            return True
        if real.exists() and resolved.exists() and real.samefile(resolved):
            return True
    instance = settings.instance_path.resolve()
    return real.is_relative_to(PROJECT_ROOT) and not real.is_relative_to(instance)


def _paths_of_sources() -> set[str]:
    with reading() as session:
        rows = session.scalars(select(SourceRow).where(SourceRow.type == Sqlite.type)).all()
    found = set()
    for row in rows:
        try:
            source = open_source(row)
        except SecretError:  # its key is lost
            continue
        if isinstance(source, Sqlite):
            found.add(str(source.path))
    return found


def _is_our_database(source: Postgresql, target: str) -> bool:
    settings = installation().settings
    if settings.is_sqlite or make_url(settings.database_url).database != target:
        return False
    with reading() as session:
        ours = session.scalar(text(_IDENTITY))
    with source.server.maintenance() as connection:
        theirs = connection.execute(_IDENTITY).fetchone()
    return theirs is not None and theirs[0] == ours
