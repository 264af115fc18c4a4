"""Looks after the ballast beside the database: makes it, misses it, and tells when it is gone."""

from pathlib import Path
from typing import Final

from webapp.core import ballast, text
from webapp.core.errors import AppError
from webapp.models import db
from webapp.services import system_errors
from webapp.services.installation import installation

WORDS: Final = (
    "The disk of the database is almost full; the reserve of 16 MB was given up so that messages "
    "still go out. Free some space."
)


class DiskFullError(AppError):
    """There is hardly any room left beside the database."""


def is_given_up() -> bool:
    """Say whether the ballast is missing because there is no room for it."""
    path = _path()
    if path is None or ballast.is_there(path):
        return False
    try:
        return ballast.free_bytes(path.parent) < ballast.ROOM
    except OSError:
        return True


def settle() -> None:
    """Make the ballast when it is missing and there is room; else tell the admins."""
    path = _path()
    if path is None:
        return
    ballast.give_up_when_low(path)
    if not ballast.keep(path):
        left = text.size(ballast.free_bytes(path.parent))
        system_errors.report("Disk", DiskFullError(f"{WORDS} {left} are left."))


def _path() -> Path | None:
    """Return where it belongs; None: the database is a server's, which has its own disk."""
    if not installation().settings.is_sqlite:
        return None
    return ballast.beside(db.engine.url.database or "")
