"""A server that says exactly the bytes that a test gives it, whatever a protocol allows."""

import contextlib
import re
import socket
import threading
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self


class RawServer:
    """On each connection, the next item of `says` follows each request; `greeting` comes first.

    When nothing is left to say, the connection stays open and silent.
    """

    def __init__(self, says: Sequence[bytes] = (), *, greeting: bytes = b"") -> None:
        self._says = says
        self._greeting = greeting
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        self.connections = 0

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for sock in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self._open.append(sock)
                self.connections += 1
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            sock.sendall(self._greeting)
            for said, _ in zip(self._says, _requests(sock), strict=False):
                sock.sendall(said)


def _requests(sock: socket.socket) -> Iterator[None]:
    """Yield after each request of HTTP that was read to its end."""
    data = b""
    while True:
        head, end, rest = data.partition(b"\r\n\r\n")
        found = re.search(rb"(?i)\ncontent-length: (\d+)", head)
        length = int(found[1]) if found else 0
        if end and len(rest) >= length:
            data = rest[length:]
            yield
            continue
        more = sock.recv(65_536)
        if not more:
            return
        data += more
