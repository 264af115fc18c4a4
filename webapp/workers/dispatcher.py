"""Threads that empty the outbox.

One thread, the pump, talks to the database: it records what the senders report and claims what is
due, both in one transaction. Deliveries of one channel form a lane; a lane has one sender at a
time, so a channel that hangs delays only itself. Senders are started as lanes need them and end
when there is nothing to do. A sender that does not come back is left behind: its lease is renewed
no more, so the message is tried again, and its lane gets another sender.

Nothing is begun on a lease that may have ended: a process that was frozen, or could not reach the
database for a while, wakes up to claims that others have taken over and sent.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from flask import Flask
from sqlalchemy.exc import OperationalError

from webapp.core import bell, clock
from webapp.core.errors import PermanentError
from webapp.services import claims, outcomes, sending, system_errors
from webapp.services.claims import Claim, Claimed
from webapp.services.outcomes import Result
from webapp.services.sending import Ready
from webapp.services.transaction import KeptConnection, is_conflict, was_cut

logger = logging.getLogger(__name__)

POLL: Final = 2.0  # seconds; finds what other processes published and rings that were lost
BATCH: Final = 64  # rows claimed at once
LANE_FULL: Final = (16, 64)
"""Claims waiting in a lane, above which it gets no more: the most for a channel that is so fast
that it would run dry while the pump goes round. Slow ones hold few: each claim keeps the settings
of its channel as they were when it was made."""
LANE_SECONDS: Final = 0.05  # of work in a lane; a round takes about 40 ms while results come in
RENEW_EVERY: Final = 15.0  # seconds, a third of the lease
CERTAIN_FOR: Final = claims.LEASE - timedelta(seconds=RENEW_EVERY)
"""From the renewal of a lease on; then two more were missed, and a call may outlast it."""
LONGEST_ATTEMPT: Final = 180.0
"""Seconds. Each call of an attempt ends after 30 by itself; what lasts longer than all of them is a
fault of ours."""
CHORES_EVERY: Final = 30.0  # seconds
REST_AFTER_ERROR: Final = 1.0  # seconds; a full disk must not spin the loop
GATHER: Final = 0.025  # seconds; results that are recorded together share the price of a commit
GATHERED: Final = 32  # results; so many are recorded without waiting for more
SHORTEST_PAUSE: Final = 0.01  # seconds; rows that somebody else is claiming must not spin the loop
SENDER_IDLE: Final = 10.0  # seconds until an idle sender ends


@dataclass(frozen=True)
class _Sending:
    """What a sender is at, and since when (monotonic)."""

    lane: int
    claim: Claim
    since: float


@dataclass(frozen=True)
class _Moment:
    """By both clocks: one may have been set, and the other stands still while a machine sleeps."""

    wall: datetime
    monotonic: float

    @classmethod
    def now(cls) -> "_Moment":
        return cls(clock.now(), time.monotonic())

    def is_within(self, time_ago: timedelta) -> bool:
        """Say whether it was so short a time ago by either clock."""
        passed = timedelta(seconds=time.monotonic() - self.monotonic)
        return max(passed, clock.now() - self.wall) < time_ago


@dataclass(frozen=True)
class _Held:
    """A claim whose lease is ours, and when that was last made sure of."""

    claim: Claim
    leased: _Moment


class Dispatcher:
    """Sends what is due until it is stopped."""

    def __init__(self, app: Flask, *, most_threads: int) -> None:
        self._app = app
        self._most_threads = most_threads
        self._stopping = threading.Event()
        self._pump = threading.Thread(target=self._run, name="dispatcher", daemon=True)
        self._connection = KeptConnection()  # for claims; only the pump uses it
        self._parked: dict[int, tuple[datetime, datetime]] = {}
        """Since and until when channels have used up their rate; only the pump looks at it."""
        self.moved_at = time.monotonic()
        """When the pump last went round; a watchdog may look at it."""

        self._lock = threading.Lock()  # guards everything below
        self._work = threading.Condition(self._lock)
        self._lanes: dict[int, deque[Claim]] = {}
        """What waits, by channel. A lane is here while a sender drives it or it is ready."""
        self._pace: dict[int, timedelta] = {}
        """How long the latest attempt of each lane took."""
        self._ready: deque[int] = deque()
        """Lanes that wait for a sender."""
        self._held: dict[str, _Held] = {}
        """Claims whose leases are ours: waiting, being sent, or not recorded yet."""
        self._results: list[Result] = []
        self._dropped: list[Claim] = []
        self._senders: set[threading.Thread] = set()
        self._sending: dict[threading.Thread, _Sending] = {}
        self._idle = 0
        """How many of the senders drive no lane."""

    def start(self) -> None:
        """Begin to send."""
        self._pump.start()

    def stop(self, timeout: float) -> bool:
        """Claim no more, let calls that are under way end, give back the rest.

        Returns whether everything ended within `timeout` seconds; what did not is taken over by
        the next process when its lease ends, or at once when that process starts on this host.
        """
        deadline = time.monotonic() + timeout
        self._stopping.set()
        bell.ring()
        self._pump.join(timeout)
        with self._work:
            self._work.notify_all()
        with self._app.app_context():
            while self._alive() and time.monotonic() < deadline:
                time.sleep(0.02)
                self._record_last()
            self._record_last()
        return not self._pump.is_alive() and not self._alive()

    def _alive(self) -> bool:
        with self._lock:
            return bool(self._senders)

    # the pump -----------------------------------------------------------------------------

    def _run(self) -> None:
        with self._app.app_context():
            renewed = chores = time.monotonic()
            while not self._stopping.is_set():
                try:
                    now = time.monotonic()
                    # first: a round may fail again and again, and claims anew what has lapsed
                    if now - renewed >= RENEW_EVERY:
                        self._leave_behind()
                        self._renew()
                        renewed = now
                    if now - chores >= CHORES_EVERY:
                        system_errors.follow_up()
                        chores = now
                    pause = self._go_round()
                    self.moved_at = time.monotonic()
                except Exception as error:
                    if is_conflict(error):  # both processes were right; nothing was lost
                        logger.warning("another process was faster; going round again")
                        continue
                    pause = REST_AFTER_ERROR
                    if was_cut(error):
                        logger.warning("the database closed the connection; connecting anew")
                    else:
                        logger.exception("dispatcher stumbled")
                        system_errors.report("Dispatcher", error)
                if pause:
                    bell.wait(pause)
            self._connection.close()
            self._release_lanes()

    def _go_round(self) -> float:
        """Record and claim once; return how many seconds there is nothing to do."""
        if self._is_busy():
            bell.wait(GATHER)
        passed_over = self._passed_over()
        began = _Moment.now()
        claimed = self._write(passed_over)
        now = clock.now()
        self._parked |= {lane: (now, until) for lane, until in claimed.parked.items()}
        self._hand_out(claimed.claims, began)
        self._start_senders()
        if claimed.more or self._has_results():
            return 0.0
        if claimed.claims:
            return GATHER  # the senders first: to look now would hold them up
        return self._pause(passed_over)

    def _pause(self, passed_over: list[int]) -> float:
        """Return how long nothing becomes due; asked only now that everything due is on its way."""
        due = claims.next_due(passed_over=[*passed_over, *self._parked])
        moments = [until for _, until in self._parked.values()] + ([due] if due else [])
        waits = [(moment - clock.now()) / timedelta(seconds=1) for moment in moments]
        return min(max(min(waits, default=POLL), SHORTEST_PAUSE), POLL)

    def _has_results(self) -> bool:
        with self._lock:
            return bool(self._results)

    def _is_busy(self) -> bool:
        """Say whether results come in from a lane that has more to send."""
        with self._lock:
            return bool(self._results) and any(self._lanes.values())

    def _take(self) -> tuple[list[Result], list[Claim]]:
        with self._lock:
            results, self._results = self._results, []
            dropped, self._dropped = self._dropped, []
            self._let_go(dropped)
        return results, dropped

    def _write(self, passed_over: list[int]) -> Claimed:
        """Give back, record and claim."""
        results, dropped = self._take()
        try:
            claims.release(dropped)
            dropped = []
            if results:
                return self._record_and_claim(results, passed_over)
            return claims.claim_due(BATCH, passed_over=passed_over, kept=self._connection)
        except Exception:  # disk full, locked for long: nothing that was sent is forgotten
            with self._lock:
                self._results[:0] = results
                self._dropped[:0] = dropped
            raise

    def _record_and_claim(self, results: list[Result], passed_over: list[int]) -> Claimed:
        try:
            claimed = outcomes.record_and_claim(results, BATCH, passed_over=passed_over)
        except OperationalError:
            raise  # the same batch is recorded by the next round
        except Exception:
            logger.exception("a batch could not be recorded; recording one by one")
            self._record_singly(results)
            return Claimed()
        self._forget(results)
        return claimed

    def _record_singly(self, results: list[Result]) -> None:
        for result in results:
            try:
                outcomes.record([result])
            except Exception as error:
                logger.exception("an attempt could not be recorded")
                system_errors.report("Delivery log", error)
            self._forget([result])  # if it was not recorded, its lease ends and it is sent again

    def _forget(self, results: list[Result]) -> None:
        with self._lock:
            self._let_go(result.claim for result in results)

    def _holds(self, claim: Claim) -> _Held | None:
        """Return the lease of this very claim; another of its delivery may have come after it."""
        held = self._held.get(claim.delivery_id)
        return held if held is not None and held.claim is claim else None

    def _let_go(self, claims: Iterable[Claim]) -> None:
        """Hold these claims no longer (the lock is held)."""
        for claim in claims:
            if self._holds(claim) is not None:
                del self._held[claim.delivery_id]

    def _renew(self) -> None:
        with self._lock:
            for lane in self._lanes:
                self._drop_uncertain(lane)
            held = [one.claim for one in self._held.values()]
        if not held:
            return
        began = _Moment.now()
        claims.renew(held)
        with self._lock:
            for claim in held:
                if self._holds(claim) is not None:
                    self._held[claim.delivery_id] = _Held(claim, began)

    def _leave_behind(self) -> None:
        """Give up senders that do not come back: their lease ends, and their lane goes on."""
        since = time.monotonic() - LONGEST_ATTEMPT
        with self._lock:
            late = {at: one for at, one in self._sending.items() if one.since < since}
            for thread, one in late.items():
                del self._sending[thread]
                self._senders.discard(thread)
                self._let_go([one.claim])
                self._dropped.extend(self._lanes.pop(one.lane))
        for one in late.values():
            logger.error("an attempt did not end", extra={"delivery": one.claim.delivery_id})
            words = f"An attempt did not end within {LONGEST_ATTEMPT:g} s. It is made again."
            system_errors.report("Notification delivery", TimeoutError(words))

    def _passed_over(self) -> list[int]:
        """Return the channels that get nothing now: enough is waiting, or their rate is used up."""
        now = clock.now()  # before `since`: the clock was set back, and the buckets know better
        self._parked = {
            lane: (since, until)
            for lane, (since, until) in self._parked.items()
            if since <= now < until
        }
        with self._lock:
            full = [lane for lane, waiting in self._lanes.items() if self._is_full(lane, waiting)]
        return [*full, *self._parked]

    def _is_full(self, lane: int, waiting: Collection[Claim]) -> bool:
        """Say whether a lane has work for a while (the lock is held)."""
        least, most = LANE_FULL
        took = self._pace.get(lane, timedelta.max).total_seconds()
        return len(waiting) >= min(max(least, LANE_SECONDS / max(took, 1e-6)), most)

    def _hand_out(self, claimed: list[Claim], leased: _Moment) -> None:
        with self._work:
            for claim in claimed:
                self._held[claim.delivery_id] = _Held(claim, leased)
                lane = claim.channel.id
                if lane in self._lanes:
                    self._lanes[lane].append(claim)
                else:
                    self._lanes[lane] = deque([claim])
                    self._ready.append(lane)
                    self._work.notify()

    def _start_senders(self) -> None:
        """Start senders until enough of them are idle; what fails now is tried the next time.

        Raises:
            RuntimeError: the machine has no room for another thread.
        """
        with self._lock:
            while self._idle < len(self._ready) and len(self._senders) < self._most_threads:
                thread = threading.Thread(target=self._send, name="sender", daemon=True)
                thread.start()  # it waits for the lock
                self._senders.add(thread)
                self._idle += 1

    def _drop_uncertain(self, lane: int) -> None:
        """Give back what waits in a lane when its leases may have ended (the lock is held)."""
        waiting = self._lanes[lane]
        while waiting and not self._is_certain(waiting[0]):
            self._dropped.append(waiting.popleft())

    def _is_certain(self, claim: Claim) -> bool:
        held = self._holds(claim)
        return held is not None and held.leased.is_within(CERTAIN_FOR)

    def _release_lanes(self) -> None:
        with self._lock:
            waiting = [claim for lane in self._lanes.values() for claim in lane]
            self._let_go(waiting)
            for lane in self._lanes.values():
                lane.clear()
        claims.release(waiting)

    def _record_last(self) -> None:
        results, dropped = self._take()
        claims.release(dropped)
        outcomes.record(results)
        self._forget(results)

    # the senders --------------------------------------------------------------------------

    def _send(self) -> None:
        with self._app.app_context():
            while (lane := self._next_lane()) is not None:
                if not self._drive(lane):
                    return

    def _drive(self, lane: int) -> bool:
        """Send what waits in a lane; say whether this sender goes on.

        The next message is made while the service thinks about the one before.
        """
        ahead: list[Ready] = []

        def prepare() -> None:
            claim = self._waiting_first(lane)
            ready = sending.prepare(claim) if claim is not None else None
            ahead[:] = [] if ready is None else [ready]

        while (claim := self._next_claim(lane)) is not None:
            ready = next((one for one in ahead if one.claim is claim), None)
            if not self._report(lane, sending.attempt(claim, ready, meanwhile=prepare)):
                return False
        return True

    def _waiting_first(self, lane: int) -> Claim | None:
        with self._lock:
            waiting = self._lanes.get(lane)
            return waiting[0] if waiting else None

    def _next_lane(self) -> int | None:
        """Return a lane to drive, or None to end; a sender that ends is no longer counted."""
        with self._work:
            self._work.wait_for(lambda: self._ready or self._stopping.is_set(), SENDER_IDLE)
            self._idle -= 1
            if self._ready:
                return self._ready.popleft()
            self._senders.discard(threading.current_thread())
            return None

    def _next_claim(self, lane: int) -> Claim | None:
        with self._lock:
            self._drop_uncertain(lane)
            waiting = self._lanes[lane]
            if not waiting:
                del self._lanes[lane]
                self._pace.pop(lane, None)
                self._idle += 1
                return None
            claim = waiting.popleft()
            self._sending[threading.current_thread()] = _Sending(lane, claim, time.monotonic())
            return claim

    def _report(self, lane: int, result: Result) -> bool:
        """Pass the result on; when the channel broke, give back what waits for it as well.

        Returns whether this sender goes on: one that was left behind does not, and its result
        counts only if nobody has tried again meanwhile.
        """
        broke = isinstance(result.error, PermanentError) and result.error.breaks_channel
        with self._lock:
            self._results.append(result)
            if self._sending.pop(threading.current_thread(), None) is None:
                return False
            self._pace[lane] = result.took
            if broke and not result.claim.is_test:
                self._dropped.extend(self._lanes[lane])
                self._lanes[lane].clear()
            waiting = len(self._results)
            worth_a_ring = waiting == 1 or waiting >= GATHERED or not self._lanes[lane]
        if worth_a_ring:
            bell.ring()
        return True
