"""Settings are read once, and every mistake is named."""

import stat
from pathlib import Path

import pytest

from webapp.core.settings import Settings, SettingsError


def read(tmp_path: Path, **values: str) -> Settings:
    environ = {f"DBACKUP_{name}": value for name, value in values.items()}
    return Settings.from_env({"DBACKUP_INSTANCE_PATH": str(tmp_path / "instance")} | environ)


def test_a_fresh_instance_makes_its_keys_for_its_owner_only(tmp_path: Path) -> None:
    settings = read(tmp_path)
    for name in ("secret_key", "encryption_keys"):
        assert stat.S_IMODE((tmp_path / "instance" / name).stat().st_mode) == 0o600
    assert len(settings.secret_key) == 64
    assert stat.S_IMODE((tmp_path / "instance").stat().st_mode) == 0o700


def test_keys_stay_the_same_at_the_next_start(tmp_path: Path) -> None:
    assert read(tmp_path) == read(tmp_path)


def test_keys_are_not_in_the_text_of_the_object(tmp_path: Path) -> None:
    settings = read(tmp_path)
    assert settings.secret_key not in repr(settings)
    assert settings.encryption_keys[0] not in repr(settings)


def test_every_mistake_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        read(
            tmp_path,
            PORT="eighty",
            TIMEZONE="Middle/Earth",
            DATABASE_URL="mysql://x",
            BASE_URL="ftp://x",
            ALLOW_PRIVATE_NETWORKS="maybe",
            ENCRYPTION_KEYS="short",
            SECRET_KEY="short",
            CA_FILE="/nowhere/ca.pem",
            DISPATCHER_THREADS="3",
        )
    problems = str(caught.value).splitlines()
    assert len(problems) == 9
    assert all(line.startswith("DBACKUP_") and "must" in line for line in problems)
    assert not (tmp_path / "instance").exists(), "nothing is made when the settings are wrong"


def test_each_value_may_come_from_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text("k" * 40 + "\n")
    assert read(tmp_path, SECRET_KEY_FILE=str(secret)).secret_key == "k" * 40


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="SECRET_KEY_FILE"):
        read(tmp_path, SECRET_KEY_FILE=str(tmp_path / "nothing"))


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_postgresql_is_spoken_to_through_psycopg(tmp_path: Path, scheme: str) -> None:
    settings = read(tmp_path, DATABASE_URL=f"{scheme}://db/dbackup")
    assert settings.database_url == "postgresql+psycopg://db/dbackup"
    assert not settings.is_sqlite
