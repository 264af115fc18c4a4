"""Whatever a message says: each service would take it, show it, and ping nobody for it.

Some hundred messages here; at least 100,000 with DBACKUP_TEST_SLOW=1 (make slow).
"""

from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.notify.channels.cases import CASES, Judge
from tests.notify.samples import (
    DELIVERY_ID,
    EVENT_ID,
    HOSTILE,
    LONG_ERROR,
    OCCURRED,
    READER,
    hostile,
)
from webapp.notify.message import Field, Message, Severity, Text, compose

TYPES = [*CASES, "email"]
QUICK: Final = 60  # messages for each type
SLOW: Final = 500  # in each batch; the memory that hypothesis takes grows with them
BATCHES: Final = 24
ENOUGH: Final = 100_000

FRAGMENTS: Final = (
    *(value[:60] for value in HOSTILE),
    "@everyone", "@here", "@mara_l", "<!channel>", "<!here|x>", "<@U0AAAAAAA>",
    "<!subteam^S0AAAAAA>", "<#C0AAAAAAA>", "<https://e.example|x>", "<at>Mara</at>", "<&",
    "&amp;", "&lt;!channel&gt;", "&#60;", "```", "``", "`", "~~~", "***", "__", "_a_", "*b*",
    "||s||", "> q", ">>> q", "# h", "- i", "1. i", "[x](http://e.example)",
    "![x](http://e.example/a.png)", "<script>alert(1)</script>", "</pre>", "</b>", "<b>",
    "<br>", "<a href='tg://user?id=1'>x</a>", "{{title}}", "{{DATE(2017-02-14T06:08:39Z)}}",
    "${x}", "%0d%0aBcc: x@y.example", "\r\nBcc: x@y.example", "\nSubject: x", "\r", "\n",
    "\n.\n", "=?utf-8?q?=0D=0ABcc:_x=40y.example?=", "\x00", "\x1b[31m", "\u2028", "\u202e",
    "\u200b", "\u034f", "\u2060", "\ufeff", "\ud800", "\udfff", "e\u0301", "👩\u200d👩\u200d👧",
    "🏳️\u200d🌈", "夜间备份", "גיבוי", "ß", "İ", "€", "^", "~", "\\", '"', "'", "\t", " ", "",
    "host:5432:db", ":tada:", "app_db", "C:\\x\\n",
)  # fmt: skip
"""What values may hold; the hostile list of the fact sheet among it."""

fragment = st.sampled_from(FRAGMENTS) | st.text(max_size=12)
value = st.builds(
    lambda parts, times: "".join(parts) * times,
    st.lists(fragment, max_size=6),
    st.sampled_from((1, 1, 1, 1, 2, 30, 700)),
)
fact = st.builds(Field, value, value, st.booleans())


@st.composite
def messages(draw: st.DrawFn) -> Message:
    """Make a message as the product makes them, of any values."""
    said = Text(
        title=f"Backup failed: {draw(value)}" if draw(st.booleans()) else draw(value),
        text=draw(value),
        severity=draw(st.sampled_from(Severity)),
        fields=tuple(draw(st.lists(fact, max_size=4))) * draw(st.sampled_from((1, 1, 1, 12))),
        error=draw(value),
        path=draw(st.sampled_from(("/runs/1", "/", "/channels/17"))),
        link_label=draw(st.sampled_from(("Open run", "Open DBackup", "Sign in"))),
    )
    base = draw(st.sampled_from(("https://backup.example.org", "http://localhost:8000")))
    return compose(
        said,
        replace(READER, base_url=base, instance=draw(value) or "DBackup"),
        event_id=EVENT_ID,
        delivery_id=DELIVERY_ID,
        event_type="backup_failure",
        occurred_at=OCCURRED,
        is_test=draw(st.booleans()),
        late_by=draw(st.sampled_from((None, timedelta(hours=3)))),
        thread=draw(value),
        attempt=draw(st.sampled_from((1, 9))),
    )


@cache
def judge(kind: str) -> Judge:
    return Judge(kind)


def test_the_slow_mode_judges_enough_messages() -> None:
    assert BATCHES * SLOW * len(TYPES) >= ENOUGH


@pytest.mark.parametrize("kind", TYPES)
@settings(
    max_examples=QUICK,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    database=None,
)
@given(message=messages())
def test_every_message_would_be_taken_as_it_is(kind: str, message: Message) -> None:
    assert judge(kind).problem(message) == ""


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("batch", range(BATCHES))
@settings(
    max_examples=SLOW,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    database=None,
)
@given(message=messages())
def test_each_of_100_000_messages_would_be_taken_as_it_is(batch: int, message: Message) -> None:
    problems = {kind: judge(kind).problem(message) for kind in TYPES}
    assert not any(problems.values()), problems


@pytest.mark.parametrize("text", [*HOSTILE, LONG_ERROR, *FRAGMENTS])
@pytest.mark.parametrize("kind", TYPES)
def test_every_hostile_value_is_harmless_in_every_place(kind: str, text: str) -> None:
    assert judge(kind).problem(hostile(text)) == ""


def _as_it_is(value: str, *rest: Any, **options: Any) -> str:
    return value


@pytest.mark.parametrize(
    ("kind", "function", "text"),
    [
        ("discord", "channels.discord.fit", "x" * 9_000),
        ("slack", "channels.slack._escape", "<!channel>"),
        ("slack", "channels.slack._escape", "a & b"),
        ("slack", "layout.fit", "x" * 9_000),
        ("teams", "channels.teams._escape", "<at>Mara</at>"),
        ("teams", "layout.fit", "x" * 30_000),
        ("telegram", "channels.telegram._escape", "</b>"),
        ("telegram", "channels.telegram._unpinged", "@mara_l"),
        ("telegram", "layout.fit", "x" * 9_000),
    ],
)
def test_the_judges_can_say_no(
    kind: str, function: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"webapp.notify.{function}", _as_it_is)
    assert Judge(kind).problem(hostile(text)) != ""
