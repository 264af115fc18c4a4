"""How a backup tells its watcher where it is, and learns that it should stop."""

from typing import Protocol


class Progress(Protocol):
    """Implemented by whoever runs a backup or a restore. Called from that thread only."""

    def step(self, name: str) -> None:
        """A new step begins: "Connect", "Dump", "Store", "Verify", "Fetch", "Load"."""

    def advance(self, done: int, total: int | None) -> None:
        """This many bytes of the step are done; the total is an estimate or not known.

        Called for each chunk, thus many times a second.
        """

    def line(self, level: str, text: str) -> None:
        """Add a line ("info", "warning", "error") to the log; it holds no secrets."""

    def check(self) -> None:
        """Return quickly; called often.

        Raises:
            CancelledError: the run should stop now.
        """
