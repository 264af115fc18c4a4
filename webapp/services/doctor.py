"""Looks for what keeps this installation from working, and says what to do about it."""

import shutil
import sqlite3
import stat
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final

from sqlalchemy import exists, func, select
from sqlalchemy.exc import SQLAlchemyError

from webapp.backup.child import BARE
from webapp.backup.sources import postgresql_clients
from webapp.core import clock
from webapp.core.errors import AppError
from webapp.core.scrub import scrub
from webapp.core.settings import Settings
from webapp.models.delivery import EventRow
from webapp.models.job import SourceRow
from webapp.services import htmx_source, key_rotation, schema
from webapp.services.installation import installation
from webapp.services.transaction import reading

OLDEST_SQLITE: Final = (3, 35)  # UPDATE … RETURNING
FREE_BYTES: Final = 500 * 1024 * 1024
CLOCK_SLACK: Final = timedelta(seconds=5)
COMMAND_SECONDS: Final = 5
PRIVATE: Final = stat.S_IRWXG | stat.S_IRWXO


class Level(StrEnum):
    """How a finding counts."""

    GOOD = "ok"
    NOTE = "note"
    PROBLEM = "PROBLEM"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    level: Level
    what: str
    words: str
    advice: str = ""


def examine() -> list[Finding]:
    """Look at everything; a check that fails itself is a finding, too."""
    findings: list[Finding] = []
    for what, check in CHECKS:
        try:
            findings += [_named(what, finding) for finding in check()]
        except (AppError, SQLAlchemyError, OSError) as error:
            text = " ".join(str(getattr(error, "orig", None) or error).split())
            findings.append(Finding(level=Level.PROBLEM, what=what, words=scrub(text)))
    return findings


def _named(what: str, finding: Finding) -> Finding:
    return Finding(level=finding.level, what=what, words=finding.words, advice=finding.advice)


def _good(words: str) -> Finding:
    return Finding(level=Level.GOOD, what="", words=words)


def _note(words: str, advice: str) -> Finding:
    return Finding(level=Level.NOTE, what="", words=words, advice=advice)


def _problem(words: str, advice: str) -> Finding:
    return Finding(level=Level.PROBLEM, what="", words=words, advice=advice)


def _database() -> Iterator[Finding]:
    present, needed = schema.stored(), schema.known()[-1]
    if present is None:
        yield _problem(
            "It has no tables yet.", "Start the server once (dbackup serve), which makes them."
        )
    elif present not in schema.known():
        yield _problem(
            f"A newer version made it (revision {present}; this one knows {needed}).",
            "Update DBackup, or restore the database that belongs to this version.",
        )
    elif present != needed:
        yield _problem(
            f"It is at revision {present}, this version needs {needed}.",
            "Start the server once (dbackup serve), which brings it up to date.",
        )
    else:
        yield _good(f"answers, at revision {present}")


def _sqlite() -> Iterator[Finding]:
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        yield _problem(
            f"SQLite {sqlite3.sqlite_version} is too old.",
            "Use a Python that is built with SQLite 3.35 or newer.",
        )
    else:
        yield _good(sqlite3.sqlite_version)


def _keys() -> Iterator[Finding]:
    lost = key_rotation.unopenable() if schema.stored() == schema.known()[-1] else []
    if lost:
        yield _problem(
            f"The encryption keys do not open {', '.join(lost)}.",
            "Restore the file encryption_keys that belongs to this database, or enter the "
            "secrets of these anew.",
        )
    else:
        yield _good("open every stored configuration")
    for path in _key_files(installation().settings):
        if stat.S_IMODE(path.stat().st_mode) & PRIVATE:
            yield _problem(f"Others may read {path}.", f"Run: chmod 600 {path}")


def _key_files(settings: Settings) -> Iterator[Path]:
    for name in ("secret_key", "encryption_keys"):
        path = settings.instance_path / name
        if path.exists():
            yield path


def _programs() -> Iterator[Finding]:
    used = schema.stored() == schema.known()[-1] and _has_postgresql_source()
    for name in ("pg_dump", "pg_restore"):
        found = postgresql_clients.installed(name)
        if found:
            yield _good(", ".join(f"{client} ({client.path})" for client in found))
        else:
            say = _problem if used else _note
            yield say(
                f"{name} is not installed; PostgreSQL databases need it.",
                "Install it, at least as new as your servers: apt install postgresql-client",
            )


def _has_postgresql_source() -> bool:
    with reading() as session:
        return bool(session.scalar(select(exists().where(SourceRow.type == "postgresql"))))


def _clock() -> Iterator[Finding]:
    now = clock.now()
    ahead = timedelta(0)
    if schema.stored() == schema.known()[-1]:
        ahead = max(ahead, _newest_event(now) - now)
        ahead = max(ahead, abs(_database_clock(now) - now))
    if ahead > CLOCK_SLACK:
        yield _problem(
            f"This machine's clock differs by {ahead.total_seconds():.0f} s from what the "
            "database has seen.",
            "Set the clock and keep it set, for instance: timedatectl set-ntp true",
        )
    elif _is_unsynchronized():
        yield _note(
            f"{now:%Y-%m-%d %H:%M:%S} UTC; the system says it is not synchronized.",
            "Schedules and retries follow it: timedatectl set-ntp true",
        )
    else:
        yield _good(f"{now:%Y-%m-%d %H:%M:%S} UTC")


def _newest_event(now: datetime) -> datetime:
    with reading() as session:
        return session.scalar(select(func.max(EventRow.occurred_at))) or now


def _database_clock(now: datetime) -> datetime:
    if installation().settings.is_sqlite:
        return now
    with reading() as session:
        told: datetime = session.scalar(select(func.clock_timestamp())) or now
    return told.astimezone(UTC)


def _is_unsynchronized() -> bool:
    program = shutil.which("timedatectl")
    if program is None:
        return False
    try:
        answer = subprocess.run(  # noqa: S603 - a program of the system, no shell
            [program, "show", "--property=NTPSynchronized", "--value"],
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=True,
            env=BARE,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return answer.stdout.strip() == "no"


def _directories() -> Iterator[Finding]:
    path = installation().settings.instance_path
    probe = path / ".doctor"
    try:
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        yield _problem(
            f"{path} cannot be written: {error.strerror}.",
            "Give it to the user that the server runs as, or set DBACKUP_INSTANCE_PATH.",
        )
        return
    free = shutil.disk_usage(path).free
    if free < FREE_BYTES:
        yield _problem(
            f"Only {free // 1024**2} MB are free at {path}.",
            "Make room: without it neither runs nor alarms can be stored.",
        )
    else:
        yield _good(f"{path}, {free // 1024**3} GB free")


def _htmx() -> Iterator[Finding]:
    problem = htmx_source.problem()
    if problem:
        what, _, advice = problem.partition(". ")
        yield _note(f"{what}.", advice)
    else:
        yield _good("the pages' script is where they say it is")


CHECKS: Final[tuple[tuple[str, Callable[[], Iterator[Finding]]], ...]] = (
    ("Database", _database),
    ("SQLite", _sqlite),
    ("Keys", _keys),
    ("Client programs", _programs),
    ("Clock", _clock),
    ("Directories", _directories),
    ("htmx", _htmx),
)
