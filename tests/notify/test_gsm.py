"""What a text message costs, and which signs spare it from UCS-2."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.notify import gsm


@pytest.mark.parametrize(
    ("text", "segments"),
    [
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("я" * 70, 1),
        ("я" * 71, 2),
        ("я" * 134, 2),
        ("я" * 135, 3),
        ("€" * 80, 1),
        ("€" * 81, 2),
        ("a" * 152 + "€" * 77, 3),  # 306 septets, but no pair straddles two parts
        ("я" * 66 + "😀" * 34, 3),
        ("", 1),
    ],
)
def test_segments_are_counted_as_operators_bill_them(text: str, segments: int) -> None:
    assert gsm.segments(text) == segments


@pytest.mark.parametrize("text", ["é è à ù ä ö ü ñ Ç £ ¥ § @ $ Δ", "^{}\\[~]|€"])
def test_signs_of_the_alphabet_stay(text: str) -> None:
    assert gsm.is_gsm(text)
    assert gsm.plain(text) == text


@pytest.mark.parametrize("sign", list("`’“—\u00a0ç漢я😀"))
def test_one_sign_beyond_the_alphabet_makes_the_text_long(sign: str) -> None:
    assert not gsm.is_gsm("a" + sign)


@pytest.mark.parametrize(
    ("text", "simple"),
    [
        ("“x” – it’s\u00a0`y`…", "\"x\" - it's 'y'..."),
        ("ç ã ê Ł œ", "c a e L oe"),
        ("done 🚀", "done (rocket)"),
        ("👩\u200d💻", "(woman)(personal computer)"),
        ("a\u202eb\u200b", "ab"),
        ("漢字 и ش", "漢字 и ش"),
    ],
)
def test_what_has_a_look_alike_is_replaced_by_it(text: str, simple: str) -> None:
    assert gsm.plain(text) == simple


@given(st.text(max_size=400), st.integers(1, 10))
def test_what_is_within_the_capacity_never_takes_more_segments(text: str, count: int) -> None:
    room = gsm.capacity(count, gsm=gsm.is_gsm(text))
    if gsm.units(text) <= room:
        assert gsm.segments(text) <= count
