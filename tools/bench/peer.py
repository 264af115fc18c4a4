"""A peer that answers every request, at once or after a while, and remembers when each came."""

import socket
import threading
import time
from contextlib import suppress


class Peer:
    """Speaks just enough HTTP/1.1 for a webhook, over kept connections."""

    def __init__(self, *, answers_after: float = 0.0) -> None:
        """Listen; answer after so many seconds."""
        self._answers_after = answers_after
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/"
        self.arrived: list[float] = []
        """Moments of `time.monotonic`, which all processes of a machine share."""
        threading.Thread(target=self._accept, daemon=True).start()

    def wait(self, count: int, *, seconds: float) -> None:
        """Wait until so many requests have arrived."""
        deadline = time.monotonic() + seconds
        while len(self.arrived) < count:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{len(self.arrived)} of {count} messages arrived")
            time.sleep(0.001)

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        # a client that ends may reset what it kept open
        with (
            suppress(ConnectionError),
            connection,
            connection.makefile("rb") as stream,
        ):
            while stream.readline():
                length = 0
                while (line := stream.readline()) not in {b"\r\n", b""}:
                    name, _, value = line.partition(b":")
                    if name.lower() == b"content-length":
                        length = int(value)
                stream.read(length)
                self.arrived.append(time.monotonic())
                time.sleep(self._answers_after)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
