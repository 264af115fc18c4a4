"""Sizes and durations in words; cleaned texts."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.core import text


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (96_000_000, "96 MB"),
        (644_100_000, "644.1 MB"),
        (999_960_000, "1 GB"),
        (2_400_000_000, "2.4 GB"),
    ],
)
def test_sizes(count: int, words: str) -> None:
    assert text.size(count) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.182, "182 ms"),
        (1.0, "1 s"),
        (1.4, "1.4 s"),
        (48, "48 s"),
        (59.7, "1 min"),
        (200, "3 min 20 s"),
        (3840, "1 h 04 min"),
        (86_400 * 2 + 3 * 3600, "2 d 3 h"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    assert text.duration(timedelta(seconds=seconds)) == words


@given(st.text())
def test_cleaned_text_can_be_stored_and_sent_anywhere(value: str) -> None:
    cleaned = text.clean(value)
    cleaned.encode("utf-8")
    assert not any(ord(char) < 32 and char not in "\n\t" for char in cleaned)


def test_line_breaks_of_all_systems_become_one_kind() -> None:
    assert text.clean("a\r\nb\rc\nd") == "a\nb\nc\nd"


def test_a_title_is_one_line() -> None:
    assert text.one_line("nightly\r\nBcc: x@y\x00") == "nightly Bcc: x@y"


@pytest.mark.parametrize(
    ("count", "words"), [(0, "no channels"), (1, "1 channel"), (3, "3 channels")]
)
def test_counts(count: int, words: str) -> None:
    assert text.plural(count, "channel") == words
