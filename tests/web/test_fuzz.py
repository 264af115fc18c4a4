"""Nothing that a browser can send is an error of ours.

Every form of every page, every field of every form and every query string gets what nobody meant.
"""

import io
import logging
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from bs4 import BeautifulSoup, Tag
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.browser import Browser
from tests.services.restoring import sqlite_artifact
from tests.web.roles_table import TABLE
from tests.web.test_roles import World
from webapp.services import throttle

NASTY = (
    *("", " ", "\0", "a\0b", "\ud800", "\ufeff\u2028\u202eRTL\u2066", "😀" * 50, "é" * 300),
    *("-1", "0", "9" * 19, "9" * 30, "-" + "9" * 30, "1" + "0" * 400, "9" * 5000, "1e309", "NaN"),
    *("٣", "²", "½", "0x10", "1_000", "True", "null", "on", "[]", "{}", "[" * 2000, '{"a":[1]}'),
    *(
        "0000-00-00",
        "99999-12-31",
        "24:61",
        "* * * * *",
        "0 0 31 2 *",
        "*/0 * * * *",
        "*/² * * * *",
    ),
    *(
        "² * * * *",
        "1-99999999999999999999 * * * *",
        "@reboot",
        "../../etc/localtime",
        "/etc/localtime",
    ),
    *(
        "X\r\nBcc: evil@example.org\r\n\r\nbody",
        "a\rb",
        '"; filename=evil',
        "<script>alert(1)</script>",
    ),
    *(
        "{{7*7}}",
        "{% for x in y %}",
        "{0.__class__}",
        "{job!r}",
        "{job:>99999999999}",
        "{",
        "}",
        "%s%n",
    ),
    *("' OR 1=1--", "../../../../etc/passwd", "/dev/zero", "=cmd|' /C calc'!A0", "-rf", "$(id)"),
    *("env:", "env:PATH", "env:A=B", "file:", "file:/", "file:/a\0b", "file:/dev/zero", "file:rel"),
    *("http://[", "http://[::1", "http://a:99999999/", "http://a:-1/", "http://" + "a" * 300 + "/"),
    *(
        "https://user:pw@h/",
        "//evil",
        "javascript:alert(1)",
        "http://a b/",
        "http://xn--/",
        "http://٣/",
    ),
    *("a@b", "@", '"a\r\nb"@example.org', "a@" + "b" * 300 + ".org", "ß@example.org"),
    *("AGE-SECRET-KEY-1", "age1" + "q" * 58, "ssh-rsa AAAA", "ssh-ed25519 AAAA", "A" * 70_000),
    *(
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
        "-----BEGIN PRIVATE KEY-----",
    ),
)
QUERIES = (
    *("before", "after", "page", "job", "channel", "event", "state", "status", "type", "period"),
    *(
        "since",
        "q",
        "key",
        "prefix",
        "person",
        "action",
        "next",
        "artifact",
        "test",
        "source",
        "name",
    ),
    *(
        "destination",
        "line",
        "outcome",
        "sort",
        "days",
        "sample",
        "view",
        "week",
        "day",
        "timezone",
    ),
)
BREAKERS = ("9" * 5000, "x" * 300)
"""More digits than Python turns into a number, and a longer name than files may have."""
LEAVES = ("/logout", "/sessions/end", "/profile/password", "/profile/second-factor")
"""Forms that would end the session of this test, or the rights to go on."""


@dataclass(frozen=True)
class Form:
    """A form as a page shows it."""

    method: str
    action: str
    names: tuple[str, ...]
    values: tuple[tuple[str, str], ...]
    is_multipart: bool


@pytest.fixture
def visitor(app: Flask, admin: Browser, tmp_path: Path) -> Browser:
    """An admin in a house that is furnished; refusals are not counted."""
    admin.world = World(sqlite_artifact(tmp_path), tmp_path, 1)  # type: ignore[attr-defined]
    return admin


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let passwords be tried without end: this is not about guessing."""
    monkeypatch.setattr(throttle, "attempt", lambda *_arguments: None)


def pages(browser: Browser) -> Iterator[str]:
    """Yield an address of every page."""
    values = browser.world.values  # type: ignore[attr-defined]
    for row in TABLE:
        if row.method == "GET" and "static" not in row.rule and "oidc" not in row.rule:
            yield row.address(values)
    for kind in ("channels", "sources", "destinations"):
        shown = BeautifulSoup(_get(browser, f"/{kind}/new"), "html.parser")
        for link in shown.select(f"a[href^='/{kind}/new?']"):
            yield str(link["href"])


def forms(browser: Browser) -> list[Form]:
    found = {}
    for page in pages(browser):
        for tag in BeautifulSoup(_get(browser, page), "html.parser").select("form"):
            form = _form(tag)
            if not form.action.endswith(LEAVES) and "/users/1" not in form.action:
                found[re.sub(r"\d+", "n", form.action), form.names] = form
    return list(found.values())


def _form(tag: Tag) -> Form:
    names, values = [], []
    for entry in tag.select("input[name], select[name], textarea[name]"):
        name = str(entry["name"])
        if name == "csrf_token":
            continue
        names.append(name)
        chosen = entry.select_one("option[selected]") or entry.select_one("option")
        if entry.get("type") in ("checkbox", "radio") and not entry.has_attr("checked"):
            continue
        value = (chosen or {}).get("value", "") if entry.name == "select" else entry.get("value")
        values.append((name, str(value or entry.get_text())))
    return Form(
        method=str(tag.get("method", "get")).upper(),
        action=str(tag["action"]),
        names=tuple(dict.fromkeys(names)),
        values=tuple(values),
        is_multipart="multipart" in str(tag.get("enctype", "")),
    )


def _ask(browser: Browser, address: str, **request: Any) -> None:
    """Send a request, and take the whole answer: what is streamed ends with its request."""
    browser._open(address, **request)
    browser.last.get_data()
    browser.last.close()


def _get(browser: Browser, page: str) -> str:
    _ask(browser, page, method="GET")
    return browser.last.get_data().decode("utf-8", "replace")


def send(browser: Browser, form: Form, changed: list[tuple[str, str]]) -> None:
    """Send the form with some fields changed; the answer must be one that was meant."""
    names = {name for name, _ in changed}
    pairs = [pair for pair in form.values if pair[0] not in names] + changed
    body = "&".join(f"{_encoded(name)}={_encoded(value)}" for name, value in pairs)
    if form.method == "GET":
        _ask(browser, f"{form.action}?{body}", method="GET")
    elif form.is_multipart:
        data = {name: value.encode("utf-8", "surrogatepass") for name, value in pairs}
        odd = changed[0][1].replace("\ud800", "?")[:200] or "x"
        data = {"csrf_token": browser.token(), "file": (io.BytesIO(b"garbage"), odd), **data}
        _ask(browser, form.action, method="POST", data=data)
    else:
        _ask(
            browser,
            form.action,
            method="POST",
            data=f"csrf_token={browser.token()}&{body}",
            content_type="application/x-www-form-urlencoded",
        )
    assert browser.last.status_code < 500, f"{form.method} {form.action} with {changed!r:.500}"


def _encoded(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"), safe="")


@pytest.fixture
def no_traceback(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever was logged as an exception was an error of ours, also when the answer was calm."""
    with caplog.at_level(logging.ERROR):
        yield
        wrong = [record.getMessage() for record in caplog.records if record.exc_info]
    assert wrong == []


@pytest.mark.usefixtures("no_traceback")
@pytest.mark.timeout(300)
def test_every_field_of_every_form_takes_anything(visitor: Browser) -> None:
    found = forms(visitor)
    assert len(found) > 40
    dice = random.Random(6)
    for form in found:
        for value in dice.sample(NASTY, 6) if form.names else ():
            send(visitor, form, [(name, value) for name in form.names if name != "type"])


@pytest.mark.usefixtures("no_traceback")
@pytest.mark.timeout(300)
def test_each_field_alone_takes_what_breaks_parsers(visitor: Browser) -> None:
    """The others are good, so that no earlier refusal keeps the odd one from being used."""
    for form in forms(visitor):
        for name in form.names:
            for value in BREAKERS:
                send(visitor, form, [(name, value)])


@pytest.mark.usefixtures("no_traceback")
@pytest.mark.timeout(300)
def test_one_odd_field_among_good_ones_is_no_error(visitor: Browser) -> None:
    found = [form for form in forms(visitor) if form.names]
    text = st.sampled_from(NASTY) | st.text(max_size=80) | st.integers().map(str)
    shared = {HealthCheck.function_scoped_fixture, HealthCheck.too_slow}

    @settings(max_examples=300, deadline=None, suppress_health_check=shared, database=None)
    @given(st.data())
    def try_one(data: st.DataObject) -> None:
        form = data.draw(st.sampled_from(found))
        names = st.sampled_from(form.names)
        send(visitor, form, data.draw(st.lists(st.tuples(names, text), min_size=1, max_size=3)))

    try_one()


@pytest.mark.usefixtures("no_traceback")
@pytest.mark.timeout(300)
def test_every_page_takes_any_query_string(visitor: Browser) -> None:
    dice = random.Random(7)
    for page in set(pages(visitor)):
        for value in dice.sample(NASTY, 4):
            query = "&".join(f"{name}={_encoded(value)[:2000]}" for name in QUERIES)
            _ask(visitor, f"{page.partition('?')[0]}?{query}", method="GET")
            assert visitor.last.status_code < 500, f"{page} with {value!r:.200}"


@pytest.mark.usefixtures("no_traceback")
@pytest.mark.parametrize(
    "value", ["http://[", "http://[::1", "\\", "{{7*7}}", "x" * 9000, "http://a:b"]
)
def test_headers_take_anything(browser: Browser, admin: Browser, value: str) -> None:
    for name in ("HX-Current-URL", "Referer", "User-Agent", "Accept-Language", "If-None-Match"):
        for one in (browser, admin):
            for page in ("/jobs", "/login", "/users/1"):
                for htmx in ({}, {"HX-Request": "true"}):
                    _ask(one, page, method="GET", headers={name: value, **htmx})
                    assert one.last.status_code < 500, f"{name}: {value}"
