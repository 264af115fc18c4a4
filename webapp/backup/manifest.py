"""The small JSON file beside each artifact: what it is, and how to know that it is whole."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from webapp.backup.destinations.base import Destination
from webapp.backup.errors import BackupError
from webapp.backup.files import CHUNK

FORMAT: Final = 1
SUFFIX: Final = ".json"


@dataclass(frozen=True)
class Manifest:
    """A manifest that can be used; `values` is all of it."""

    values: dict[str, Any]

    @property
    def size(self) -> int:
        """Return the size of the artifact in bytes."""
        return int(self.values["size"])

    @property
    def sha256(self) -> str:
        """Return the checksum of the artifact, in hexadecimal."""
        return str(self.values["sha256"])

    @property
    def compression(self) -> str:
        """Return "zstd", "gzip" or "none"."""
        return str(self.values["compression"])

    @property
    def encryption(self) -> Mapping[str, Any] | None:
        """Return how it is encrypted; None: it is not."""
        facts = self.values.get("encryption")
        if facts is not None and (not isinstance(facts, dict) or facts.get("format") != "age"):
            raise BackupError("The artifact is encrypted in a way that is not known here.")
        return facts

    @property
    def source_type(self) -> str:
        """Return the type of the source that was dumped."""
        return str(self.values["source"]["type"])

    @property
    def created_at(self) -> str:
        """Return the moment of the backup, ISO 8601 in UTC; texts sort by time."""
        return str(self.values["created_at"])


def write(destination: Destination, key: str, values: dict[str, Any]) -> None:
    """Store the manifest of the artifact `key`."""
    with destination.open_write(key + SUFFIX) as writer:
        writer.write(json.dumps(values, ensure_ascii=False, indent=2).encode() + b"\n")


def read(destination: Destination, key: str) -> Manifest:
    """Return the manifest of the artifact `key`.

    Raises:
        BackupError: there is none, or it cannot be used.
    """
    with destination.open_read(key + SUFFIX) as reader:
        content = reader.read(CHUNK)
    try:
        manifest = Manifest(json.loads(content))
        known = manifest.values["format"] == FORMAT
        _ = (manifest.size, manifest.sha256, manifest.compression, manifest.source_type)
        _ = manifest.created_at
    except (ValueError, KeyError, TypeError) as error:
        raise BackupError(f"The manifest of {key} is damaged. Restore another backup.") from error
    if not known:
        raise BackupError(f"{key} was made by a newer version of DBackup. Update this one first.")
    return manifest


def is_manifest(key: str) -> bool:
    """Say whether this key is a manifest's."""
    return key.endswith(SUFFIX)


def artifact_of(key: str) -> str:
    """Return the artifact's key of a manifest's key."""
    return key.removesuffix(SUFFIX)
