"""A bell between floors: services ring it after a commit, the dispatcher waits for it."""

import threading

_rung = threading.Event()


def ring() -> None:
    """Say that there may be deliveries to send."""
    _rung.set()


def wait(seconds: float) -> bool:
    """Wait until somebody rings, at most this many seconds; return whether somebody did."""
    rang = _rung.wait(seconds)
    _rung.clear()
    return rang
