"""Who is on the other end."""

import time

import pytest
from flask import Flask

from webapp.web.visitor import browser_name, is_local


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        (
            "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
            "Firefox 128 on Linux",
        ),
        (
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
                "Chrome/139.0.0.0 Safari/537.36 Edg/139.0.3405.86"
            ),
            "Edge 139 on Windows",
        ),
        (
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like "
                "Gecko) Version/18.5 Safari/605.1.15"
            ),
            "Safari 18 on macOS",
        ),
        (
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 "
                "(KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1"
            ),
            "Safari 18 on iPhone",
        ),
        (
            (
                "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) "
                "Chrome/139.0.0.0 Mobile Safari/537.36"
            ),
            "Chrome 139 on Android",
        ),
        ("curl/8.14.1", "curl 8"),
        ("", "Unknown browser"),
        ("x" * 500, "x" * 60),
    ],
)
def test_a_browser_is_named_as_people_name_it(user_agent: str, name: str) -> None:
    assert browser_name(user_agent) == name


def test_a_huge_user_agent_is_read_at_once() -> None:
    begin = time.perf_counter()
    browser_name("Version/" + "1" * 200_000)
    assert time.perf_counter() - begin < 1


@pytest.mark.parametrize(
    ("address", "headers", "expected"),
    [
        ("127.0.0.1", {"Host": "127.0.0.1:8000"}, True),
        ("::1", {"Host": "[::1]:8000"}, True),
        ("127.0.0.1", {"Host": "localhost"}, True),
        ("127.0.0.1", {"Host": "backup.example.org"}, False),
        ("127.0.0.1", {"Host": "localhost.example.org:8000"}, False),
        ("192.0.2.1", {"Host": "localhost"}, False),
        ("127.0.0.1", {"Host": "localhost", "X-Real-IP": "192.0.2.1"}, False),
        ("127.0.0.1", {"Host": "localhost", "Forwarded": "for=192.0.2.1"}, False),
        ("127.0.0.1", {"Host": "localhost", "X-Forwarded-Proto": "https"}, False),
        ("127.0.0.1", {"Host": "localhost", "Via": "1.1 edge"}, False),
    ],
)
def test_only_this_machine_is_local(
    app: Flask, address: str, headers: dict[str, str], expected: bool
) -> None:
    with app.test_request_context(headers=headers, environ_base={"REMOTE_ADDR": address}):
        assert is_local() is expected
