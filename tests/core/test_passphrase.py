"""Sealing under a typed passphrase."""

import pytest

from webapp.core import passphrase
from webapp.core.errors import InvalidError

PHRASE = "quiet rivers carry boats"


def test_what_was_sealed_opens_with_the_passphrase() -> None:
    sealed = passphrase.seal(b"secret", PHRASE, b"bound")
    assert passphrase.open_sealed(sealed, PHRASE, b"bound") == b"secret"
    assert b"secret" not in str(sealed).encode()


def test_two_seals_of_the_same_text_share_nothing() -> None:
    one, two = (passphrase.seal(b"secret", PHRASE, b"") for _ in range(2))
    assert one["data"] != two["data"]
    assert one["salt"] != two["salt"]


def test_another_passphrase_does_not_open_it() -> None:
    sealed = passphrase.seal(b"secret", PHRASE, b"")
    with pytest.raises(InvalidError, match="does not open") as caught:
        passphrase.open_sealed(sealed, "quiet rivers carry stones", b"")
    assert caught.value.field == "passphrase"


def test_it_opens_only_with_what_it_is_bound_to() -> None:
    sealed = passphrase.seal(b"secret", PHRASE, b"for alice")
    with pytest.raises(InvalidError):
        passphrase.open_sealed(sealed, PHRASE, b"for mallory")


def test_letters_typed_on_another_system_are_the_same_letters() -> None:
    sealed = passphrase.seal(b"secret", "Gr\u00fc\u00dfe an das Ger\u00e4t", b"")
    typed = "Gru\u0308\u00dfe an das Gera\u0308t"
    assert passphrase.open_sealed(sealed, typed, b"") == b"secret"


@pytest.mark.parametrize(
    "change",
    [
        {"n": 2**40},
        {"r": 1024},
        {"n": 3},
        {"cipher": "none"},
        {"kdf": "md5"},
        {"salt": "not base64!"},
        {"data": None},
        {"nonce": ""},
    ],
)
def test_parameters_that_are_not_ours_are_refused_without_work(change: dict[str, object]) -> None:
    sealed = passphrase.seal(b"secret", PHRASE, b"") | change
    with pytest.raises(InvalidError):
        passphrase.open_sealed(sealed, PHRASE, b"")


def test_a_short_passphrase_is_refused() -> None:
    with pytest.raises(InvalidError, match="at least 12"):
        passphrase.require_strong("short")
    passphrase.require_strong(PHRASE)
