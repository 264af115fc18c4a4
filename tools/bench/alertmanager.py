"""Prometheus Alertmanager, where it is installed: as many alerts, to the same kind of peer.

It keeps nothing on disk between an alert's arrival and its message, and sends from a goroutine per
group of alerts; here every alert is a group of its own.
"""

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import requests

from tools.bench.commits import PAUSE
from tools.bench.peer import Peer
from tools.bench.server import free_port

NAMES: Final = ("prometheus-alertmanager", "alertmanager")  # Debian's, and the project's own
SECONDS: Final = 60


def program() -> str | None:
    """Return the program, if it is here."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def send(executable: str, folder: Path, peer: Peer, count: int, *, at_once: int) -> None:
    """Have it send so many messages to the peer, and wait until they have arrived.

    The alerts are handed over `at_once` in a request; Prometheus sends up to 64.
    """
    with _running(executable, folder, peer) as hand_over:
        for first in range(0, count, at_once):
            hand_over([_alert(number) for number in range(first, min(first + at_once, count))])
        peer.wait(count, seconds=SECONDS)


def milliseconds(executable: str, folder: Path, peer: Peer, count: int) -> list[float]:
    """Return how long each alert took from the request that handed it over to the idle peer."""
    moments = []
    with _running(executable, folder, peer) as hand_over:
        for number in range(count):
            time.sleep(PAUSE)
            moments.append(time.monotonic())
            hand_over([_alert(number)])
        peer.wait(count, seconds=SECONDS)
    arrivals = zip(moments, sorted(peer.arrived), strict=True)
    return [(arrived - at) * 1000 for at, arrived in arrivals]


@contextmanager
def _running(executable: str, folder: Path, peer: Peer) -> Iterator[Callable[[list[Any]], None]]:
    folder.mkdir()
    config = folder / "alertmanager.yml"
    config.write_text(
        json.dumps(  # YAML reads JSON
            {
                "route": {
                    "receiver": "peer",
                    "group_by": ["..."],
                    "group_wait": "0s",
                    "group_interval": "1h",
                    "repeat_interval": "4h",
                },
                "receivers": [
                    {
                        "name": "peer",
                        "webhook_configs": [{"url": peer.url, "send_resolved": False}],
                    }
                ],
            }
        )
    )
    address = f"127.0.0.1:{free_port()}"
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(
            [
                executable,
                f"--config.file={config}",
                f"--storage.path={folder}",
                f"--web.listen-address={address}",
                "--cluster.listen-address=",
            ],
            stdout=log,
            stderr=log,
        ) as process,
        requests.Session() as session,
    ):

        def hand_over(alerts: list[Any]) -> None:
            answer = session.post(f"http://{address}/api/v2/alerts", json=alerts, timeout=SECONDS)
            answer.raise_for_status()

        try:
            _until_ready(f"http://{address}/-/ready")
            yield hand_over
        finally:
            process.terminate()


def _alert(number: int) -> dict[str, object]:
    return {
        "labels": {"alertname": "System error: Scheduler", "number": str(number)},
        "annotations": {"message": "x" * 600},
        "startsAt": datetime.now(UTC).isoformat(),
    }


def _until_ready(url: str) -> None:
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            if requests.get(url, timeout=1).ok:
                return
        except requests.ConnectionError:
            pass
        if time.monotonic() > deadline:
            raise RuntimeError("Alertmanager did not start")
        time.sleep(0.1)
