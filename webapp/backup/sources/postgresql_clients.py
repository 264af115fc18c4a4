"""Finds pg_dump and pg_restore, of the version that suits a server."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from webapp.backup.child import BARE
from webapp.backup.errors import BackupError

DEBIAN: Final = Path("/usr/lib/postgresql")
VERSION_SECONDS: Final = 10
# archive format of pg_dump -> the first pg_restore that reads it (pg_backup_archiver.h)
_READABLE_FROM: Final = {(1, 15): 16, (1, 16): 17}
_NEWEST_KNOWN: Final = (1, 16)


@dataclass(frozen=True)
class Client:
    """An installed program."""

    name: str
    path: str
    version: str

    @property
    def major(self) -> int:
        """Return the major version."""
        return int(self.version.split(".")[0])

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def find(name: str, at_least: int) -> Client:
    """Return the installed program of the lowest major version that is not below this one.

    The nearest one writes what the most other programs can read, and says nothing to the server
    that only newer servers understand.

    Raises:
        BackupError: there is none; the text names the command that installs one.
    """
    found = sorted(installed(name), key=lambda client: client.major)
    for client in found:
        if client.major >= at_least:
            return client
    install = f"apt install postgresql-client-{at_least}"
    if not found:
        raise BackupError(f"The program {name} is not installed here. Install it: {install}")
    raise BackupError(
        f"{found[-1]} is too old: the server needs version {at_least} or newer. "
        f"Install it (from apt.postgresql.org when the system has none): {install}"
    )


def installed(name: str) -> tuple[Client, ...]:
    """Return the programs of this name on the PATH and where Debian keeps them."""
    return tuple(
        Client(name, str(path), version)
        for path in dict.fromkeys(_candidates(name))
        if (version := _version(path))
    )


def reader_of(archive_start: bytes) -> int:
    """Return the lowest major version of pg_restore that reads an archive with these first bytes.

    Raises:
        BackupError: it is no archive in pg_dump's custom format.
    """
    if not archive_start.startswith(b"PGDMP") or len(archive_start) < 7:
        raise BackupError("The artifact is not a PostgreSQL dump in custom format.")
    made = (archive_start[5], archive_start[6])
    return _READABLE_FROM.get(made, 0 if made < _NEWEST_KNOWN else max(_READABLE_FROM.values()))


def _candidates(name: str) -> Iterator[Path]:
    yield from sorted(DEBIAN.glob(f"*/bin/{name}"))
    if on_path := shutil.which(name):
        yield Path(on_path)


def _version(path: Path) -> str | None:
    try:
        answer = subprocess.run(  # noqa: S603 - a program that we found, no shell
            [str(path), "--version"],
            capture_output=True,
            text=True,
            timeout=VERSION_SECONDS,
            check=True,
            env=BARE,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"\b(\d+(?:\.\d+)*)", answer.stdout)
    return found[1] if found else None
