"""Makes real host names lead to servers of a test."""

import socket
from typing import Any

import pytest


class Names:
    """A resolver for chosen names; all others are unknown unless they are addresses."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._known: dict[str, list[tuple[str, int | None]]] = {}
        self._ask = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self._answer)

    def lead(self, name: str, *addresses: str, port: int | None = None) -> None:
        """Let a name resolve to these addresses (loopback by default), whatever port is asked."""
        self._known[name] = [(address, port) for address in addresses or ("127.0.0.1",)]

    def _answer(self, host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        known = self._known.get(str(host).rstrip("."))
        if known is None:
            if (
                str(host) != "localhost"
                and not str(host).replace(".", "").isdigit()
                and ":" not in str(host)
            ):
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            return self._ask(host, port, *args, **kwargs)
        return [
            answer
            for address, other_port in known
            for answer in self._ask(address, other_port or port, *args, **kwargs)
        ]
