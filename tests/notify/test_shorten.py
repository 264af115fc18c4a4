"""Texts are cut in the units of services and between visible signs."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.notify.shorten import fit, is_blank, json_bytes, share, utf8, utf16


def double(value: str) -> str:
    return "".join(f"\\{character}" for character in value)


@given(st.text(max_size=300), st.integers(min_value=0, max_value=200), st.booleans())
def test_the_result_is_never_longer_than_the_limit(text: str, limit: int, keep_end: bool) -> None:
    for measure in (utf16, utf8, len):
        assert measure(fit(text, limit, measure=measure, escape=double, keep_end=keep_end)) <= limit


@given(st.text(max_size=100))
def test_what_fits_is_left_alone(text: str) -> None:
    assert fit(text, 400) == text


def test_a_cut_is_said() -> None:
    assert fit("a" * 5033, 100).endswith("… (cut, 5033 characters)")
    assert len(fit("a" * 5033, 100)) == 100


def test_an_escape_is_never_cut_in_two() -> None:
    assert "\\…" not in fit("x" * 1000, 101, escape=double).replace("\\x", "")


def test_both_ends_are_kept_on_request() -> None:
    found = fit("start" + "-" * 1000 + "end", 120, keep_end=True)
    assert found.startswith("start")
    assert found.endswith("end")


@pytest.mark.parametrize("sign", ["👩\u200d👩\u200d👧", "e\u0301", "👍🏽"])
@pytest.mark.parametrize("limit", range(40, 60))
def test_no_visible_sign_is_cut_in_two(sign: str, limit: int) -> None:
    kept = fit(sign * 100, limit).partition("…")[0]
    assert kept.replace(sign, "") == ""


@pytest.mark.parametrize(
    ("room", "parts", "given"),
    [
        (100, [(40, 10), (50, 10)], [40, 50]),
        (60, [(40, 10), (50, 10)], [40, 20]),
        (45, [(40, 10), (50, 10)], [35, 10]),
        (5, [(40, 10), (50, 10)], [10, 10]),
        (5, [(3, 10), (2, 10)], [3, 2]),
    ],
)
def test_the_last_part_gives_way_first(
    room: int, parts: list[tuple[int, int]], given: list[int]
) -> None:
    assert share(room, parts) == given


@pytest.mark.parametrize("text", ["", " \t\n", "\u200b", "\u2060\ufeff", "\u0301", "\u202e"])
def test_what_nobody_sees_is_blank(text: str) -> None:
    assert is_blank(text)


@pytest.mark.parametrize("text", ["x", "–", "😀", "é", "\u200bx"])
def test_what_somebody_sees_is_not(text: str) -> None:
    assert not is_blank(text)


@given(st.text(max_size=50))
def test_bytes_in_json_are_those_that_are_sent(text: str) -> None:
    sendable = text.encode("utf-8", "replace").decode()
    assert json_bytes(sendable) == len(json.dumps(sendable, ensure_ascii=False).encode()) - 2
