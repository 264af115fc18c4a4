"""The test of a destination: a small file makes the round trip."""

import secrets
from typing import Final

from webapp.backup.destinations.base import Destination
from webapp.backup.errors import BackupError

SIZE: Final = 4096


def round_trip(destination: Destination, name: str) -> None:
    """Write, read back, compare and delete a small file.

    Raises:
        BackupError: one of that failed.
    """
    key, content = f"dbackup-probe-{secrets.token_hex(4)}", secrets.token_bytes(SIZE)
    with destination.open_write(key) as writer:
        writer.write(content)
    try:
        with destination.open_read(key) as reader:
            same = reader.read() == content
    finally:
        destination.delete(key)
    if not same:
        raise BackupError(f"{name} gave back other bytes than were written to it.")
