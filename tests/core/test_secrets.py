"""Sealing, references and masking."""

import base64
import html
import os
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography.fernet import Fernet
from flask import Flask

from webapp.core.errors import SecretError
from webapp.core.secrets import Sealer, mask, resolve
from webapp.core.settings import Settings

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


@pytest.mark.parametrize("damaged", ["", "nonsense", "gAAAAé", "gAAAAA", "\0"])
def test_what_is_damaged_is_a_clear_error(damaged: str) -> None:
    with pytest.raises(SecretError, match="cannot be opened"):
        Sealer([NEW]).open(damaged)
    with pytest.raises(SecretError, match="cannot be opened"):
        Sealer([NEW]).reseal(damaged)


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


def test_a_path_that_no_file_has_is_refused() -> None:
    with pytest.raises(SecretError, match="cannot be read"):
        resolve("file:/run/a\0b")


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


OWN = sorted(one.name.upper() for one in fields(Settings) if not one.repr)  # what no log may show


@pytest.mark.parametrize("name", OWN)
def test_a_reference_to_ones_own_secrets_leads_nowhere(
    app: Flask, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(f"DBACKUP_{name}", "what protects everything else")
    with pytest.raises(SecretError, match="sent nowhere"):
        resolve(f"env:DBACKUP_{name}")


@pytest.mark.parametrize("spelling", ["{}/{}", "{}/../{}/{}", "{}/link"])
@pytest.mark.parametrize("name", ["secret_key", "encryption_keys", "setup_code", "dbackup.db"])
def test_a_reference_to_ones_own_files_leads_nowhere(
    app: Flask, settings: Settings, name: str, spelling: str
) -> None:
    folder = settings.instance_path
    (folder / name).touch()
    (folder / "link").symlink_to(folder / name)
    way = [folder, folder.name, name] if ".." in spelling else [folder, name]
    with pytest.raises(SecretError, match="sent nowhere"):
        resolve("file:" + spelling.format(*way))


def test_a_reference_to_a_file_that_a_setting_names_leads_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text("what signs the cookies")
    monkeypatch.setenv("DBACKUP_SECRET_KEY_FILE", str(tmp_path / "key"))
    with pytest.raises(SecretError, match="sent nowhere"):
        resolve(f"file:{tmp_path / 'key'}")


@pytest.mark.parametrize("path", ["/proc/self/environ", "/proc/self/cmdline", "/sys/kernel/notes"])
def test_a_reference_to_what_the_system_knows_leads_nowhere(path: str) -> None:
    with pytest.raises(SecretError, match="sent nowhere"):
        resolve(f"file:{path}")


def test_what_has_no_end_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in ("/dev/zero", tmp_path / "pipe", tmp_path):
        with pytest.raises(SecretError, match="no ordinary file"):
            resolve(f"file:{path}")
    (tmp_path / "huge").write_text("x" * (64 * 1024 + 1))
    with pytest.raises(SecretError, match="larger than 64 KB"):  # its beginning is no secret
        resolve(f"file:{tmp_path / 'huge'}")
    (tmp_path / "large").write_text("x" * 64 * 1024)
    assert len(resolve(f"file:{tmp_path / 'large'}")) == 64 * 1024


def test_another_name_of_ones_own_file_leads_nowhere(
    app: Flask, settings: Settings, tmp_path: Path
) -> None:
    (settings.instance_path / "secret_key").write_text("what signs the cookies")
    os.link(settings.instance_path / "secret_key", tmp_path / "other-name")
    with pytest.raises(SecretError, match="sent nowhere"):
        resolve(f"file:{tmp_path / 'other-name'}")


def test_a_file_that_was_deleted_and_is_open_here_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "upload").open("w+") as file:
        file.write("what somebody uploads")
        file.flush()
        (tmp_path / "upload").unlink()
        with pytest.raises(SecretError, match="cannot be read"):
            resolve(f"file:/dev/fd/{file.fileno()}")
