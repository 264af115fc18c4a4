"""dbackup config."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import delete, select

from tests.factories import make_channel
from webapp.core import passphrase
from webapp.models.channel import ChannelRow
from webapp.models.delivery import EventRow
from webapp.services.transaction import reading, transaction

PHRASE = "quiet rivers carry boats"


@pytest.fixture(autouse=True)
def cheap_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passphrase, "N", 2**10)


def test_without_a_terminal_it_says_how_to_give_the_passphrase(tmp_path: Path) -> None:
    instance = tmp_path / "instance"
    environ = {"PATH": os.environ["PATH"], "DBACKUP_INSTANCE_PATH": str(instance)}
    program = Path(sys.executable).with_name("dbackup")
    subprocess.run([program, "users", "list"], env=environ, check=True)
    done = subprocess.run(
        [program, "config", "export", tmp_path / "settings.json"],
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        start_new_session=True,  # away from the terminal of whoever runs the tests
    )
    assert done.returncode == 1
    assert done.stderr == (
        "Error: There is no terminal to type the passphrase at. "
        "Pipe it in with --passphrase-stdin.\n"
    )


def test_settings_go_out_and_come_back(dbackup, tmp_path: Path) -> None:
    make_channel(name="Ops alerts", config={"url": "https://h.example.org/sEcReT"})
    file = tmp_path / "settings.json"
    before = dbackup("config", "fingerprint").stdout
    sealed = dbackup("config", "export", str(file), "--passphrase-stdin", stdin=f"{PHRASE}\n")
    assert (sealed.exit_code, sealed.stderr) == (0, "")
    assert "sEcReT" not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with transaction() as session:
        session.execute(delete(ChannelRow))

    result = dbackup("config", "import", str(file), "--passphrase-stdin", stdin=f"{PHRASE}\n")

    assert result.exit_code == 0, result.stderr
    assert "Imported 1 channel, no sources, no destinations, no jobs and no users." in result.stdout
    assert "Notifications are set exactly as they were." in result.stdout
    assert dbackup("config", "fingerprint").stdout == before


def test_an_export_is_announced(dbackup, tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    assert dbackup("config", "export", str(file), "--no-secrets").exit_code == 0
    with reading() as session:
        event = session.scalars(select(EventRow)).one()
    assert (event.type, event.payload["destination"]) == ("config_backup", str(file))
    assert event.payload["encrypted"] is False


def test_standard_output_is_the_file_and_nothing_else(dbackup) -> None:
    result = dbackup("config", "export", "-", "--no-secrets")
    assert json.loads(result.stdout)["format"] == "dbackup-configuration"


def test_a_file_that_exists_is_not_replaced(dbackup, tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    file.write_text("precious")
    result = dbackup("config", "export", str(file), "--no-secrets")
    assert result.exit_code == 1
    assert "exists already" in result.stderr
    assert file.read_text() == "precious"


def test_what_is_incomplete_is_said(dbackup, tmp_path: Path) -> None:
    make_channel(name="Ops alerts", config={"url": "https://h.example.org/sEcReT"})
    file = tmp_path / "settings.json"
    dbackup("config", "export", str(file), "--no-secrets")
    with transaction() as session:
        session.execute(delete(ChannelRow))
    result = dbackup("config", "import", str(file), "--no-secrets")
    assert result.exit_code == 0, result.stderr
    assert "Incomplete: Ops alerts: enter url again." in result.stdout


def test_an_installation_in_use_and_a_wrong_passphrase_are_one_line(
    dbackup, tmp_path: Path
) -> None:
    file = tmp_path / "settings.json"
    dbackup("config", "export", str(file), "--passphrase-stdin", stdin=f"{PHRASE}\n")
    wrong = dbackup("config", "import", str(file), "--passphrase-stdin", stdin="another phrase\n")
    make_channel()
    used = dbackup("config", "import", str(file), "--passphrase-stdin", stdin=f"{PHRASE}\n")
    assert [result.exit_code for result in (wrong, used)] == [1, 1]
    assert "does not open" in wrong.stderr
    assert "fresh installation" in used.stderr
    assert [len(result.stderr.splitlines()) for result in (wrong, used)] == [1, 1]
