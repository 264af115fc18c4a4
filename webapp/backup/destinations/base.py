"""What every kind of place for artifacts is: it writes whole files or none."""

import builtins
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from webapp.backup.journal import Journal, NoJournal
from webapp.backup.reach import SELF_HOSTED, Reach
from webapp.backup.sources.base import Reader, Writer
from webapp.core.form_fields import ConfigForm


@dataclass(frozen=True)
class Entry:
    """One stored file."""

    key: str
    size: int
    modified_at: datetime


def is_key(key: str) -> bool:
    """Say whether this can be a key: relative, and neither hidden nor beyond what can be shown."""
    return not any(
        part.startswith(".") or not part or not part.isprintable() for part in key.split("/")
    )


class Destination(ABC):
    """A configured place. Keys are relative, with slashes: "shop/2026-11-23.dump.gz".

    Every method raises BackupError with what to do when the place does not do it.
    """

    type: ClassVar[str]
    label: ClassVar[str]
    icon: ClassVar[str]
    """Bootstrap icon, without the prefix "bi-"."""
    tagline: ClassVar[str]
    form: ClassVar["builtins.type[ConfigForm]"]

    def __init__(self, config: Mapping[str, Any], reach: Reach = SELF_HOSTED) -> None:
        self.config, self.reach = config, reach
        self.journal: Journal = NoJournal()
        """Told of everything that is being written."""

    @classmethod
    @abstractmethod
    def summarize(cls, config: Mapping[str, Any]) -> str:
        """Return what may be shown of the configuration."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return every secret value, to be masked in texts."""
        return ()

    @abstractmethod
    def probe(self) -> str:
        """Write, read back and delete a small file; return a sentence about the place."""

    @abstractmethod
    def open_write(self, key: str) -> AbstractContextManager[Writer]:
        """Open a new file for writing.

        It appears under its key when the block ends well, and is then on the disk; when the block
        raises, nothing of it stays.
        """

    @abstractmethod
    def open_read(self, key: str) -> AbstractContextManager[Reader]:
        """Open a stored file for reading."""

    @abstractmethod
    def list(self, prefix: str = "") -> tuple[Entry, ...]:
        """Return the whole files whose keys begin so, sorted by key."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Delete the file; one that is not there is fine."""

    @abstractmethod
    def size(self, key: str) -> int:
        """Return the size of the stored file in bytes."""

    @abstractmethod
    def discard(self, ref: str) -> None:
        """Remove what the journal was told had begun and never ended; gone is fine.

        Raises:
            BackupError: it is still there.
        """

    def sweep(self) -> int:
        """Remove what killed processes left half-written, as far as that can be known without a
        journal; return how many files that were.
        """
        return 0
