"""Fixtures: servers to send to, an authority that signs their certificates, a resolver."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.servers.http import Peer
from tests.servers.names import Names
from tests.servers.smtp import MailServer, Security


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file to give to DBACKUP_CA_FILE so that the servers here are trusted."""
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


def server_context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    return Names(monkeypatch)


@pytest.fixture
def peer() -> Iterator[Peer]:
    """A server that speaks HTTP at 127.0.0.1 and answers 200 until told otherwise."""
    with Peer() as peer:
        yield peer


@pytest.fixture
def make_peer(authority: trustme.CA, names: Names) -> Iterator[Callable[..., Any]]:
    """Make servers that speak HTTPS; their real names lead to them at every port."""
    with ExitStack() as stack:

        def make(name: str, kind: type[Peer] = Peer, **options: Any) -> Any:
            context = server_context(authority, name)
            made = stack.enter_context(kind(context=context, name=name, **options))
            names.lead(name, port=made.port)
            return made

        yield make


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    """A mail server without encryption and without accounts at 127.0.0.1."""
    with MailServer() as server:
        yield server


@pytest.fixture
def make_mail_server(authority: trustme.CA, names: Names) -> Iterator[Callable[..., MailServer]]:
    """Make mail servers called mail.example.org."""
    with ExitStack() as stack:

        def make(security: Security, users: dict[str, str] | None = None) -> MailServer:
            name = "mail.example.org"
            made = stack.enter_context(
                MailServer(
                    security=security,
                    context=server_context(authority, name),
                    users=users,
                    name=name,
                )
            )
            names.lead(name)
            return made

        yield make
