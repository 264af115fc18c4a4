import hashlib
import io
import itertools
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.backup.watchers import Collected, Watcher
from webapp.backup.errors import BackupError, CancelledError
from webapp.backup.sources.sqlite import Sqlite
from webapp.core.settings import PROJECT_ROOT


def _content(path: str | Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def test_a_restored_database_equals_the_dumped_one(shop: Sqlite, tmp_path: Path) -> None:
    output, target = Collected(), tmp_path / "new.db"
    shop.dump(output, Watcher())
    shop.restore(io.BytesIO(output.data), str(target), Watcher())
    assert _content(target) == _content(shop.path)
    assert target.stat().st_mode & 0o777 == 0o600


def test_what_is_only_in_the_wal_is_dumped_too(shop: Sqlite, tmp_path: Path) -> None:
    with closing(sqlite3.connect(shop.path)) as held:
        held.execute("PRAGMA wal_autocheckpoint = 0")
        held.execute("INSERT INTO customer VALUES (9999, 'in the WAL', NULL)")
        held.commit()
        output = Collected()
        shop.dump(output, Watcher())
    shop.restore(io.BytesIO(output.data), str(tmp_path / "new.db"), Watcher())
    assert any("in the WAL" in line for line in _content(tmp_path / "new.db"))


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_a_database_that_is_written_all_the_time_gives_a_consistent_copy(
    tmp_path: Path, mode: str
) -> None:
    """Two tables always grow in one transaction, so a torn copy would show unequal counts."""
    path = tmp_path / "busy.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
        connection.execute("CREATE TABLE a (x)")
        connection.execute("CREATE TABLE b (x)")
        connection.executemany("INSERT INTO a VALUES (?)", [("y" * 1000,)] * 5000)
        connection.execute("INSERT INTO b SELECT x FROM a")
        connection.commit()
    stop = threading.Event()
    commits = itertools.count()

    def write() -> None:
        with closing(sqlite3.connect(path, timeout=30)) as writer:
            while not stop.is_set():
                with writer:
                    writer.execute("INSERT INTO a VALUES (?)", ("z" * 1000,))
                    writer.execute("INSERT INTO b VALUES (?)", ("z" * 1000,))
                next(commits)
                time.sleep(0.001)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        while next(commits) < 5:
            time.sleep(0.01)
        output = Collected()
        Sqlite({"path": str(path)}).dump(output, Watcher())
    finally:
        stop.set()
        thread.join()
    copy = tmp_path / "copy.db"
    Sqlite({"path": str(path)}).restore(io.BytesIO(output.data), str(copy), Watcher())
    with closing(sqlite3.connect(copy)) as connection:
        (a,) = connection.execute("SELECT count(*) FROM a").fetchone()
        (b,) = connection.execute("SELECT count(*) FROM b").fetchone()
    assert a == b > 5000


def test_the_probe_tells_the_version_and_that_writers_wait(tmp_path: Path, shop: Sqlite) -> None:
    assert shop.probe().version == f"SQLite {sqlite3.sqlite_version}"
    assert shop.probe().notes == ()
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (x)")
    assert "not in WAL mode" in Sqlite({"path": str(path)}).probe().notes[0]


def test_an_empty_file_is_an_empty_database(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    source, output = Sqlite({"path": str(tmp_path / "empty.db")}), Collected()
    source.dump(output, Watcher())
    source.restore(io.BytesIO(output.data), str(tmp_path / "new.db"), Watcher())
    assert _content(tmp_path / "new.db") == _content(tmp_path / "empty.db")


def _refusal(path: Path) -> str:
    with pytest.raises(BackupError) as caught:
        Sqlite({"path": str(path)}).probe()
    return str(caught.value)


def test_wrong_paths_are_said(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear database, " * 100)
    assert "does not exist" in _refusal(tmp_path / "missing.db")
    assert "is a directory" in _refusal(tmp_path)
    assert "not a SQLite database" in _refusal(tmp_path / "letter.txt")


PROBE = """
import os
import sys
from webapp.backup.errors import BackupError
from webapp.backup.sources.sqlite import Sqlite
if os.geteuid() == 0:
    os.setuid(65534)
try:
    Sqlite({"path": sys.argv[1]}).probe()
except BackupError as error:
    print(error)
"""


def test_a_file_that_may_not_be_read_is_said() -> None:
    """Root may read everything, so root looks as somebody else."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "secret.db"
        path.write_bytes(b"")
        path.chmod(0)
        Path(folder).chmod(0o755)
        answer = subprocess.run(
            [sys.executable, "-B", "-c", PROBE, str(path)],
            capture_output=True,
            text=True,
            check=True,
            cwd=PROJECT_ROOT,
        )
    assert "permission denied" in answer.stdout


def test_a_damaged_database_is_not_dumped_as_if_it_were_good(shop: Sqlite) -> None:
    with closing(sqlite3.connect(shop.path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with shop.path.open("r+b") as file:
        file.seek(3 * 4096)
        file.write(b"\xa5" * 8192)
    with pytest.raises(BackupError, match="damaged"):
        shop.dump(Collected(), Watcher())


def _with_its_program(path: Path) -> None:
    """Make a database that only its own program knows all about, as media servers do."""
    with closing(sqlite3.connect(path)) as connection:
        connection.create_collation("icu_root", lambda a, b: (a > b) - (a < b))
        connection.create_function("title_sort", 1, lambda title: title, deterministic=True)
        connection.executescript(
            """
            CREATE TABLE album (title TEXT COLLATE icu_root);
            CREATE INDEX by_title ON album (title);
            CREATE TABLE song (title TEXT);
            CREATE INDEX by_song ON song (title_sort(title));
            CREATE TABLE "pla""in" (x UNIQUE);
            INSERT INTO album VALUES ('a'), ('b');
            INSERT INTO song VALUES ('c');
            INSERT INTO "pla""in" VALUES (1), (2), (3);
            """
        )
        connection.commit()


def test_what_only_its_program_knows_does_not_keep_a_database_from_being_dumped(
    tmp_path: Path,
) -> None:
    _with_its_program(tmp_path / "media.db")
    watcher, output = Watcher(), Collected()
    Sqlite({"path": str(tmp_path / "media.db")}).dump(output, watcher)
    warned = " ".join(words for level, words in watcher.lines if level == "warning")
    assert "album" in warned
    assert "icu_root" in warned
    assert "song" in warned
    assert "title_sort" in warned
    assert "pla" not in warned
    Sqlite({"path": "/"}).restore(io.BytesIO(output.data), str(tmp_path / "new.db"), Watcher())
    assert _content(tmp_path / "new.db") == _content(tmp_path / "media.db")


def test_damage_beside_what_only_its_program_knows_is_found(tmp_path: Path) -> None:
    path = tmp_path / "media.db"
    _with_its_program(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        roots = dict(connection.execute("SELECT name, rootpage FROM sqlite_master"))
        size = connection.execute("PRAGMA page_size").fetchone()[0]
    page = (roots['sqlite_autoindex_pla"in_1'] - 1) * size
    content = bytearray(path.read_bytes())
    content[page + size - 9 : page + size] = b"\x03\x03\x01\x01\x05\x03\x01\x01\x07"
    path.write_bytes(content)
    with pytest.raises(BackupError, match="damaged"):
        Sqlite({"path": str(path)}).dump(Collected(), Watcher())


def test_an_existing_target_is_refused_and_untouched(shop: Sqlite, tmp_path: Path) -> None:
    target = tmp_path / "there.db"
    target.write_bytes(b"precious")
    with pytest.raises(BackupError, match="exists already"):
        shop.restore(io.BytesIO(shop.path.read_bytes()), str(target), Watcher())
    assert target.read_bytes() == b"precious"


def test_a_journal_left_beside_the_target_is_refused(shop: Sqlite, tmp_path: Path) -> None:
    """SQLite would roll that journal back into the new file."""
    (tmp_path / "new.db-journal").write_bytes(b"hot")
    with pytest.raises(BackupError, match="exists already"):
        shop.restore(io.BytesIO(shop.path.read_bytes()), str(tmp_path / "new.db"), Watcher())


@pytest.mark.parametrize(
    ("target", "words"),
    [("relative.db", "full path"), ("/nowhere/at/all/new.db", "does not exist")],
)
def test_targets_that_cannot_be_made_are_said(shop: Sqlite, target: str, words: str) -> None:
    with pytest.raises(BackupError, match=words):
        shop.restore(io.BytesIO(b""), target, Watcher())


def test_a_damaged_artifact_leaves_no_file(shop: Sqlite, tmp_path: Path) -> None:
    folder = tmp_path / "restored"
    folder.mkdir()
    damaged = b"SQLite format 3\0" + b"\xff" * 9000
    with pytest.raises(BackupError):
        shop.restore(io.BytesIO(damaged), str(folder / "new.db"), Watcher())
    assert list(folder.iterdir()) == []


def test_cancelling_leaves_no_file(
    shop: Sqlite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary, folder = tmp_path / "tmp", tmp_path / "restored"
    temporary.mkdir()
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    stopper = Watcher(cancel_when=lambda watcher: True)
    with pytest.raises(CancelledError):
        shop.dump(Collected(), stopper)
    with pytest.raises(CancelledError):
        shop.restore(io.BytesIO(shop.path.read_bytes()), str(folder / "new.db"), stopper)
    assert list(temporary.iterdir()) == []
    assert list(folder.iterdir()) == []


def test_no_room_for_the_copy_is_said_before_anything_is_copied(
    shop: Sqlite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Sqlite, "total_size_hint", lambda self: 1 << 60)
    with pytest.raises(BackupError, match="no room for the temporary copy"):
        shop.dump(Collected(), Watcher())


def test_dumping_does_not_change_the_database(shop: Sqlite) -> None:
    before = hashlib.sha256(shop.path.read_bytes()).hexdigest()
    shop.dump(Collected(), Watcher())
    assert hashlib.sha256(shop.path.read_bytes()).hexdigest() == before
