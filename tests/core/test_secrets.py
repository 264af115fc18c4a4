"""Sealing, references and masking."""

import base64
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography.fernet import Fernet

from webapp.core.errors import SecretError
from webapp.core.secrets import Sealer, mask, resolve

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()
CONFIG = {"webhook_url": "https://example.org/täglich", "count": 3}


def test_what_is_sealed_opens_again_and_is_not_readable() -> None:
    sealed = Sealer([NEW]).seal(CONFIG)
    assert "example" not in sealed
    assert Sealer([NEW]).open(sealed) == CONFIG


def test_an_older_key_still_opens_and_resealing_makes_it_unnecessary() -> None:
    sealed = Sealer([OLD]).seal(CONFIG)
    both = Sealer([NEW, OLD])
    assert both.open(sealed) == CONFIG
    assert Sealer([NEW]).open(both.reseal(sealed)) == CONFIG


def test_a_wrong_key_is_a_clear_error() -> None:
    with pytest.raises(SecretError, match="encryption_keys"):
        Sealer([NEW]).open(Sealer([OLD]).seal(CONFIG))


def test_a_reference_to_the_environment_is_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", "one")
    assert resolve("env:HOOK") == "one"
    monkeypatch.setenv("HOOK", "two")
    assert resolve("env:HOOK") == "two"


def test_a_missing_variable_says_what_to_do() -> None:
    with pytest.raises(SecretError, match=r"SURELY_NOT_SET is not set\. Set it"):
        resolve("env:SURELY_NOT_SET")


def test_a_file_reference_loses_one_trailing_line_break(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("s3cret\n")
    assert resolve(f"file:{path}") == "s3cret"


def test_an_unreadable_file_names_the_file_and_not_its_content(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match="cannot be read"):
        resolve(f"file:{tmp_path / 'nothing'}")


def test_anything_else_is_the_secret_itself() -> None:
    assert resolve("https://example.org/env:x") == "https://example.org/env:x"


@pytest.mark.parametrize(
    "form",
    [
        lambda secret: secret,
        lambda secret: quote(secret, safe=""),
        lambda secret: base64.b64encode(secret.encode()).decode(),
        lambda secret: secret.replace('"', '\\"'),
    ],
)
def test_masking_finds_a_secret_in_each_of_its_forms(form: Callable[[str], str]) -> None:
    secret = 'p@ss/w"ord+1'
    assert mask(f"cannot open {form(secret)} now", [secret]).startswith("cannot open ***")
    assert secret not in mask(f"cannot open {form(secret)} now", [secret])


def test_masking_leaves_ordinary_words_alone() -> None:
    assert mask("a cat sat", ["a", "at", ""]) == "a cat sat"


def test_the_longer_of_two_overlapping_secrets_is_masked_whole() -> None:
    assert mask("token-extended", ["token", "token-extended"]) == "***"
