"""How an answer over HTTP says when to come back."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from webapp.core import clock
from webapp.notify.channels import http
from webapp.notify.channels.base import Trouble
from webapp.notify.outbound import REPLY_LIMIT, Answer

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "17"}, 17),
        ({"Retry-After": "1.5"}, 1.5),
        ({"Retry-After": "0"}, 0),
        ({"Retry-After": "Sun, 01 Mar 2026 12:02:00 GMT"}, 120),
        (
            {
                "Retry-After": "Sun, 01 Mar 2026 10:00:30 GMT",
                "Date": "Sun, 01 Mar 2026 10:00:00 GMT",
            },
            30,
        ),
        ({"Retry-After": "Sun, 01 Mar 2020 12:00:00 GMT"}, None),
        ({"Retry-After": "Wed, 11 Mar 2026 12:00:00 GMT"}, 864_000),
        ({"Retry-After": "Wed, 11 Mar 2026 12:00:01 GMT"}, None),
        ({"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"}, None),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "864000"}, 864_000),
        ({"Retry-After": "1772366400"}, None),
        ({"Retry-After": "9" * 30}, None),
        ({"Retry-After": "1e99"}, None),
        ({"Retry-After": "Sun, 01 Mar 99999999999999999999 12:00:00 GMT"}, None),
        ({"Retry-After": "Sun, 01 Mar 2026 12:00:00 +99999999999999"}, None),
        (
            {
                "Retry-After": "Sun, 01 Mar 2026 12:02:00 GMT",
                "Date": "Sun, 99999999999999999999 Mar 2026 12:00:00 GMT",
            },
            120,
        ),
        ({}, None),
    ],
)
def test_the_hint_of_a_server(
    headers: dict[str, str], seconds: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)
    expected = None if seconds is None else timedelta(seconds=seconds)
    assert http.retry_after(headers) == expected


@pytest.mark.parametrize("sign", [b"<head ", b"<script>", b"<", b"://", b"http://a:"])
def test_a_hostile_reply_takes_no_time(sign: bytes) -> None:
    answer = Answer(500, {"Content-Type": "text/html"}, sign * (REPLY_LIMIT // len(sign)))
    began = time.process_time()
    http.excerpt_of(answer, ("a secret of ours",))
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    "body", [b"", b"no", b"[" * 60_000, b'{"a":' * 5_000, b"\xff", b"9" * 5000]
)
def test_what_is_no_json_says_nothing(body: bytes) -> None:
    assert http.said_in(Answer(500, {}, body)) is None


def test_the_most_specific_row_gives_the_advice() -> None:
    rows = (Trouble("404 / 10015", "", "a"), Trouble("404", "", "b"), Trouble("5xx", "", "c"))
    assert http.advice_for(rows, "10015", "404") == "a"
    assert http.advice_for(rows, "", "503", "5xx") == "c"
    assert http.advice_for(rows, "418") == ""
