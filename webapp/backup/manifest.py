"""The small JSON file beside each artifact: what it is, and how to know that it is whole."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from webapp.backup.destinations.base import Destination
from webapp.backup.errors import BackupError
from webapp.backup.files import CHUNK
from webapp.core import text

FORMAT: Final = 1
SUFFIX: Final = ".json"
LARGEST: Final = 2**63 - 1  # bytes, of a BIGINT
EARLIEST, LATEST = 1970, 9000  # years
LONGEST_WORD: Final = 20  # characters, of the columns
LONGEST_NAME: Final = 64  # characters, of the columns; no system takes longer names of databases
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


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
    def dump_size(self) -> int | None:
        """Return the size of the dump itself, before it was compressed; None: nobody said."""
        return int(self.values.get("dump_size") or 0) or None

    @property
    def database(self) -> str:
        """Return the name of the database that was dumped; "" when it does not say."""
        return str(self.values["source"].get("database") or "")[:LONGEST_NAME]

    @property
    def created_at(self) -> datetime:
        """Return the moment of the backup."""
        return datetime.fromisoformat(str(self.values["created_at"]))


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
        manifest = parse(content)
    except ValueError as error:
        raise BackupError(f"The manifest of {key} is damaged. Restore another backup.") from error
    if manifest.values["format"] != FORMAT:
        raise BackupError(f"{key} was made by a newer version of DBackup. Update this one first.")
    return manifest


def parse(content: bytes) -> Manifest:
    """Return the manifest that was read; whoever may write to a destination may have made it.

    Raises:
        ValueError: something is missing, or has no sense.
    """
    try:
        values = _clean(json.loads(content))
        manifest = Manifest(values)
        encryption, dump_size = values.get("encryption"), manifest.dump_size or 0
        made = manifest.created_at
        fits = (
            made.tzinfo is not None
            and EARLIEST <= made.year <= LATEST
            and "format" in values
            and isinstance(values["size"], int)
            and isinstance(values["compression"], str)
            and isinstance(values["source"]["type"], str)
            and 0 <= manifest.size <= LARGEST
            and 0 <= dump_size <= LARGEST
            and bool(_SHA256.fullmatch(manifest.sha256))
            and len(manifest.compression) <= LONGEST_WORD
            and len(manifest.source_type) <= LONGEST_WORD
            and (encryption is None or isinstance(encryption, dict))
        )
    except (KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError("no manifest") from error
    if not fits:
        raise ValueError("no manifest")
    return manifest


def _clean(value: Any) -> Any:
    """Return the value without characters that no page and no database takes."""
    if isinstance(value, str):
        return text.clean(value)
    if isinstance(value, list):
        return [_clean(each) for each in value]
    if isinstance(value, dict):
        return {text.clean(name): _clean(each) for name, each in value.items()}
    return value


def is_manifest(key: str) -> bool:
    """Say whether this key is a manifest's."""
    return key.endswith(SUFFIX)


def artifact_of(key: str) -> str:
    """Return the artifact's key of a manifest's key."""
    return key.removesuffix(SUFFIX)
