"""Logging: one line per event, facts as key=value, secrets masked."""

import logging
import sys
from typing import Final, TextIO

from webapp.core.scrub import scrub

_STANDARD: Final = frozenset(logging.makeLogRecord({}).__dict__) | {
    "message",
    "asctime",
    "taskName",
}

_SAY_ADDRESSES: Final = ("urllib3", "botocore", "requests_oauthlib", "oauthlib")
"""Libraries that, when they are asked for details, tell whole addresses, headers and tokens."""


class KeyValueFormatter(logging.Formatter):
    """Writes time, level, logger, text and the facts of `extra` on one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; a traceback follows on its own lines."""
        line = super().format(record)
        facts = " ".join(
            f"{key}={value}" for key, value in record.__dict__.items() if key not in _STANDARD
        )
        return scrub(f"{line} {facts}" if facts else line)


def configure(level: int = logging.INFO, stream: TextIO | None = None) -> None:
    """Send all logging to the stream (standard error by default); call once, at the edge."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(KeyValueFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _SAY_ADDRESSES:
        logging.getLogger(name).setLevel(max(level, logging.INFO))
    logging.getLogger("apscheduler").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
