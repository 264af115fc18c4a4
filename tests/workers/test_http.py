"""What the HTTP server takes before it asks the application."""

import dataclasses
import re
import socket
import threading
from collections.abc import Iterator

import pytest
import requests
from flask import Flask

from tests.browser import PASSWORD
from tests.factories import make_user
from webapp.core.settings import Settings
from webapp.models.user import Role
from webapp.workers.http import Http

CLOSED = -1  # without an answer


@pytest.fixture
def port(app: Flask, settings: Settings) -> Iterator[int]:
    http = Http(app, dataclasses.replace(settings, host="127.0.0.1", port=0))
    ended = threading.Event()
    thread = threading.Thread(target=lambda: http.run(lambda: not ended.is_set()))
    thread.start()
    yield http.port
    ended.set()
    thread.join()
    http.stop()


def status(port: int, path: str, *headers: str, body: bytes = b"") -> int:
    """Send a head and a part of the body; return the status of what is answered already then."""
    head = (f"POST {path} HTTP/1.1", "Host: localhost", *headers, "", "")
    with socket.create_connection(("127.0.0.1", port), timeout=3) as connection:
        try:
            connection.sendall("\r\n".join(head).encode() + body)
            return int(connection.recv(100).split()[1])
        except TimeoutError:
            return 0
        except ConnectionError:
            return CLOSED


@pytest.mark.parametrize(
    "head",
    [
        b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 300000000\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 300_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost\r\n\r\n",
        b"GET http://[::1/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
    ids=["large body", "large head", "no header", "no address"],
)
def test_what_is_refused_before_the_application_has_its_headers_too(port: int, head: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=3) as connection:
        connection.sendall(head)
        answer = connection.recv(5000).decode()
    assert answer.startswith("HTTP/1.")
    assert answer.split()[1] in ("400", "413", "431")
    for header in (
        "Content-Security-Policy: default-src 'self'",
        "X-Content-Type-Options: nosniff",
        "X-Frame-Options: DENY",
        "Referrer-Policy: same-origin",
        "Cache-Control: no-store",
    ):
        assert header in answer


@pytest.mark.parametrize("path", ["/login", "/setup", "/", "/restores/upload", "/nothing"])
def test_a_stranger_cannot_send_much(port: int, path: str) -> None:
    assert status(port, path, "Content-Length: 300000000") == 413
    chunk = b"200000\r\n" + bytes(0x200000) + b"\r\n"
    # the answer may be lost when the connection is closed while the body is still on its way
    assert status(port, path, "Transfer-Encoding: chunked", body=chunk * 2) in {413, CLOSED}


def test_a_made_up_cookie_does_not_help(port: int) -> None:
    for cookie in ("dbackup_session=x", "dbackup_session=eyJfdXNlcl9pZCI6IngifQ.aaaa.bbbb"):
        given = ("Content-Length: 300000000", f"Cookie: {cookie}")
        assert status(port, "/restores/upload", *given) == 413


@pytest.mark.parametrize("name", ["dbackup_session", "__Host-dbackup_session"])
def test_who_is_signed_in_may_upload_a_backup_and_nothing_else_that_is_large(
    port: int, name: str
) -> None:
    make_user(role=Role.ADMIN, email="mara@example.org")
    with requests.Session() as browser:
        page = browser.get(f"http://127.0.0.1:{port}/login", timeout=5).text
        found = re.search('name="csrf_token"[^>]* value="([^"]+)"', page)
        assert found
        data = {"csrf_token": found[1], "email": "mara@example.org", "password": PASSWORD}
        browser.post(f"http://127.0.0.1:{port}/login", data=data, timeout=5, allow_redirects=False)
        cookie = f"{name}={browser.cookies['dbackup_session']}"  # over HTTPS it has the prefix
    given = ("Content-Length: 300000000", f"Cookie: {cookie}")
    assert status(port, "/restores/upload", *given) == 0  # it waits for the rest
    assert status(port, "/jobs", *given) == 413
