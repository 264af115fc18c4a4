"""Finds the client programs of MariaDB and MySQL, and says which of the two they are."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import Final

from webapp.backup.child import BARE
from webapp.backup.errors import BackupError

MARIADB: Final = "MariaDB"
MYSQL: Final = "MySQL"
DUMP: Final = ("mariadb-dump", "mysqldump")
LOAD: Final = ("mariadb", "mysql")
INSTALL: Final = {MARIADB: "apt install mariadb-client", MYSQL: "apt install mysql-client"}
VERSION_SECONDS: Final = 10


@dataclass(frozen=True)
class Version:
    """A version of a server or of a client program."""

    family: str
    """MARIADB or MYSQL."""
    number: str
    """ "10.11.19"."""

    @property
    def major(self) -> int:
        """Return the first part."""
        return int(self.number.split(".")[0])

    def is_mariadb_since(self, major: int, minor: int) -> bool:
        """Say whether it is MariaDB of this version or newer."""
        numbers = tuple(int(part) for part in self.number.split(".")[:2])
        return self.family == MARIADB and numbers >= (major, minor)

    def __str__(self) -> str:
        return f"{self.family} {self.number}"


@dataclass(frozen=True)
class Client:
    """An installed program."""

    name: str
    path: str
    version: Version

    def __str__(self) -> str:
        return f"{self.name} {self.version.number}"


def find(names: tuple[str, ...], server: Version) -> Client:
    """Return the installed program of the server's own family, else the other one.

    Raises:
        BackupError: there is none, or it is too old; the text names what to install.
    """
    found = [client for name in names if (client := _installed(name))]
    if not found:
        raise BackupError(
            f"Neither {' nor '.join(names)} is installed here. Install it: {INSTALL[server.family]}"
        )
    found.sort(key=lambda client: client.version.family != server.family)
    best = found[0]
    if best.version.family == server.family == MYSQL and best.version.major < server.major:
        raise BackupError(
            f"{best} is too old: the server is {server}. Install a client program of version "
            f"{server.major} or newer: {INSTALL[MYSQL]}"
        )
    return best


def notes(client: Client, server: Version) -> tuple[str, ...]:
    """Return what the admin should know about this program with this server."""
    if client.version.family != server.family:
        return (
            (
                f"{client} is a program of {client.version.family}, and the server is {server}. "
                f"It dumps ordinary tables; for all the rest install {server.family}'s own "
                f"({INSTALL[server.family]})."
            ),
        )
    if client.version.major < server.major:
        return (
            (
                f"{client} is older than the server ({server}) and may not know its newest "
                f"features. Install a newer one ({INSTALL[server.family]})."
            ),
        )
    return ()


def parse(said: str) -> Version:
    """Return the version in a program's or server's words.

    MariaDB says "10.11.19-MariaDB…" beside an old number of its protocol, MySQL says "8.0.36".
    """
    found = re.search(r"(?:5\.5\.5-)?(\d+\.\d+\.\d+)-MariaDB", said)
    if found:
        return Version(MARIADB, found[1])
    found = re.search(r"Ver (\d+\.\d+\.\d+)", said) or re.search(r"(\d+\.\d+\.\d+)", said)
    return Version(MYSQL, found[1] if found else "0.0.0")


def _installed(name: str) -> Client | None:
    path = shutil.which(name)
    if path is None:
        return None
    try:
        answer = subprocess.run(  # noqa: S603 - a program that we found, no shell
            [path, "--no-defaults", "--version"],
            capture_output=True,
            text=True,
            timeout=VERSION_SECONDS,
            check=True,
            env=BARE,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return Client(name, path, parse(answer.stdout))
