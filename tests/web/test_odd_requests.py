"""Requests that no browser makes are refused before anything of ours trips over them."""

import json

import pytest

from tests.browser import Browser
from tests.factories import make_channel, make_destination, make_job, make_source

NAMELESS = (
    b"--B\r\nContent-Disposition: form-data\r\n\r\nx\r\n--B--\r\n",
    b'--B\r\nContent-Disposition: form-data; filename="x"\r\n\r\nx\r\n--B--\r\n',
)


def send(browser: Browser, path: str, body: bytes, content_type: str) -> int:
    headers = {"X-CSRFToken": browser.token()}
    browser._open(path, method="POST", data=body, content_type=content_type, headers=headers)
    return browser.last.status_code


@pytest.mark.parametrize(
    "document",
    [
        json.dumps({"email": 1, "password": None}),
        json.dumps({"email": {"a": [1]}, "password": "x"}),
        json.dumps({"email": "\ud800@example.org", "password": "a\0b"}),
        json.dumps([1, 2]),
        "[" * 5000,
        "{",
    ],
)
@pytest.mark.parametrize("kind", ["application/json", "application/x+json"])
def test_json_is_no_form(browser: Browser, document: str, kind: str) -> None:
    for path in ("/login", "/setup/password-check"):
        assert send(browser, path, document.encode(), kind) == 415


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/login"])
def test_a_monitor_may_name_json_where_it_sends_nothing(browser: Browser, path: str) -> None:
    browser._open(path, method="GET", headers={"Content-Type": "application/json"})
    assert browser.last.status_code != 415


@pytest.mark.parametrize("body", NAMELESS)
def test_a_part_without_a_name_is_refused(browser: Browser, admin: Browser, body: bytes) -> None:
    kind = "multipart/form-data; boundary=B"
    for one, path in ((browser, "/login"), (admin, "/restores/upload")):
        assert send(one, path, body, kind) == 400


@pytest.mark.parametrize("host", ["..", "a..example.org", "x" * 300])
def test_a_host_that_cannot_be_one_is_refused(browser: Browser, host: str) -> None:
    for path in ("/", "/login", "/nowhere"):
        browser._open(path, method="GET", headers={"Host": host})
        assert browser.last.status_code == 400
        assert b"not understood" in browser.last.data


def test_a_version_of_thousands_of_digits_is_not_the_stored_one(admin: Browser) -> None:
    version = {"version": "9" * 5000, "name": "Odd", "type": "webhook"}
    url = {"url": "https://hooks.example.org/odd"}
    place = {"type": "sqlite", "path": "/srv/odd.db"}
    job = {"source_id": str(make_source().id), "destination_ids": str(make_destination().id)}
    job |= {"timezone": "UTC", "compression": "gzip"}
    admin.post(f"/channels/{make_channel().id}", version | url, 422)
    admin.post(f"/sources/{make_source().id}", version | place, 422)
    admin.post(f"/jobs/{make_job().id}", version | job, 422)


def test_a_form_has_at_most_a_megabyte(browser: Browser, admin: Browser) -> None:
    """Also where a file may be large: fields are kept in memory, files are not."""
    plain = b"email=" + b"x" * 1_100_000
    assert send(browser, "/login", plain, "application/x-www-form-urlencoded") == 413
    field = b'--B\r\nContent-Disposition: form-data; name="target"\r\n\r\n'
    parts = field + b"x" * 1_100_000 + b"\r\n--B--\r\n"
    assert send(admin, "/restores/upload", parts, "multipart/form-data; boundary=B") == 413
    assert send(admin, "/restores/upload", plain, "application/x-www-form-urlencoded") == 413
    many = (field + b"x\r\n") * 21 + b"--B--\r\n"
    assert send(admin, "/restores/upload", many, "multipart/form-data; boundary=B") == 413
