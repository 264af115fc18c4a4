"""Kills and restarts the server again and again, and has everything looked at after each."""

import multiprocessing
import os
import random
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from typing import Final

from tests.torture import upgrades
from tests.torture.ledger import CHANNELS, Ledger
from tests.torture.peer import Recorder
from tests.torture.points import POINTS, SIDES, Phase
from tests.torture.victim import BEGUN, EVENT, REACHED, READY, STOPPING, Fate, live
from webapp.app import create_app
from webapp.core.settings import Settings
from webapp.models import db
from webapp.models.channel import ChannelRow
from webapp.notify.events import BY_TYPE
from webapp.services import outbox, schema
from webapp.services.installation import installation
from webapp.services.routing import Target
from webapp.services.transaction import transaction

REACH_WITHIN: Final = 40.0  # seconds; a point takes one or two, on a busy machine ten
INSTANTS: Final = {Phase.START: 1.5, Phase.RUNNING: 0.7, Phase.STOP: 0.2}
"""Seconds within which a random instant lies, from the moment at which the phase begins."""
INSTANTS_A_CYCLE: Final = 6
EVENTS_AT_FIRST: Final = 50
STOPPED: Final = "Stopped."
"""What the server says when all of its threads have ended."""
DRAINED_WITHIN: Final = 120.0


@dataclass(frozen=True)
class Kill:
    """One round: where the server is killed."""

    name: str
    phase: Phase
    passes: int = 1
    after: float | None = None
    """Seconds after which the parent kills it; None: it kills itself at the point."""

    @property
    def point(self) -> str:
        """The point without its side; "instant" for all instants."""
        return self.name.partition(":" if self.after is None else " ")[0]


@dataclass
class Tally:
    """How a point fared."""

    asked: int = 0
    reached: int = 0
    """The process said that it had come to the pass at which it would die."""
    killed: int = 0
    """It died by SIGKILL, and by nobody else's than its own or, for instants, the parent's."""


@dataclass
class Report:
    """What became of everything."""

    tallies: dict[str, Tally] = field(default_factory=dict)
    by_itself: int = 0
    by_the_parent: int = 0
    escaped: int = 0
    """Instants at which the process had ended already; others took their place."""
    upgrades: int = 0
    looks: int = 0
    integrity: int = 0
    events: int = 0
    deliveries: int = 0
    lost: int = 0
    strangers: int = 0
    duplicates: int = 0
    worst: int = 0
    """Most copies of one delivery that were accepted."""
    bound: int = 0
    """How many of that delivery the bound allows."""
    beyond: int = 0
    """Deliveries with more copies than the bound allows."""
    in_flight: int = 0
    """Deliveries that were sent and not yet recorded at a kill, summed over the kills."""
    problems: list[str] = field(default_factory=list)

    @property
    def kills(self) -> int:
        return self.by_itself + self.by_the_parent

    @property
    def holds(self) -> bool:
        return not self.problems


def plan(seed: int, *, statements: int = upgrades.STATEMENTS_OF_SQLITE) -> Iterator[Kill]:
    """Go through all points again and again, the other side each time, with instants behind."""
    chance = random.Random(seed)
    for cycle in count():
        for number, (name, point) in enumerate(POINTS.items()):
            side = SIDES[(number + cycle) % 2]
            passes = statements if name == "statement" else point.passes
            yield Kill(f"{name}:{side}", point.phase, chance.randint(1, passes))
        for _ in range(INSTANTS_A_CYCLE if cycle else 1):
            phase = chance.choice(list(INSTANTS))
            after = chance.uniform(0.0, INSTANTS[phase])
            yield Kill(f"instant ({phase})", phase, after=after)


def run(
    kills: int, seed: int, *, database: str | None = None, only: Collection[str] = ()
) -> Report:
    """Torture a fresh instance until the server was killed so often; `only` names points.

    `database` is the address of an empty database; without one, SQLite in a temporary folder.
    """
    statements = upgrades.STATEMENTS_OF_SQLITE if database is None else upgrades.STATEMENTS
    planned = (kill for kill in plan(seed, statements=statements) if not only or kill.point in only)
    with tempfile.TemporaryDirectory() as folder, Recorder() as peer:
        torture = Torture(Path(folder), peer, database)
        for kill in islice(planned, kills * 2):
            torture.round(kill)
            if torture.report.kills >= kills or torture.is_hopeless:
                break
        return torture.finish()


class Torture:
    """One instance, the lives of its server, and what is known about them."""

    def __init__(self, folder: Path, peer: Recorder, database: str | None = None) -> None:
        self._folder = folder
        self._revisions = upgrades.copied_to(folder / "migrations")
        self._revision = ""
        self._lives = 0
        self._environ = dict(os.environ) | {
            "DBACKUP_INSTANCE_PATH": str(folder),
            "TORTURE_REVISIONS": str(self._revisions),
        }
        if database is not None:
            self._environ["DBACKUP_DATABASE_URL"] = database
        url = self._install(peer)
        self._ledger = Ledger(url, folder / "journal", peer)
        self.report = Report()

    @property
    def is_hopeless(self) -> bool:
        """Say whether so much is broken that going on tells nothing more."""
        return len(self._ledger.problems) > 20 or len(list(self._not_reached())) > 2

    def round(self, kill: Kill) -> None:
        """Start the server, kill it, and look at what it left."""
        if kill.phase is Phase.START:
            self._revision = upgrades.add(self._revisions)
            self.report.upgrades += 1
        tally = self.report.tallies.setdefault(kill.name, Tally())
        with self._life(kill.name, kill.passes) as life:
            on_its_way = self._bring_to(life, kill)
            if kill.after is None:
                by_itself = life.ends_within(REACH_WITHIN if on_its_way else 0)
            else:
                by_itself = life.ends_within(kill.after)
        was_killed = life.process.exitcode == -signal.SIGKILL
        self._note(kill, tally, life, by_itself=by_itself, was_killed=was_killed)
        self._ledger.after_end(life.number, was_killed=was_killed)

    def finish(self) -> Report:
        """Stop once in peace, let everything go out, then count."""
        self._stop_in_peace()
        with self._life("none", 1, publishing=False) as life:
            if life.says(READY, REACH_WITHIN):
                self._ledger.after_start(life.number, life.pid, self._revision)
                self._drain()
                life.process.terminate()
            self._expect_peace(life)
        found = self._ledger.at_the_end()
        ledger, report = self._ledger, self.report
        copies = ledger.peer.copies()
        report.looks, report.integrity = ledger.looks, ledger.integrity
        report.events, report.deliveries = len(found.events), len(found.deliveries)
        report.lost = len(ledger.lost)
        report.strangers = len(ledger.strangers(found))
        report.duplicates = sum(copies.values()) - len(copies)
        report.worst, report.bound = ledger.worst()
        report.beyond = len(ledger.beyond_bound())
        report.in_flight = sum(ledger.bound(key) - 1 for key in list(ledger.in_flight))
        report.problems = [*self._not_reached(), *ledger.problems]
        return report

    def _stop_in_peace(self) -> None:
        """See that a stop amid the traffic leaves no claim behind."""
        with self._life("none", 1) as life:
            if life.says(READY, REACH_WITHIN):
                self._ledger.after_start(life.number, life.pid, self._revision)
                time.sleep(INSTANTS[Phase.RUNNING])
                life.process.terminate()
            self._expect_peace(life)
        self._ledger.after_end(life.number, was_killed=False)

    def _expect_peace(self, life: "Life") -> None:
        if life.ends_within(REACH_WITHIN) and life.process.exitcode == 0 and life.says(STOPPED, 1):
            return
        how = f"{life.number} did not stop in peace and in time"
        code = life.process.exitcode
        self._ledger.problems.append(f"{how} (status {code}): {self._last_words()}")

    def _not_reached(self) -> Iterator[str]:
        for name, tally in self.report.tallies.items():
            if name in _INSTANTS:
                continue
            if not tally.asked == tally.reached == tally.killed:
                yield (
                    f"{name}: asked {tally.asked} times, reached {tally.reached},"
                    f" killed there {tally.killed}"
                )

    def _bring_to(self, life: "Life", kill: Kill) -> bool:
        """See the life to the phase of the kill; return whether it came there."""
        if not life.says(BEGUN, REACH_WITHIN):
            return False
        if kill.phase is Phase.START:
            return True
        if not life.says(READY, REACH_WITHIN):
            self._ledger.problems.append(f"start {life.number} failed: {self._last_words()}")
            return False
        self._ledger.after_start(life.number, life.pid, self._revision)
        if kill.phase is Phase.STOP:
            life.process.terminate()
            return kill.after is None or life.says(STOPPING, REACH_WITHIN)
        return True

    def _note(
        self, kill: Kill, tally: Tally, life: "Life", *, by_itself: bool, was_killed: bool
    ) -> None:
        tally.asked += 1
        tally.reached += life.has_said(REACHED)
        as_planned = was_killed and by_itself == (kill.after is None)
        tally.killed += as_planned
        if kill.after is None:
            self.report.by_itself += as_planned
            return
        self.report.by_the_parent += as_planned
        self.report.escaped += not as_planned
        if by_itself and kill.phase is not Phase.STOP:
            self._ledger.problems.append(f"{life.number} ended: {self._last_words()}")

    def _install(self, peer: Recorder) -> str:
        app = create_app(Settings.from_env(self._environ))
        with app.app_context():
            schema.upgrade()
            self._revision = schema.known()[-1]
            self._fill(peer)
            db.engine.dispose()
            return installation().settings.database_url

    def _fill(self, peer: Recorder) -> None:
        """Make the channels, and put so much into the outbox that the first upgrade has data."""
        rows = [
            ChannelRow(
                type="webhook",
                name=f"Peer {number}",
                config=installation().sealer.seal(
                    {"url": f"{peer.url}/{number}", "method": "POST"}
                ),
            )
            for number in range(CHANNELS)
        ]
        with transaction() as session:
            session.add_all(rows)
        targets = [
            Target(channel_id=row.id, channel_name=row.name, channel_type=row.type) for row in rows
        ]
        with transaction() as session:
            written = [
                outbox.write(session, BY_TYPE[EVENT].sample(), targets)
                for _ in range(EVENTS_AT_FIRST)
            ]
        (self._folder / "journal").write_text("".join(f"{one}\n" for one in written))

    @contextmanager
    def _life(self, point: str, passes: int, *, publishing: bool = True) -> Iterator["Life"]:
        self._lives += 1
        environ = self._environ | {"TORTURE_PUBLISH": "1" if publishing else "0"}
        fate = Fate(
            life=self._lives,
            point=point,
            passes=passes,
            environ=environ,
            errors=self._folder / "stderr",
        )
        with closing(Life(fate)) as life:
            yield life

    def _last_words(self) -> str:
        lines = (self._folder / "stderr").read_text(errors="replace").splitlines()
        return lines[-1] if lines else "it said nothing"

    def _drain(self) -> None:
        deadline = time.monotonic() + DRAINED_WITHIN
        while self._ledger.still_open() and time.monotonic() < deadline:
            time.sleep(0.2)


_INSTANTS: Final = frozenset(f"instant ({phase})" for phase in INSTANTS)


_makers: Final = multiprocessing.get_context("forkserver")
_makers.set_forkserver_preload(["tests.torture.victim"])  # importing it takes longer than starting


class Life:
    """One process of the server, and what it said."""

    def __init__(self, fate: Fate) -> None:
        self.number = fate.life
        self._output, output = _makers.Pipe(duplex=False)
        self.process = _makers.Process(target=live, args=(fate, output))
        self.process.start()
        output.close()
        self._said: Counter[str] = Counter()
        self._news = threading.Condition()
        self._has_ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with os.fdopen(os.dup(self._output.fileno())) as lines:
            for line in lines:
                with self._news:
                    self._said[line.strip()] += 1
                    self._news.notify_all()
        with self._news:
            self._has_ended = True
            self._news.notify_all()

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    def says(self, words: str, seconds: float) -> bool:
        """Wait for a line; False: it ended or the time is over."""
        with self._news:
            self._news.wait_for(lambda: self._said[words] or self._has_ended, seconds)
            return self._said[words] > 0

    def has_said(self, words: str) -> bool:
        return self._said[words] > 0

    def close(self) -> None:
        """Kill it if it runs still, and hear what it had to say."""
        self.process.kill()
        self.process.join()
        self._reader.join()
        self._output.close()

    def ends_within(self, seconds: float) -> bool:
        self.process.join(seconds)
        return self.process.exitcode is not None
