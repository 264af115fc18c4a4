"""Speaks SMTP within the limits of the way out, and sorts what servers reply."""

import contextlib
import re
import smtplib
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import IO, Final

from webapp.core import text
from webapp.core.errors import ChannelError, PermanentError, TransientError
from webapp.core.scrub import conceal
from webapp.notify.channels.base import EXCERPT_LIMIT, Trouble
from webapp.notify.channels.http import advice_for
from webapp.notify.outbound import READ_SECONDS, REPLY_LIMIT, Call

GREYLISTED: Final = timedelta(minutes=5)
QUOTA: Final = timedelta(hours=6)  # a daily quota is back within the 24 hours of a delivery
_ENHANCED: Final = re.compile(r"[245]\.\d{1,3}\.\d{1,3}\b")
_QUOTA_CODE: Final = "5.4.5"
_SENDER_IS_WRONG: Final = frozenset({"5.7.60", "5.7.57", "5.7.30", "5.7.139"})


@dataclass(frozen=True)
class Reply:
    """What a server said."""

    code: int
    words: str

    @classmethod
    def of(cls, code: int, said: bytes | str) -> "Reply":
        """Return the reply with its text cleaned."""
        words = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
        return cls(code, text.clean(words))

    @property
    def enhanced(self) -> str:
        """Return the code of RFC 3463 at its beginning, if there is one."""
        found = _ENHANCED.match(self.words)
        return found[0] if found else ""

    @property
    def status(self) -> str:
        """Return both codes: "550 5.1.1"."""
        return f"{self.code} {self.enhanced}".strip()

    @property
    def is_good(self) -> bool:
        """Say whether the server agreed."""
        return 200 <= self.code < 300

    @property
    def is_passing(self) -> bool:
        """Say whether a refusal may be another one later."""
        return self.code < 500 or self.enhanced == _QUOTA_CODE


class Client(smtplib.SMTP):
    """A connection to a judged address, encrypted from its first byte when there is a context."""

    def __init__(self, call: Call, context: ssl.SSLContext | None, name: str) -> None:
        # a name is given, because the library would look up our own in the DNS otherwise
        super().__init__(local_hostname=name or "localhost", timeout=READ_SECONDS)
        self._call = call
        self._context = context
        self._has_name = bool(name)

    def open(self, host: str, port: int) -> Reply:
        """Connect and return the greeting."""
        self._host = host  # the name that STARTTLS checks the certificate against
        return Reply.of(*self.connect(host, port))

    def getreply(self) -> tuple[int, bytes]:
        """Return a reply; one that does not end counts as a lost connection."""
        if self.file is None and self.sock is not None:
            self.file = _Limited(self.sock.makefile("rb"))
        if self.file is not None:
            self.file.left = REPLY_LIMIT
        return super().getreply()

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        sock = self._call.connect(host, port)
        if not self._has_name:
            self.local_hostname = _literal(sock)
        if self._context is None:
            return sock
        return self._context.wrap_socket(sock, server_hostname=host)

    def leave(self) -> None:
        """Say goodbye if the server still listens."""
        with contextlib.suppress(smtplib.SMTPException, OSError):
            self.quit()
        self.close()


class _Limited:
    """What a server says; beyond the limit for one reply, nothing more."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.left = REPLY_LIMIT

    def readline(self, size: int) -> bytes:
        """Return the next line."""
        line = self._stream.readline(size) if self.left > 0 else b""
        self.left -= len(line)
        return line

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()


def _literal(sock: socket.socket) -> str:
    """Return how a host without a public name introduces itself: RFC 5321, 4.1.4."""
    address = str(sock.getsockname()[0])
    return f"[IPv6:{address.partition('%')[0]}]" if ":" in address else f"[{address}]"


def refusal(
    reply: Reply,
    *,
    service: str,
    doing: str,
    troubles: Iterable[Trouble],
    secrets: Iterable[str],
    breaks_channel: bool = False,
) -> ChannelError:
    """Return what a refusal means; `doing` says of what: "the login", "the message"."""
    message = f"{service} refused {doing} with {reply.status}."
    excerpt = conceal(reply.words, secrets)[:EXCERPT_LIMIT]
    advice = advice_for(
        troubles, reply.status, reply.enhanced, str(reply.code), f"{reply.code // 100}yz"
    )
    if not reply.is_passing:
        return PermanentError(
            message,
            status=reply.status,
            excerpt=excerpt,
            advice=advice,
            breaks_channel=breaks_channel or reply.enhanced in _SENDER_IS_WRONG,
        )
    return TransientError(
        message, status=reply.status, excerpt=excerpt, advice=advice, retry_after=_hint(reply)
    )


def _hint(reply: Reply) -> timedelta | None:
    if reply.enhanced == _QUOTA_CODE:
        return QUOTA
    greylisted = reply.enhanced == "4.7.1" or "greylist" in reply.words.lower()
    return GREYLISTED if greylisted and reply.code in {450, 451} else None
