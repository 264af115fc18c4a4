"""SFTP against a real server: whole files or none, known host keys, words for what goes wrong."""

import contextlib
import gc
import os
import re
import secrets
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paramiko
import pytest
from werkzeug.datastructures import MultiDict

from tests.servers.sftp import HOST, SftpServer
from webapp.backup.destinations import sftp_keys
from webapp.backup.destinations.sftp import Sftp
from webapp.backup.destinations.sftp_form import SftpForm
from webapp.backup.errors import BackupError, CancelledError
from webapp.backup.reach import Reach

BIG = secrets.token_bytes(3_000_000)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SftpServer]:
    (tmp_path / "srv").mkdir()
    with SftpServer(tmp_path / "srv") as running:
        yield running
        gc.collect()  # destinations end their connections when they are let go of


def place(server: SftpServer, reach: Reach | None = None, **changes: Any) -> Sftp:
    shown = sftp_keys.of(server.host_key.get_name(), server.host_key.asbytes())
    config = {
        "host": HOST,
        "port": server.port,
        "user": server.user,
        "password": server.password,
        "private_key": "",
        "passphrase": "",
        "path": "/backups/here",
        "host_key": str(shown),
    }
    return Sftp(config | changes, reach or Reach())


def put(target: Sftp, key: str, content: bytes = BIG) -> None:
    with target.open_write(key) as writer:
        for start in range(0, len(content), 1_000_000):
            writer.write(content[start : start + 1_000_000])


def files(server: SftpServer) -> list[str]:
    return sorted(p.relative_to(server.root).as_posix() for p in server.root.rglob("*.*"))


def test_the_test_writes_reads_back_and_deletes(server: SftpServer) -> None:
    assert "host key" in place(server).probe()
    assert [path for path in server.root.rglob("*") if path.is_file()] == []


def test_a_file_comes_back_as_it_was(server: SftpServer) -> None:
    target = place(server)
    put(target, "shop/a.gz")
    put(target, "shop/b.gz", b"")
    put(target, "other/c.gz", b"c")
    with target.open_read("shop/a.gz") as reader:
        read = b"".join(iter(lambda: reader.read(100_000), b""))
    assert read == BIG
    assert [(entry.key, entry.size) for entry in target.list("shop/")] == [
        ("shop/a.gz", len(BIG)),
        ("shop/b.gz", 0),
    ]
    assert target.size("shop/a.gz") == len(BIG)
    assert (server.root / "backups/here/shop/a.gz").stat().st_mode & 0o777 == 0o600
    target.delete("shop/a.gz")
    target.delete("shop/a.gz")
    assert len(target.list()) == 2
    assert server.connections == 1


def test_a_file_has_its_name_only_when_it_is_whole(server: SftpServer) -> None:
    target = place(server)
    with target.open_write("a.gz") as writer:
        writer.write(BIG)
        assert target.list() == ()
    assert [entry.key for entry in target.list()] == ["a.gz"]


def test_nothing_stays_of_a_file_that_was_given_up(server: SftpServer) -> None:
    target = place(server)
    with contextlib.suppress(CancelledError), target.open_write("a.gz") as writer:
        writer.write(BIG)
        raise CancelledError
    assert files(server) == []


def test_nothing_is_overwritten(server: SftpServer) -> None:
    target = place(server)
    put(target, "a.gz", b"first")
    with pytest.raises(BackupError, match="there already"):
        put(target, "a.gz", b"second")
    assert (server.root / "backups/here/a.gz").read_bytes() == b"first"


def test_a_full_disk_leaves_no_file(server: SftpServer) -> None:
    server.room = 1_000_000
    with pytest.raises(BackupError, match="disk"):
        put(place(server), "a.gz")
    assert files(server) == []


def test_a_broken_line_is_said_and_what_was_left_is_swept_later(server: SftpServer) -> None:
    server.breaks_after = 1_000_000
    with pytest.raises(BackupError, match="Cannot write to /backups/here"):
        put(place(server), "a.gz", BIG * 3)
    server.breaks_after = None
    target = place(server)
    assert target.list() == ()
    for path in (server.root / "backups/here").glob(".*.half"):
        os.utime(path, (time.time() - 3 * 3600,) * 2)
    (server.root / "backups/here" / ".b.gz.12345678.half").write_bytes(b"is being written")
    target.sweep()
    left = [path.name for path in (server.root / "backups/here").iterdir()]
    assert left == [".b.gz.12345678.half"]


def test_a_lost_connection_is_made_anew(server: SftpServer) -> None:
    target = place(server)
    put(target, "a.gz", b"x")
    server.hang_up()
    time.sleep(0.2)
    assert len(target.list()) == 1


def test_an_unknown_host_key_is_shown_and_not_trusted(server: SftpServer) -> None:
    with pytest.raises(BackupError, match="not confirmed yet") as caught:
        place(server, host_key="").probe()
    shown = str(caught.value).splitlines()[-1]
    assert place(server, host_key=shown).probe()


def test_a_changed_host_key_is_refused_before_the_password_is_sent(
    server: SftpServer, tmp_path: Path
) -> None:
    for key in (paramiko.ECDSAKey.generate(), paramiko.RSAKey.generate(2048)):
        with SftpServer(tmp_path, key) as other:
            known = str(sftp_keys.of(server.host_key.get_name(), server.host_key.asbytes()))
            with pytest.raises(BackupError, match="host key has changed"):
                place(other, host_key=known).probe()
    gc.collect()


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
@pytest.mark.parametrize("passphrase", ["", "tall ships"])
def test_private_keys_sign_in_also_without_their_line_breaks(
    server: SftpServer, tmp_path: Path, kind: str, passphrase: str
) -> None:
    path = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", path], check=True)
    text = path.read_text()
    server.allowed_key = sftp_keys.private(text, passphrase)
    changes = {"password": "", "passphrase": passphrase}
    assert place(server, private_key=text, **changes).probe()
    assert place(server, private_key=text.replace("\n", " "), **changes).probe()


def test_private_keys_that_cannot_be_used_are_explained(tmp_path: Path) -> None:
    path = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "long one", "-f", path], check=True)
    with pytest.raises(BackupError, match="has a passphrase"):
        sftp_keys.private(path.read_text(), "")
    with pytest.raises(BackupError, match="does not open it"):
        sftp_keys.private(path.read_text(), "wrong")
    with pytest.raises(BackupError, match="cannot be read"):
        sftp_keys.private("nonsense", "")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"password": "wrong"}, "refused user mara or the password"),
        ({"port": 1}, "Nothing answers at 127.0.0.1:1"),
        ({"host": "nowhere.invalid"}, "host name nowhere.invalid is not known"),
        ({"host": "169.254.169.254"}, "may not be called"),
    ],
)
def test_what_is_wrong_is_said_in_words(
    server: SftpServer, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(BackupError, match=words):
        place(server, **changes).probe()


def test_a_server_that_wants_a_key_says_so(server: SftpServer) -> None:
    server.allowed_key = paramiko.ECDSAKey.generate()
    with pytest.raises(BackupError, match="only lets in by: publickey"):
        place(server).probe()


def test_private_networks_can_be_forbidden(server: SftpServer) -> None:
    with pytest.raises(BackupError, match="private network"):
        place(server, Reach(allow_private=False)).probe()
    assert server.connections == 0


def test_host_keys_are_read_in_every_form_that_people_copy() -> None:
    key = paramiko.ECDSAKey.generate()
    line = f"{key.get_name()} {key.get_base64()}"
    short = sftp_keys.of(key.get_name(), key.asbytes())
    for typed in (line, f"{line} root@nas", f"nas.lan {line}", str(short)):
        assert sftp_keys.parse(typed) == short
    for wrong in ("", "SHA256:x", "ssh-ed25519 nonsense", f"ssh-rsa {key.get_base64()}"):
        with pytest.raises(ValueError, match=re.escape(wrong) or "^$"):
            sftp_keys.parse(wrong)


def test_the_fingerprint_is_the_one_that_ssh_keygen_shows(tmp_path: Path) -> None:
    path = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    public = path.with_suffix(".pub")
    shown = subprocess.run(["ssh-keygen", "-lf", public], capture_output=True, text=True).stdout
    assert sftp_keys.parse(public.read_text()).fingerprint in shown


def test_the_form_asks_for_a_way_to_sign_in_and_never_shows_the_key() -> None:
    sent = {"host": "nas", "port": "22", "user": "m", "path": "x", "host_key": ""}
    form = SftpForm(MultiDict(sent))
    assert not form.validate()
    assert "password" in form.errors
    form = SftpForm(MultiDict(sent | {"private_key": "secret\nlines", "host_key": "x"}))
    assert not form.validate()
    assert list(form.errors) == ["host_key"]
    assert "secret" not in str(form.private_key())


def test_a_name_that_is_no_text_is_said(server: SftpServer) -> None:
    """The library cannot read it, and a listing ends there."""
    target = place(server)
    put(target, "shop/a.gz", b"a")
    with open(os.fsencode(server.root) + b"/backups/here/shop/\xff\xfe.gz", "wb"):
        pass
    with pytest.raises(BackupError, match="not UTF-8"):
        target.list()


def test_what_a_server_says_is_told_without_the_password(server: SftpServer) -> None:
    (server.root / "backups/here/shop").mkdir(parents=True)
    server.says = "not even with tall ships"
    with pytest.raises(BackupError, match=re.escape("The server says: not even with ***.")):
        place(server).delete("shop")
