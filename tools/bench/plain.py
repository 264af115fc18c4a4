"""Posts as a plain program would: `requests.Session.post`, kept alive, nothing on disk."""

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import requests

THREADS: Final = 4
BODY: Final = {"title": "System error: Scheduler", "message": "x" * 600, "success": False}


def main(url: str, count: int) -> None:
    """Post `count` times to the address, from four threads with a session each."""
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(_post, [url] * THREADS, [count // THREADS] * THREADS))


def _post(url: str, count: int) -> None:
    with requests.Session() as session:
        for _ in range(count):
            session.post(url, json=BODY, timeout=10).raise_for_status()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
