"""What must hold after every kill and every start: looked up in the database and at the peer."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Row, create_engine, select, text
from sqlalchemy.pool import NullPool

from tests.torture.peer import Recorder
from tests.torture.victim import EVENT
from webapp.models.audit import GUARDS
from webapp.models.delivery import Attempt, Delivery, EventRow, State

CHANNELS: Final = 3
NAMED: Final = 5  # examples in a problem's words; the rest is counted

_EVENTS: Final = select(EventRow.id).where(EventRow.type == EVENT)
_DELIVERIES: Final = (
    select(
        Delivery.id, Delivery.event_id, Delivery.state, Delivery.lease_owner, Delivery.leased_until
    )
    .join(EventRow, EventRow.id == Delivery.event_id)
    .where(EventRow.type == EVENT)
)
_STILL_OPEN: Final = select(Delivery.id).where(Delivery.next_attempt_at.is_not(None)).limit(1)
_ATTEMPTS: Final = select(Attempt.id)
_OPEN: Final = frozenset({State.QUEUED, State.SENDING, State.RETRYING})


@dataclass
class Found:
    """What a look at the database found."""

    events: set[str]
    deliveries: dict[str, Row[Any]]
    attempts: int
    revision: str
    guarded: bool

    @property
    def open(self) -> int:
        return sum(row.state in _OPEN for row in self.deliveries.values())


@dataclass
class Ledger:
    """Remembers what was promised so far, and collects what was broken."""

    url: str
    journal: Path
    peer: Recorder
    problems: list[str] = field(default_factory=list)
    looks: int = 0
    integrity: int = 0
    """Looks at which the database was whole."""
    lost: set[str] = field(default_factory=set)
    in_flight: defaultdict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    """For each delivery, the lives at whose kill it was claimed and not recorded."""
    _known: dict[str, str] = field(default_factory=dict)
    """Every delivery that was ever there, with its event."""
    _attempts: int = 0

    def after_end(self, life: int, *, was_killed: bool) -> None:
        """Look at what the process left; nobody uses the database now."""
        found = self._look(f"after the end of {life}")
        claimed = [row.id for row in found.deliveries.values() if row.leased_until is not None]
        if was_killed:
            for delivery in claimed:
                self.in_flight[delivery].add(life)
        else:
            self._none(claimed, f"{life} stopped in peace and left claims")

    def after_start(self, life: int, pid: int, revision: str) -> None:
        """Look while the next process runs: upgraded, and nothing is leased to the dead one."""
        found = self._look(f"after start {life}")
        if found.revision != revision:
            self._broken(f"after start {life}: at revision {found.revision}, not {revision}")
        if not found.guarded:
            self._broken(f"after start {life}: the audit log is not guarded")
        held = [
            row.id
            for row in found.deliveries.values()
            if row.leased_until is not None and row.lease_owner.split(":")[1] != str(pid)
        ]
        self._none(held, f"after start {life}: still leased to a dead process")

    def at_the_end(self) -> Found:
        """Look when nothing is to be sent any more."""
        found = self._look("at the end")
        copies = self.peer.copies()
        waiting = [row.id for row in found.deliveries.values() if row.state in _OPEN]
        self._none(waiting, "at the end: not sent")
        unheard = [key for key in found.deliveries if not copies.get(key)]
        self.lost |= {*unheard, *waiting}
        self._none(unheard, "at the end: not received")
        self._none(self.strangers(found), "received, but there is no such delivery")
        self._none(self.beyond_bound(), "more copies than kills while in flight allow")
        self._none(self.twice_in_a_life(), "accepted twice from one process")
        return found

    def still_open(self) -> bool:
        """Say whether there is something to be sent."""
        with create_engine(self.url, poolclass=NullPool).connect() as connection:
            return connection.scalar(_STILL_OPEN) is not None

    def bound(self, delivery: str) -> int:
        """Return how many copies are allowed: one, and one for each kill while it was in flight.

        It was in flight when the killed process had sent it and not yet recorded what came of it.
        """
        return 1 + sum((delivery, life) in self.peer.seen for life in self.in_flight[delivery])

    def worst(self) -> tuple[int, int]:
        """Return the most copies of a delivery, and how many of it were allowed."""
        copies = self.peer.copies()
        most = max(copies.values(), default=0)
        bounds = [self.bound(key) for key, count in copies.items() if count == most]
        return most, min(bounds, default=0)

    def beyond_bound(self) -> list[str]:
        return [key for key, count in self.peer.copies().items() if count > self.bound(key)]

    def twice_in_a_life(self) -> list[str]:
        return [key for key, lives in self.peer.accepted.items() if max(lives.values()) > 1]

    def strangers(self, found: Found) -> list[str]:
        return [key for key in self.peer.copies() if key not in found.deliveries]

    def _look(self, when: str) -> Found:
        promised = set(self.journal.read_text().split()) if self.journal.exists() else set()
        found, whole = look(self.url)
        copies = self.peer.copies()  # after the look: what is stored as sent was accepted before
        self.looks += 1
        self.integrity += whole == "ok"
        if whole != "ok":
            self._broken(f"{when}: integrity {whole}")
        self._lose(promised - found.events, f"{when}: promised events that are gone")
        self._lose(self._known.keys() - found.deliveries.keys(), f"{when}: deliveries gone")
        targets = Counter(row.event_id for row in found.deliveries.values())
        short = [event for event in found.events if targets[event] != CHANNELS]
        self._lose(short, f"{when}: events without all of their deliveries")
        self._lose(
            [
                row.id
                for row in found.deliveries.values()
                if row.state not in _OPEN and (row.state != State.SENT or not copies.get(row.id))
            ],
            f"{when}: neither to be sent nor received",
        )
        if found.attempts < self._attempts:
            self._broken(f"{when}: {self._attempts - found.attempts} attempts are gone")
        self._attempts = found.attempts
        self._known |= {row.id: row.event_id for row in found.deliveries.values()}
        return found

    def _lose(self, lost: Iterable[str], words: str) -> None:
        missing = set(lost)
        self.lost |= missing
        self._none(missing, words)

    def _none(self, wrong: Iterable[str], words: str) -> None:
        found = sorted(wrong)
        if found:
            self._broken(f"{words}: {len(found)} ({', '.join(found[:NAMED])})")

    def _broken(self, problem: str) -> None:
        self.problems.append(problem)


def look(url: str) -> tuple[Found, str]:
    """Read everything, and say whether the database is whole ("ok" or what is wrong)."""
    with create_engine(url, poolclass=NullPool).connect() as connection:
        return _found(connection), _integrity(connection)


def _found(connection: Connection) -> Found:
    """Read everything in one transaction."""
    return Found(
        events=set(connection.scalars(_EVENTS)),
        deliveries={row.id: row for row in connection.execute(_DELIVERIES).all()},
        attempts=len(connection.scalars(_ATTEMPTS).all()),
        revision=str(connection.scalar(text("SELECT version_num FROM alembic_version"))),
        guarded=_is_guarded(connection),
    )


def _is_guarded(connection: Connection) -> bool:
    tables: dict[str, tuple[str, str]] = {
        "sqlite": ("sqlite_master WHERE type = 'trigger'", "name"),
        "postgresql": ("pg_trigger WHERE true", "tgname"),
    }
    place, name = tables[connection.dialect.name]
    found = connection.scalar(text(f"SELECT count(*) FROM {place} AND {name} LIKE 'audit%'"))
    guards = sum("CREATE TRIGGER" in statement for statement in GUARDS[connection.dialect.name])
    return bool(found == guards)


def _integrity(connection: Connection) -> str:
    looks: dict[str, Callable[[Connection], str]] = {
        "sqlite": _integrity_of_sqlite,
        "postgresql": _integrity_of_postgresql,
    }
    return looks[connection.dialect.name](connection)


def _integrity_of_sqlite(connection: Connection) -> str:
    whole = connection.exec_driver_sql("PRAGMA integrity_check").scalar_one()
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
    return str(whole if broken is None else f"a reference of {broken[0]} to nothing")


def _integrity_of_postgresql(connection: Connection) -> str:
    """Look for references to nothing; the pages are the business of another process, the server."""
    orphans = connection.scalar(
        text(
            "SELECT count(*) FROM delivery LEFT JOIN event ON event.id = event_id"
            " WHERE event.id IS NULL"
        )
    )
    return "ok" if orphans == 0 else f"{orphans} deliveries without an event"
