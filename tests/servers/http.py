"""A small HTTP server that records what it gets and answers what a test tells it to."""

import contextlib
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True)
class Received:
    """One request as it arrived; header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float = field(default_factory=time.time)
    """Seconds since 1970, taken when the last byte of the body had arrived."""
    connection: int = 0
    """Requests over the same connection have the same number."""

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What to answer, and in which bad manner."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    """Seconds of silence before the first byte."""
    drip_headers: float = 0.0
    """Seconds before each byte of the header; it never ends by itself within a minute."""
    drip_body: float = 0.0
    """Seconds before each byte of the body."""
    reset: bool = False
    """Reset the connection instead of answering."""
    close: bool = False
    """Close the connection instead of answering."""


class Peer:
    """The server. `answer` sets what every further request gets, `once` what only the next gets."""

    def __init__(self, context: ssl.SSLContext | None = None, name: str | None = None) -> None:
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.name = name or "127.0.0.1"
        self.requests: list[Received] = []
        self.connections = 0
        self.before_answer: Callable[[Received], None] | None = None
        """Called when a request has arrived and nothing is answered yet."""
        self._arrived = threading.Condition()
        self._default: Reply | None = None
        self._queue: list[Reply] = []
        self._by_path: dict[str, Reply] = {}
        self._open: set[socket.socket] = set()
        self._stopping = threading.Event()

    @property
    def url(self) -> str:
        return f"{'https' if self._context else 'http'}://{self.name}:{self.port}"

    def answer(self, status: int = 200, body: Any = b"", **manner: Any) -> None:
        """Answer like this from now on; `path="/x"` limits it to that path."""
        path = manner.pop("path", None)
        if path is None:
            self._default = _reply(status, body, manner)
        else:
            self._by_path[path] = _reply(status, body, manner)

    def once(self, status: int = 200, body: Any = b"", **manner: Any) -> None:
        """Answer the next request like this; several calls line up."""
        self._queue.append(_reply(status, body, manner))

    def wait(self, count: int = 1, seconds: float = 10.0) -> list[Received]:
        """Return the requests as soon as there are that many."""
        with self._arrived:
            enough = self._arrived.wait_for(lambda: len(self.requests) >= count, seconds)
        assert enough, f"{len(self.requests)} of {count} requests arrived within {seconds} s"
        return list(self.requests)

    @property
    def last(self) -> Received:
        return self.wait()[-1]

    def clear(self) -> None:
        self.requests.clear()

    def close(self) -> None:
        """Answer no calls over the network any more."""
        self._listener.close()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, name="peer", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._listener.close()
        for sock in list(self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(
                target=self._converse, args=(sock, self.connections), name="peer", daemon=True
            ).start()

    def _converse(self, sock: socket.socket, number: int) -> None:
        self._open.add(sock)
        with contextlib.suppress(OSError, ConnectionError, ValueError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._context:
                sock = self._context.wrap_socket(sock, server_side=True)
                self._open.add(sock)
            with sock, sock.makefile("rb") as stream:
                if not stream.peek(1)[:1].isalpha():  # TLS at a port without it
                    sock.sendall(b"HTTP/1.1 400 Status\r\nContent-Length: 0\r\n\r\n")
                    return
                for received in _requests(stream, number):
                    self._handle(sock, received)
        self._open.discard(sock)
        sock.close()

    def _handle(self, sock: socket.socket, received: Received) -> None:
        with self._arrived:
            self.requests.append(received)
            self._arrived.notify_all()
        if self.before_answer is not None:
            self.before_answer(received)
        reply = self._choose(received)
        self._stopping.wait(reply.delay)
        if reply.reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if reply.reset or reply.close or self._stopping.is_set():
            sock.close()
            raise ConnectionError
        self._say(sock, received.method, reply)

    def respond(self, received: Received) -> Reply:
        """Return the answer to a request that no test prepared one for; services override it."""
        return Reply()

    def _choose(self, received: Received) -> Reply:
        if self._queue:
            return self._queue.pop(0)
        prepared = self._by_path.get(received.path.partition("?")[0], self._default)
        return prepared or self.respond(received)

    def _say(self, sock: socket.socket, method: str, reply: Reply) -> None:
        if reply.drip_headers:
            self._drip(sock, b"HTTP/1.1 200 OK\r\nX-Slow: " + b"s" * 600, reply.drip_headers)
        headers = {"Content-Length": str(len(reply.body)), **reply.headers}
        head = f"HTTP/1.1 {reply.status} Status\r\n" + "".join(
            f"{name}: {value}\r\n" for name, value in headers.items()
        )
        body = b"" if method == "HEAD" else reply.body
        if reply.drip_body:
            sock.sendall(head.encode("latin-1") + b"\r\n")
            self._drip(sock, body, reply.drip_body)
        else:
            sock.sendall(head.encode("latin-1") + b"\r\n" + body)

    def _drip(self, sock: socket.socket, content: bytes, seconds: float) -> None:
        for byte in content:
            if self._stopping.wait(seconds):
                raise ConnectionError
            sock.sendall(bytes([byte]))


def _requests(stream: Any, number: int) -> Iterator[Received]:
    while line := stream.readline():
        method, path, _ = line.decode("latin-1").split(" ", 2)
        headers = {}
        while (line := stream.readline()) not in {b"\r\n", b""}:
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        body = stream.read(int(headers.get("content-length", "0")))
        yield Received(method, path, headers, body, connection=number)


def _reply(status: int, body: Any, manner: dict[str, Any]) -> Reply:
    """`body` may be bytes, text or JSON-ready; `retry_after` is short for that header."""
    headers = dict(manner.pop("headers", {}))
    if "retry_after" in manner:
        headers["Retry-After"] = str(manner.pop("retry_after"))
    if "location" in manner:
        headers["Location"] = manner.pop("location")
    if isinstance(body, str):
        body = body.encode()
    elif not isinstance(body, bytes):
        body = json.dumps(body).encode()
        headers.setdefault("Content-Type", "application/json")
    return Reply(status=status, body=body, headers=headers, **manner)
