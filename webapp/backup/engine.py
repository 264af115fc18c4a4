"""The pipeline of a backup: dump, compress, store at each destination, verify."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from webapp.backup.destinations.base import Destination
from webapp.backup.progress import Progress
from webapp.backup.sources.base import Source


@dataclass(frozen=True)
class Place:
    """A destination of this backup, with the id and name it is known by."""

    id: int
    name: str
    destination: Destination


@dataclass(frozen=True)
class PlaceResult:
    """What became of the backup at one place."""

    id: int
    name: str
    stored: bool
    detail: str
    """Why it is not stored, or what was stored there."""


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A backup that at least one place holds, verified."""

    key: str
    size: int
    sha256: str
    manifest: dict[str, Any]
    places: tuple[PlaceResult, ...]


def back_up(
    source: Source,
    places: Sequence[Place],
    *,
    key: str,
    compression: str,
    facts: Mapping[str, Any],
    progress: Progress,
) -> Stored:
    """Back up the source to every place as `key`, with a manifest beside it (`<key>.json`).

    The steps are "Connect", "Dump", "Store" and "Verify"; memory stays flat. A manifest is
    written last, so an artifact that has one was read back whole. `compression` is "gzip" or
    "none"; `facts` (JSON-ready) are added to the manifest. A place that fails does not stop the
    others.

    Raises:
        BackupError: the dump failed, or no place took it; `step` says where.
        CancelledError: it was stopped; nothing stays at any place.
    """
    raise NotImplementedError
