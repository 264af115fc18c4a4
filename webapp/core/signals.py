"""SIGTERM and Ctrl-C as a fact to look at instead of an exception that may strike anywhere.

What a signal handler raises is lost when it strikes in a destructor or in a callback of the garbage
collector. A flag is never lost.
"""

import os
import signal
from types import FrameType


class StopSignals:
    """Remembers the first signal; a second one ends the process at once."""

    def __init__(self, last_words: str) -> None:
        self.came: int | None = None
        self._last_words = f"{last_words}\n".encode()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._take)

    def _take(self, number: int, _frame: FrameType | None) -> None:
        if self.came is not None:
            os.write(2, self._last_words)  # print could meet a print that was interrupted
            os._exit(1)
        self.came = number
