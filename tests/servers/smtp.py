"""A real SMTP server (aiosmtpd) that records messages and refuses what a test tells it to."""

import asyncio
import socket
import ssl
import threading
import warnings
from dataclasses import dataclass, field
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from types import TracebackType
from typing import Any, Literal, Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

Security = Literal["none", "starttls", "tls"]


@dataclass(frozen=True)
class Mail:
    """One accepted message."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    secure: bool
    user: str | None
    message: EmailMessage = field(repr=False)


class MailServer:
    """The server. Replies may be set for the sender, for each recipient, for DATA."""

    def __init__(
        self,
        *,
        security: Security = "none",
        context: ssl.SSLContext | None = None,
        users: dict[str, str] | None = None,
        name: str = "127.0.0.1",
    ) -> None:
        self.name = name
        self.mails: list[Mail] = []
        self.logins: list[tuple[str, bool]] = []
        """User and whether TLS was on, for every try."""
        self.refuse_sender: str | None = None
        self.refuse_recipients: dict[str, str] = {}
        self.refuse_data: str | None = None
        self.refuse_login: str | None = None
        self.drop_after_data = False
        self.hang_seconds = 0.0
        """Silence before the answer to the message."""
        self._users = users
        self.arrived = threading.Condition()
        self.port = _free_port()
        self.controller = _Controller(
            _Handler(self),
            hostname="127.0.0.1",
            port=self.port,
            server_hostname="mail.example.org",
            ready_timeout=20,
            **self._options(security, context, users),
        )

    def _options(
        self, security: Security, context: ssl.SSLContext | None, users: dict[str, str] | None
    ) -> dict[str, Any]:
        options: dict[str, Any] = {}
        if security == "tls":
            options["ssl_context"] = context
        if security == "starttls":
            options["tls_context"] = context
        if users is not None:
            options |= {
                "authenticator": self._authenticate,
                "auth_required": True,
                "auth_require_tls": security == "starttls",
            }
        return options

    def wait(self, count: int = 1, seconds: float = 10.0) -> list[Mail]:
        """Return the messages as soon as there are that many."""
        with self.arrived:
            enough = self.arrived.wait_for(lambda: len(self.mails) >= count, seconds)
        assert enough, f"{len(self.mails)} of {count} mails arrived within {seconds} s"
        return list(self.mails)

    @property
    def last(self) -> Mail:
        return self.wait()[-1]

    def __enter__(self) -> Self:
        self.controller.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.controller.stop()

    def _authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        user = data.login.decode()
        self.logins.append(
            (user, session.ssl is not None or self.controller.ssl_context is not None)
        )
        if self.refuse_login:
            return AuthResult(success=False, handled=False, message=self.refuse_login)
        good = (self._users or {}).get(user) == data.password.decode()
        return AuthResult(success=good, handled=False, auth_data=user)


class _Handler:
    """What aiosmtpd asks; apart from the server, whose attributes the library would read."""

    def __init__(self, server: MailServer) -> None:
        self._server = server

    async def handle_MAIL(  # noqa: N802 - the name is the library's
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        if self._server.refuse_sender:
            return self._server.refuse_sender
        envelope.mail_from = address
        return "250 2.1.0 Sender ok"

    async def handle_RCPT(  # noqa: N802 - the name is the library's
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        if address in self._server.refuse_recipients:
            return self._server.refuse_recipients[address]
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Recipient ok"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        if self._server.refuse_data:
            return self._server.refuse_data
        await asyncio.sleep(self._server.hang_seconds)
        content = bytes(envelope.original_content)
        with self._server.arrived:
            self._server.mails.append(
                Mail(
                    sender=envelope.mail_from,
                    recipients=tuple(envelope.rcpt_tos),
                    content=content,
                    secure=session.ssl is not None
                    or self._server.controller.ssl_context is not None,
                    user=session.auth_data if session.authenticated else None,
                    message=BytesParser(policy=policy.default).parsebytes(content),
                )
            )
            self._server.arrived.notify_all()
        if self._server.drop_after_data:
            server.transport.abort()
        return f"250 2.0.0 Queued as {len(self._server.mails):04d}"


class _Controller(Controller):
    """Announces AUTH on clear connections as well, as careless servers do."""

    def factory(self) -> SMTP:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of AUTH without STARTTLS, which is meant here
            return SMTP(self.handler, **self.SMTP_kwargs)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
