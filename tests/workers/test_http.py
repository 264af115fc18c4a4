"""What the HTTP server takes before it asks the application."""

import dataclasses
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from flask import Flask

from tests.browser import PASSWORD
from tests.conftest import make_settings
from tests.factories import make_user
from webapp.core.settings import Settings
from webapp.models.user import Role
from webapp.workers.http import Http

CLOSED = -1  # without an answer


@pytest.fixture
def settings(tmp_path: Path, request: pytest.FixtureRequest) -> Settings:
    return make_settings(tmp_path, **getattr(request, "param", {}))


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
            connection.sendall("\r\n".join(head).encode("latin-1") + body)
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


@pytest.mark.parametrize(
    "cookie",
    [
        "dbackup_session=x",
        "dbackup_session=eyJfdXNlcl9pZCI6IngifQ.aaaa.bbbb",
        "dbackup_session=\xff",  # not UTF-8
        "\xff=\xff",
    ],
)
def test_a_made_up_cookie_does_not_help(port: int, cookie: str) -> None:
    given = ("Content-Length: 300000000", f"Cookie: {cookie}")
    assert status(port, "/restores/upload", *given) == 413


def signed_in(port: int, **headers: str) -> str:
    """Sign in, and return the cookies as a browser sends them."""
    make_user(role=Role.ADMIN, email="mara@example.org")
    login = f"http://127.0.0.1:{port}/login"
    page = requests.get(login, headers=headers, timeout=5)
    found = re.search('name="csrf_token"[^>]* value="([^"]+)"', page.text)
    assert found
    data = {"csrf_token": found[1], "email": "mara@example.org", "password": PASSWORD}
    headers |= {"Cookie": _cookies(page)}
    answer = requests.post(login, data=data, headers=headers, timeout=5, allow_redirects=False)
    assert answer.status_code == 303
    return _cookies(answer)


def _cookies(answer: requests.Response) -> str:
    # those for HTTPS only are sent on, too: here the proxy takes the encryption off
    return "; ".join(f"{one.name}={one.value}" for one in answer.cookies)


def test_who_is_signed_in_may_upload_a_backup_and_nothing_else_that_is_large(port: int) -> None:
    given = ("Content-Length: 300000000", f"Cookie: {signed_in(port)}")
    assert status(port, "/restores/upload", *given) == 0  # it waits for the rest
    assert status(port, "/jobs", *given) == 413


@pytest.mark.parametrize("settings", [{"trusted_proxies": 1}], indirect=True)
def test_who_is_signed_in_behind_a_proxy_with_https_may_upload_a_backup(port: int) -> None:
    proxied = {
        "X-Forwarded-For": "198.51.100.7",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "backup.example.org",
        "Referer": "https://backup.example.org/login",
    }
    given = ("Content-Length: 300000000", f"Cookie: {signed_in(port, **proxied)}")
    assert status(port, "/restores/upload", *given) == 0  # it waits for the rest
    assert status(port, "/jobs", *given) == 413


@pytest.mark.parametrize(
    "head",
    [
        "GET http://[::1 HTTP/1.1\r\nHost: localhost",
        f"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: {'9' * 5000}",
        "POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1",
    ],
)
def test_a_head_that_cannot_be_read_is_answered(port: int, head: str) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=3) as connection:
        connection.sendall(f"{head}\r\n\r\n".encode())
        assert connection.recv(100).split()[1] == b"400"
