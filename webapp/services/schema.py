"""Keeps the tables at the revision that this version needs, and says so when they are not."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from flask import Flask
from sqlalchemy import inspect, text
from sqlalchemy.exc import OperationalError

from webapp.core.errors import AppError
from webapp.core.settings import PROJECT_ROOT
from webapp.models import db
from webapp.services.installation import installation

REVISIONS: Final = PROJECT_ROOT / "migrations" / "versions"


class SchemaError(AppError):
    """The tables do not fit this version."""


class _LateMigrate:
    """Stands for Flask-Migrate until somebody asks it: Alembic costs 0.09 s and 11 MB."""

    def __init__(self, app: Flask) -> None:
        self._app = app

    def __getattr__(self, name: str) -> Any:
        from flask_migrate import Migrate

        Migrate(self._app, db, directory=str(REVISIONS.parent), render_as_batch=True)
        return getattr(self._app.extensions["migrate"], name)


def init_app(app: Flask) -> None:
    """Attach Flask-Migrate to the application."""
    app.extensions["migrate"] = _LateMigrate(app)


def known() -> tuple[str, ...]:
    """Return every revision of this version, oldest first.

    Read from the numbered file names: asking Alembic would cost every start 0.1 s.
    """
    return tuple(sorted(path.stem.split("_", 1)[0] for path in REVISIONS.glob("[0-9]*_*.py")))


def stored() -> str | None:
    """Return the revision of the database, or None when it has no tables yet.

    Raises:
        SchemaError: the database cannot be reached.
    """
    try:
        with db.engine.connect() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            found = connection.scalar(text("SELECT version_num FROM alembic_version"))
            return None if found is None else str(found)
    except OperationalError as error:
        raise SchemaError(
            f"The database cannot be opened: {' '.join(str(error.orig).split())}. "
            "Check DBACKUP_DATABASE_URL and that this user may read and write there."
        ) from error


def require_current() -> None:
    """Make the tables of an empty database; refuse to work on those of another version.

    Raises:
        SchemaError: the tables belong to an older or newer version.
    """
    present = stored()
    if present is None:
        upgrade()
    elif present != known()[-1]:
        _refuse_unknown(present)
        raise SchemaError(
            f"The database is at revision {present}, this version needs {known()[-1]}. "
            "Start the server once (dbackup serve), which brings it up to date."
        )


def upgrade() -> bool:
    """Bring the tables up to date; return whether there was anything to do.

    Raises:
        SchemaError: the database cannot be reached or was made by a newer version.
    """
    if stored() == known()[-1]:
        return False
    with _alone():
        present = stored()  # another process may have done it meanwhile
        if present == known()[-1]:
            return False
        _refuse_unknown(present)
        from flask_migrate import upgrade as migrate

        migrate()
    return True


def _refuse_unknown(present: str | None) -> None:
    if present is not None and present not in known():
        raise SchemaError(
            f"The database is at revision {present}, which this version does not know: a newer "
            "version made it. Update DBackup, or restore the database that belongs to this version."
        )


@contextmanager
def _alone() -> Iterator[None]:
    """Hold the instance's lock, so that two processes of one machine do not migrate at once."""
    with (installation().settings.instance_path / "migration.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
