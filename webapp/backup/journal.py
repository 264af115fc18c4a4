"""How a destination tells what it has begun to write, so that it can be found after a crash."""

from typing import Protocol


class Journal(Protocol):
    """Keeps references to what is not whole yet; `Destination.discard` takes them."""

    def began(self, ref: str) -> None:
        """Note it, durably, before it exists (or as soon as its name is known)."""

    def ended(self, ref: str) -> None:
        """Forget it: it is whole, or nothing of it is left."""


class NoJournal:
    """For writes that nobody looks after."""

    def began(self, ref: str) -> None:
        """Do nothing."""

    def ended(self, ref: str) -> None:
        """Do nothing."""
