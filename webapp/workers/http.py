"""Serves an application over HTTP until it is told to stop, then lets requests under way end."""

import contextlib
import copy
import time
from collections.abc import Callable
from typing import Any, Final

from flask import Flask
from itsdangerous import BadData
from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.server import create_server
from waitress.task import ErrorTask
from werkzeug.http import parse_cookie

from webapp.core.settings import Settings

THREADS: Final = 8
LOOK: Final = 0.5  # seconds between two looks at whether to stop
LARGE_UPLOADS: Final = "/restores/upload"
LARGEST_OTHERS: Final = 2 * 1024 * 1024  # bytes; a form may have one of them
FINISH_WITHIN: Final = 5.0  # seconds for requests under way


class Http:
    """A listening server. Requests wait from now on; they are answered by `run`.

    The loop asks whether to stop instead of being left by an exception: one that a signal handler
    raises is lost when it strikes in a destructor or a callback of the garbage collector.
    """

    def __init__(self, app: Flask, settings: Settings) -> None:
        """Listen.

        Raises:
            OSError: the address cannot be listened on.
        """
        self._sockets: dict[int, Any] = {}
        self._server = create_server(
            app,
            map=self._sockets,
            host=settings.host,
            port=settings.port,
            threads=THREADS,
            ident=None,
            # Nobody but ProxyFix believes them. They stay, because that there are any shows that
            # a request was passed on and does not come from this machine (web/visitor.py).
            clear_untrusted_proxy_headers=False,
        )
        for listener in self._sockets.values():
            listener.channel_class = _channel_class(app)

    @property
    def port(self) -> int:
        """The port that is listened on; worth asking when the settings say 0, "any free one"."""
        listener = next(item for item in self._sockets.values() if item.accepting)
        return int(listener.socket.getsockname()[1])

    def run(self, is_wanted: Callable[[], bool]) -> None:
        """Answer requests as long as this is wanted."""
        while is_wanted():
            self._go_round(LOOK)

    def stop(self) -> None:
        """Take no more connections, let requests under way end for a moment, then close all."""
        for listener in [item for item in self._sockets.values() if item.accepting]:
            listener.del_channel()
            listener.socket.close()
        deadline = time.monotonic() + FINISH_WITHIN
        while self._is_busy() and time.monotonic() < deadline:
            self._go_round(0.05)
        self._server.task_dispatcher.shutdown(timeout=1)
        wasyncore.close_all(self._sockets)

    def _go_round(self, seconds: float) -> None:
        wasyncore.loop(timeout=seconds, use_poll=True, map=self._sockets, count=1)

    def _is_busy(self) -> bool:
        return any(
            getattr(item, "requests", None) or getattr(item, "total_outbufs_len", 0)
            for item in list(self._sockets.values())
        )


def _channel_class(app: Flask) -> type[HTTPChannel]:
    """Return connections that take large bodies only where they belong, from who is signed in.

    A body is kept on the disk before the application is asked anything: others could fill it.
    What is refused here has the headers of every answer.
    """

    class Parser(HTTPRequestParser):  # type: ignore[misc]  # waitress has no types
        adj: Any

        def parse_header(self, header_plus: bytes) -> None:
            try:
                super().parse_header(header_plus)
            except ValueError as error:  # it would close the connection without a word
                raise ParsingError("Malformed request") from error
            if self.path != LARGE_UPLOADS or not _is_signed_in(app, self.headers.get("COOKIE", "")):
                self.adj = copy.copy(self.adj)
                self.adj.max_request_body_size = LARGEST_OTHERS

    class Refusal(ErrorTask):  # type: ignore[misc]  # waitress has no types
        def execute(self) -> None:
            self.response_headers.extend(app.config["ANSWER_HEADERS"].items())
            super().execute()

    class Channel(HTTPChannel):  # type: ignore[misc]  # waitress has no types
        parser_class = Parser
        error_task_class = Refusal

    return Channel


def _is_signed_in(app: Flask, header: str) -> bool:
    """Say whether a cookie of ours comes from somebody who signed in; the session may be over."""
    interface: Any = app.session_interface
    serializer = interface.get_signing_serializer(app)
    try:
        given = parse_cookie(header)
    except UnicodeDecodeError:
        return False
    for name in interface.cookie_names(app):
        with contextlib.suppress(BadData):
            if "_user_id" in serializer.loads(given.get(name, "")):
                return True
    return False
