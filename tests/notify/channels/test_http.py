"""How an answer over HTTP says when to come back."""

from datetime import UTC, datetime, timedelta

import pytest

from webapp.core import clock
from webapp.notify.channels import http
from webapp.notify.channels.base import Trouble

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
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "864000"}, 864_000),
        ({"Retry-After": "1772366400"}, None),
        ({"Retry-After": "9" * 30}, None),
        ({"Retry-After": "1e99"}, None),
        ({}, None),
    ],
)
def test_the_hint_of_a_server(
    headers: dict[str, str], seconds: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)
    expected = None if seconds is None else timedelta(seconds=seconds)
    assert http.retry_after(headers) == expected


def test_the_most_specific_row_gives_the_advice() -> None:
    rows = (Trouble("404 / 10015", "", "a"), Trouble("404", "", "b"), Trouble("5xx", "", "c"))
    assert http.advice_for(rows, "10015", "404") == "a"
    assert http.advice_for(rows, "", "503", "5xx") == "c"
    assert http.advice_for(rows, "418") == ""
