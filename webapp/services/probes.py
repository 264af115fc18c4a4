"""A broken channel is probed with what waits for it, once an hour."""

from datetime import timedelta
from typing import Final

PROBE_EVERY: Final = timedelta(hours=1)


def waits_for_repair(error: str) -> str:
    """Return the reason why a message to a broken channel waits."""
    return f"The channel is broken, so this waits until it is mended: {error}"
