"""Lets the names of services lead to their stand-ins in this process, and nowhere else."""

import socket
from typing import Any

_ask = socket.getaddrinfo


class Names:
    """A resolver that knows a few names better; all others are asked for as usual."""

    def __init__(self) -> None:
        self._ports: dict[str, int] = {}

    def lead(self, name: str, port: int) -> None:
        """Let every port of this name be that one of this machine."""
        self._ports[name] = port

    def install(self) -> None:
        """Answer all questions of this process from now on."""
        socket.getaddrinfo = self._answer

    def _answer(self, host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        known = self._ports.get(str(host).rstrip("."))
        if known is None:
            return _ask(host, port, *args, **kwargs)
        return _ask("127.0.0.1", known, *args, **kwargs)
