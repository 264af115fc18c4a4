"""Kills and restarts the server again and again, then counts."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers.http import Peer, Received
from tests.torture.points import NAMES, SHUTDOWN
from webapp.app import create_app
from webapp.core.settings import Settings
from webapp.models.channel import ChannelRow
from webapp.services import schema
from webapp.services.installation import installation
from webapp.services.transaction import transaction

ANSWERS = (200, 200, 200, 503)  # every fourth call fails, so that retries are killed as well
CHANNELS = 3


@dataclass(frozen=True)
class Kill:
    """One round: where the server is killed."""

    point: str
    number: int
    after: float = 0.0
    """Seconds until it is killed from outside, for points that are instants."""


@dataclass
class Report:
    """What became of the events of a whole suite."""

    kills: Counter[str]
    events: int = 0
    deliveries: int = 0
    lost: int = 0
    duplicates: int = 0
    strangers: int = 0
    """Messages with an id that no delivery has."""
    worst: int = 0
    """Most copies of one delivery that were accepted."""
    integrity: str = ""

    @property
    def holds(self) -> bool:
        return self.lost == 0 and self.strangers == 0 and self.integrity == "ok"


def plan(count: int, seed: int) -> Iterator[Kill]:
    """Return rounds that go through all points, with a random instant in between."""
    chance = random.Random(seed)
    for number in range(count):
        if number % 4 == 3:
            yield Kill("instant", 0, chance.uniform(0.0, 0.5))
        else:
            yield Kill(NAMES[number % len(NAMES)], chance.randint(1, 12))


def torture(kills: Iterable[Kill], folder: Path) -> Report:
    """Run the rounds on one instance, then let it finish in peace and count."""
    report = Report(Counter())
    with Peer() as peer:
        answer = iter_answers(peer)
        peer.before_answer = answer
        environ = _instance(folder, peer)
        for kill in kills:
            _round(kill, environ, report)
        _drain(environ, folder)
        _count(peer, folder, report)
    return report


def iter_answers(peer: Peer) -> "Answers":
    return Answers(peer)


class Answers:
    """Lets the peer answer 200 three times and 503 once, in turn."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._calls = 0
        self.accepted: Counter[str] = Counter()

    def __call__(self, received: Received) -> None:
        status = ANSWERS[self._calls % len(ANSWERS)]
        self._calls += 1
        self._peer.answer(status)
        if status == 200:
            self.accepted[received.headers["webhook-id"]] += 1


def _instance(folder: Path, peer: Peer) -> dict[str, str]:
    environ = os.environ | {
        "DBACKUP_INSTANCE_PATH": str(folder),
        "TORTURE_PUBLISH": "1",
    }
    app = create_app(Settings.from_env(environ))
    with app.app_context():
        schema.upgrade()
        with transaction() as session:
            for number in range(CHANNELS):
                config = {"url": f"{peer.url}/{number}", "method": "POST"}
                session.add(
                    ChannelRow(
                        type="webhook",
                        name=f"Peer {number}",
                        config=installation().sealer.seal(config),
                    )
                )
    return environ


@contextmanager
def _victim(kill: Kill, environ: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "tests.torture.victim",
            kill.point,
            str(kill.number),
        ],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _round(kill: Kill, environ: dict[str, str], report: Report) -> None:
    with _victim(kill, environ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        if kill.point == "instant":
            time.sleep(kill.after)
            process.kill()
        elif kill.point.partition(":")[0] in SHUTDOWN:
            time.sleep(0.2)
            process.terminate()
        try:
            code = process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
    report.kills[kill.point if code == -signal.SIGKILL else f"{kill.point} (not reached)"] += 1


def _drain(environ: dict[str, str], folder: Path) -> None:
    with _victim(Kill("none", 1), environ | {"TORTURE_PUBLISH": "0"}) as process:
        deadline = time.monotonic() + 60
        while _open_deliveries(folder) and time.monotonic() < deadline:
            time.sleep(0.1)
        process.terminate()
        process.wait(20)


def _open_deliveries(folder: Path) -> int:
    with sqlite3.connect(folder / "dbackup.db") as database:
        [count] = database.execute(
            "SELECT count(*) FROM delivery WHERE next_attempt_at IS NOT NULL"
        ).fetchone()
        return int(count)


def _count(peer: Peer, folder: Path, report: Report) -> None:
    answers = peer.before_answer
    assert isinstance(answers, Answers)
    journal = set((folder / "journal").read_text().split())
    with sqlite3.connect(folder / "dbackup.db") as database:
        events = {row[0] for row in database.execute("SELECT id FROM event")}
        deliveries = dict(database.execute("SELECT id, state FROM delivery"))
        [report.integrity] = database.execute("PRAGMA integrity_check").fetchone()
    report.events = len(events)
    report.deliveries = len(deliveries)
    report.lost = len(journal - events) + sum(
        state != "sent" or answers.accepted[delivery] == 0 for delivery, state in deliveries.items()
    )
    report.strangers = len(set(answers.accepted) - set(deliveries))
    report.duplicates = sum(count - 1 for count in answers.accepted.values())
    report.worst = max(answers.accepted.values(), default=0)


def run(count: int, seed: int) -> Report:
    """Torture a fresh instance in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        return torture(plan(count, seed), Path(folder))
