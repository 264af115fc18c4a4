"""Writing the same bytes to several destinations, of which any may fail."""

import hashlib
import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Final

from webapp.backup import manifest
from webapp.backup.destinations.base import Destination
from webapp.backup.errors import BackupError, CancelledError
from webapp.backup.sources.base import Writer

logger = logging.getLogger(__name__)

STORED: Final = "stored "
"""Before the key of a file in a journal: it has its name, and not yet its manifest."""


def discard(destination: Destination, ref: str) -> None:
    """Remove what the journal of a run was told had begun and never ended.

    A file that has its manifest is whole, and stays.

    Raises:
        BackupError: the destination does not do it.
    """
    if not ref.startswith(STORED):
        destination.discard(ref)
        return
    key = ref.removeprefix(STORED)
    if all(entry.key != key + manifest.SUFFIX for entry in destination.list(key)):
        destination.delete(key)


class Branch:
    """One destination on the way from open to stored; `problem` says why it left the way."""

    def __init__(self, id: int, name: str, destination: Destination) -> None:
        self.id, self.name, self.destination = id, name, destination
        self.problem: str | None = None
        self.stored = False
        self._key = ""
        self._opened: AbstractContextManager[Writer] | None = None
        self._writer: Writer | None = None

    def open(self, key: str) -> None:
        """Open the file; a failure is remembered, not raised."""
        self._key = key
        try:
            self.destination.sweep()
        except BackupError as error:  # a right that writing does not need, or somebody's odd file
            logger.warning("%s: leftovers not looked for: %s", self.name, error)
        try:
            self._opened = self.destination.open_write(key)
            self._writer = self._opened.__enter__()
        except BackupError as error:
            self._opened = None
            self.fail(error)

    def write(self, data: bytes) -> None:
        """Write, unless it failed before."""
        if self._writer is None or self.problem is not None:
            return
        try:
            self._writer.write(data)
        except BackupError as error:
            self.fail(error)

    def commit(self) -> None:
        """Give the file its name."""
        if self._opened is None or self.problem is not None:
            return
        try:
            opened, self._opened = self._opened, None
            self.destination.journal.began(STORED + self._key)
            opened.__exit__(None, None, None)
            self.stored = True
        except BackupError as error:
            self.fail(error)
        except CancelledError:
            self.stored = True  # perhaps, or in a moment
            raise

    def fail(self, error: BaseException) -> None:
        """Leave the way; nothing of the half file stays."""
        self.problem = str(error)
        opened, self._opened = self._opened, None
        if opened is not None:
            _abandon(opened, error)

    def keep(self, values: dict[str, Any]) -> None:
        """Write the manifest of what was stored: it is whole."""
        manifest.write(self.destination, self._key, values)
        self.destination.journal.ended(STORED + self._key)

    def withdraw(self, key: str, error: BaseException) -> None:
        """Take back what was stored, because it turned out to be no good or unwanted."""
        self.fail(error)
        if not self.stored:
            return
        self.stored = False
        is_gone = True
        for name in (key + manifest.SUFFIX, key):
            try:
                self.destination.delete(name)
            except BackupError as trouble:
                is_gone = False
                self.problem = f"{error} What was stored could not be deleted: {trouble}"
        if is_gone:
            self.destination.journal.ended(STORED + key)


class Fan:
    """Writes to every branch that still works, and knows size and checksum of what passed."""

    def __init__(self, branches: Sequence[Branch]) -> None:
        self.branches = branches
        self.size = 0
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Return the checksum of what was written, in hexadecimal."""
        return self._hash.hexdigest()

    def write(self, data: bytes, /) -> int:
        """Write to each.

        Raises:
            BackupError: none of them works any more.
        """
        self._hash.update(data)
        self.size += len(data)
        for branch in self.branches:
            branch.write(data)
        self.require_one()
        return len(data)

    def require_one(self) -> None:
        """Raise BackupError when no branch works any more; it names what happened to each."""
        if all(branch.problem is not None for branch in self.branches):
            raise BackupError(
                "No destination took the backup. "
                + " ".join(f"{branch.name}: {branch.problem}" for branch in self.branches),
                step="Store",
            )


def _abandon(opened: AbstractContextManager[Writer], error: BaseException) -> None:
    kind: type[BaseException] = type(error)
    trace: TracebackType | None = error.__traceback__
    try:
        opened.__exit__(kind, error, trace)
    except BaseException as raised:
        if raised is not error:
            raise
