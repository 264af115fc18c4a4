"""The recording peer: it decides about each request by itself and writes down what it decided."""

import threading
from collections import Counter, defaultdict

from tests.servers.http import Peer, Received, Reply
from tests.torture.victim import LIFE_HEADER

REFUSED_ONE_IN = 4  # so that retries are killed as well


class Recorder(Peer):
    """Accepts three of four requests, in the order in which they come to be decided."""

    def __init__(self) -> None:
        super().__init__()
        self._deciding = threading.Lock()
        self._decided = 0
        self.accepted: defaultdict[str, Counter[int]] = defaultdict(Counter)
        """How often each delivery was accepted, by the life that sent it."""
        self.seen: set[tuple[str, int]] = set()
        """Which delivery was received from which life, whatever was answered."""

    def respond(self, received: Received) -> Reply:
        """Decide about this request alone; what is written down is what is answered."""
        delivery = received.headers["webhook-id"]
        life = int(received.headers[LIFE_HEADER.lower()])
        with self._deciding:
            self._decided += 1
            self.seen.add((delivery, life))
            if self._decided % REFUSED_ONE_IN == 0:
                return Reply(status=503)
            self.accepted[delivery][life] += 1
            return Reply()

    def copies(self) -> dict[str, int]:
        """Return how often each delivery was accepted."""
        with self._deciding:
            return {delivery: lives.total() for delivery, lives in self.accepted.items()}
