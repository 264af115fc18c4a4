"""Which hosts sources and destinations may connect to."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from webapp.backup.errors import BackupError
from webapp.core import network

LOOK_UP_SECONDS: Final = 10.0


@dataclass(frozen=True)
class Reach:
    """What the installation's settings allow, and whom it trusts."""

    allow_private: bool = True
    ca_file: Path | None = None
    """Certificate authorities trusted beside the usual ones."""

    def require(self, host: str, port: int) -> None:
        """Look at every address of the host before it is called.

        Raises:
            BackupError: one of them may not be called, or the name is not known.
        """
        try:
            network.resolve(host, port, allow_private=self.allow_private, seconds=LOOK_UP_SECONDS)
        except network.BlockedError as error:
            raise BackupError(f"{host} may not be called. {error}") from error
        except network.UnknownHostError as error:
            cure = "Check its spelling and this machine's DNS." if error.is_final else "Try again."
            raise BackupError(f"The host name {host} is not known. {cure}\n{error}") from error


SELF_HOSTED: Final = Reach()
