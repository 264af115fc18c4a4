"""Sealing, references and masking."""

import base64
import html
import re
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


@pytest.mark.parametrize("path", ["/dev/zero", "/tmp", "/run/a\0b"])
def test_what_is_no_ordinary_file_is_refused(path: str) -> None:
    with pytest.raises(SecretError, match="cannot be read"):
        resolve(f"file:{path}")


def test_anything_else_is_the_secret_itself() -> None:
    assert resolve("https://example.org/env:x") == "https://example.org/env:x"


@pytest.mark.parametrize(
    "form",
    [
        lambda secret: secret,
        lambda secret: quote(secret, safe=""),
        lambda secret: base64.b64encode(secret.encode()).decode(),
        lambda secret: secret.replace('"', '\\"'),
        lambda secret: re.sub("%..", lambda found: found[0].lower(), quote(secret, safe="")),
        lambda secret: html.escape(secret),
        lambda secret: secret.encode().hex(),
        lambda secret: base64.urlsafe_b64encode(secret.encode()).decode(),
        lambda secret: f"{secret[:5]}\n{secret[5:]}",
        lambda secret: secret[:9],
    ],
)
def test_masking_finds_a_secret_in_each_of_its_forms(form: Callable[[str], str]) -> None:
    secret = 'p@ss/w"ord+1'
    assert mask(f"cannot open {form(secret)}\nnow", [secret]).startswith("cannot open ***")
    assert form(secret) not in mask(f"cannot open {form(secret)}\nnow", [secret])


def test_masking_leaves_ordinary_words_alone() -> None:
    assert mask("a cat sat", ["a", "at", ""]) == "a cat sat"


def test_the_longer_of_two_overlapping_secrets_is_masked_whole() -> None:
    assert mask("token-extended", ["token", "token-extended"]) == "***"


@pytest.mark.parametrize("user", ["", "u", "us", "use", "user@example.org"])
def test_a_password_within_basic_authentication_is_masked(user: str) -> None:
    secret = "correct-horse-17"
    header = base64.b64encode(f"{user}:{secret}".encode()).decode()
    left = mask(f"Authorization: Basic {header}", [secret])
    rest = left.removeprefix("Authorization: Basic ").replace("***", "")
    assert "***" in left
    assert b"horse" not in base64.b64decode(rest + "=" * (-len(rest) % 4) if rest else "")
    assert len(rest) < len(header) - len(secret)


def test_each_long_line_of_a_key_is_masked() -> None:
    key = "-----BEGIN KEY-----\nAAAAB3NzaC1yc2EAAAADAQABAAABgQC7\nZZZZshort\n-----END KEY-----"
    assert "AAAAB3" not in mask("cannot read AAAAB3NzaC1yc2EAAAADAQABAAABgQC7", [key])


def test_a_secret_that_was_cut_off_is_masked() -> None:
    assert mask("tried swordfish-an", ["swordfish-and-cod"]) == "tried ***"
    assert (
        mask("tried swordfish-an\nthen failed", ["swordfish-and-cod"]) == "tried ***\nthen failed"
    )
    assert mask("a sword fish", ["swordfish-and-cod"]) == "a sword fish"
