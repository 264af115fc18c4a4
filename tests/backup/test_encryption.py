"""Encrypted backups: opened by the standard age program, restored, refused in words."""

import base64
import hashlib
import json
import os
import pty
import re
import shutil
import sqlite3
import subprocess
import threading
from contextlib import closing
from pathlib import Path

import pyrage
import pytest

from tests.backup.watchers import Watcher
from tests.services_needed import require
from webapp.backup import encryption
from webapp.backup.destinations.local import Local
from webapp.backup.encryption import Encryption
from webapp.backup.engine import Place, Stored, back_up
from webapp.backup.errors import BackupError, CancelledError
from webapp.backup.restore import restore
from webapp.backup.sources.sqlite import Sqlite
from webapp.core.errors import InvalidError

KEY = "shop-1/2026-11-23.sqlite.zst.age"
PASSPHRASE = "tall ships & quiet harbours"


@pytest.fixture(scope="module")
def sealed() -> Encryption:
    return encryption.with_passphrase(PASSPHRASE)


def _back_up(source: Sqlite, local: Local, how: Encryption, key: str = KEY) -> Stored:
    return back_up(
        source,
        [Place(1, "here", local)],
        key=key,
        compression="zstd",
        facts={},
        progress=Watcher(),
        encryption=how,
    )


def _restored(local: Local, source: Sqlite, target: Path, unlock: str) -> bool:
    restore(local, KEY, source=source, target=str(target), progress=Watcher(), unlock=unlock)
    with closing(sqlite3.connect(source.path)) as old, closing(sqlite3.connect(target)) as new:
        return list(new.iterdump()) == list(old.iterdump())


def _age(*arguments: str) -> bytes:
    require("age", bool(shutil.which("age")), "the program age is not installed")
    return subprocess.run(["age", *arguments], capture_output=True, check=True).stdout


def _age_with_passphrase(folder: Path, artifact: Path) -> None:
    """Answer the question of age at a terminal, where alone it asks."""
    require("age", bool(shutil.which("age")), "the program age is not installed")
    pid, terminal = pty.fork()
    if pid == 0:
        identity = str(artifact.parent / "dbackup-identity.age")
        arguments = ["age", "-d", "-i", identity, "-o", str(folder / "clear"), str(artifact)]
        os.execvp("age", arguments)
    os.read(terminal, 100)
    os.write(terminal, f"{PASSPHRASE}\n".encode())
    while True:
        try:
            if not os.read(terminal, 1000):
                break
        except OSError:  # the terminal is gone with the program
            break
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_an_artifact_for_recipients_opens_with_age_and_zstd(
    tmp_path: Path, shop: Sqlite, local: Local
) -> None:
    require("zstd", bool(shutil.which("zstd")), "the program zstd is not installed")
    keys = [pyrage.x25519.Identity.generate() for _ in range(2)]
    public = tuple(str(key.to_public()) for key in keys)
    stored = _back_up(shop, local, Encryption("recipients", public))
    assert stored.manifest["encryption"]["recipients"] == list(public)
    for number, key in enumerate(keys):
        path = tmp_path / f"key-{number}"
        path.write_text(str(key))
        opened = _age("-d", "-i", str(path), str(local.root / KEY))
        clear = subprocess.run(
            ["zstd", "-dc"], input=opened, capture_output=True, check=True
        ).stdout
        assert clear.startswith(b"SQLite format 3")
        assert _restored(local, shop, tmp_path / f"{number}.db", str(key))


def test_an_artifact_for_an_ssh_key_opens_with_that_key(
    tmp_path: Path, shop: Sqlite, local: Local
) -> None:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True
    )
    public = encryption.parse_recipients((tmp_path / "key.pub").read_text())
    _back_up(shop, local, Encryption("recipients", public))
    assert _age("-d", "-i", str(tmp_path / "key"), str(local.root / KEY))
    assert _restored(local, shop, tmp_path / "new.db", (tmp_path / "key").read_text())


def test_in_passphrase_mode_the_passphrase_opens_it_here_and_with_age(
    tmp_path: Path, shop: Sqlite, local: Local, sealed: Encryption
) -> None:
    _back_up(shop, local, sealed)
    assert _restored(local, shop, tmp_path / "new.db", PASSPHRASE)
    _age_with_passphrase(tmp_path, local.root / KEY)
    assert (tmp_path / "clear").read_bytes()[:4] == b"\x28\xb5\x2f\xfd"  # a zstd frame
    assert PASSPHRASE not in (local.root / f"{KEY}.json").read_text()


def test_the_sealed_key_lies_beside_the_artifacts_once_for_each_passphrase(
    shop: Sqlite, local: Local, sealed: Encryption
) -> None:
    first, second = sealed, encryption.with_passphrase(f"{PASSPHRASE}, really")
    for number, how in enumerate((first, first, second, second)):
        _back_up(shop, local, how, f"shop-1/{number}.age")
    found = sorted(path.name for path in (local.root / "shop-1").glob("dbackup-identity*"))
    assert found == [f"dbackup-identity-{second.recipients[0][-8:]}.age", "dbackup-identity.age"]
    assert (local.root / "shop-1" / "dbackup-identity.age").read_text() == first.identity


@pytest.mark.parametrize(
    ("unlock", "words"),
    [
        ("", "This backup is encrypted. Enter the passphrase"),
        ("another passphrase", "Enter the passphrase that belongs to it"),
        (str(pyrage.x25519.Identity.generate()), "Enter the private key that belongs to it"),
        ("AGE-SECRET-KEY-1NONSENSE", "The private key cannot be read"),
    ],
    ids=["nothing", "another passphrase", "another key", "no key"],  # keys are made at random
)
def test_what_does_not_open_it_is_refused_in_words(
    tmp_path: Path, shop: Sqlite, local: Local, sealed: Encryption, unlock: str, words: str
) -> None:
    _back_up(shop, local, sealed)
    with pytest.raises(BackupError, match=words):
        _restored(local, shop, tmp_path / "new.db", unlock)
    assert not (tmp_path / "new.db").exists()


def test_a_damaged_artifact_is_not_decrypted(shop: Sqlite, local: Local, tmp_path: Path) -> None:
    key = pyrage.x25519.Identity.generate()
    _back_up(shop, local, Encryption("recipients", (str(key.to_public()),)))
    path = local.root / KEY
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    manifest = local.root / f"{KEY}.json"
    values = json.loads(manifest.read_text())
    values["sha256"] = hashlib.sha256(content).hexdigest()
    manifest.write_text(json.dumps(values))
    with pytest.raises(BackupError, match="damaged: it cannot be decrypted"):
        _restored(local, shop, tmp_path / "new.db", str(key))
    assert not (tmp_path / "new.db").exists()


def test_a_cancelled_backup_leaves_no_thread_and_no_file(shop: Sqlite, local: Local) -> None:
    key = str(pyrage.x25519.Identity.generate().to_public())
    watcher = Watcher(lambda watcher: watcher.done > 50_000)
    with pytest.raises(CancelledError):
        back_up(
            shop,
            [Place(1, "here", local)],
            key=KEY,
            compression="none",
            facts={},
            progress=watcher,
            encryption=Encryption("recipients", (key,)),
        )
    assert not [path for path in local.root.rglob("*") if path.is_file()]
    assert not [thread for thread in threading.enumerate() if "age" in thread.name]


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("", "at least one public key"),
        ("# only a comment", "at least one public key"),
        ("age1nonsense", "“age1nonsense” is no public key"),
        ("ssh-ed25519 AAAA", "is no public key"),
        (str(pyrage.x25519.Identity.generate()), "That is a private key"),
        ("\n".join(str(pyrage.x25519.Identity.generate().to_public()) for _ in range(21)), "20"),
    ],
    ids=["nothing", "a comment", "nonsense", "no ssh key", "a private key", "too many"],
)
def test_what_is_no_recipient_is_refused(typed: str, words: str) -> None:
    with pytest.raises(InvalidError, match=words) as caught:
        encryption.parse_recipients(typed)
    assert caught.value.field == "recipients"


def test_recipients_are_read_one_a_line_without_comments() -> None:
    one, two = (str(pyrage.x25519.Identity.generate().to_public()) for _ in range(2))
    assert encryption.parse_recipients(f"# Mara\n {one} # laptop\n\n{two}\n{one}") == (one, two)


def _asking_for(work: int, sealed: str) -> str:
    """Return the sealed key as somebody would change it who wants much memory to be used."""
    marks = [line for line in sealed.splitlines() if line.startswith("-----")]
    body = base64.b64decode("".join(sealed.split("-----")[2].split()))
    changed = re.sub(rb"(-> scrypt \S+) \d+", rb"\1 %d" % work, body)
    return "\n".join([marks[0], base64.encodebytes(changed).decode().strip(), marks[1]])


@pytest.mark.timeout(10)  # 4 GB and most of a minute without the limit
@pytest.mark.parametrize("work", [21, 22, 30, 300])
def test_a_sealed_key_cannot_ask_for_any_memory(sealed: Encryption, work: int) -> None:
    facts = sealed.facts() | {"identity": _asking_for(work, sealed.identity)}
    with pytest.raises(BackupError, match="asks for more memory"):
        encryption.identities(facts, PASSPHRASE)


@pytest.mark.parametrize("identity", ["x", "-----BEGIN", "A" * 1000, "é", "\ud800"])
def test_a_sealed_key_that_is_none_is_refused_in_words(sealed: Encryption, identity: str) -> None:
    with pytest.raises(BackupError, match="is damaged"):
        encryption.identities(sealed.facts() | {"identity": identity}, PASSPHRASE)
