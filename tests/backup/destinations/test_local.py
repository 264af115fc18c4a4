import contextlib
import fcntl
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services_needed import require
from webapp.backup.destinations.local import Local
from webapp.backup.errors import BackupError


def test_a_file_appears_under_its_name_only_when_it_is_whole(local: Local) -> None:
    with local.open_write("shop/a.dump") as writer:
        writer.write(b"one")
        assert local.list() == ()
        writer.write(b"two")
    assert [(entry.key, entry.size) for entry in local.list()] == [("shop/a.dump", 6)]
    with local.open_read("shop/a.dump") as reader:
        assert reader.read() == b"onetwo"


def test_nothing_stays_when_writing_stops_halfway(local: Local) -> None:
    with pytest.raises(KeyError):
        _write(local, "shop/a.dump", stop_with=KeyError("stop"))
    assert [path for path in local.root.rglob("*") if path.is_file()] == []


def test_only_the_owner_may_read_a_backup(local: Local) -> None:
    with local.open_write("shop/a.dump") as writer:
        writer.write(b"x")
    assert (local.root / "shop/a.dump").stat().st_mode & 0o777 == 0o600
    assert (local.root / "shop").stat().st_mode & 0o777 == 0o700


def test_nothing_is_overwritten(local: Local) -> None:
    with local.open_write("a.dump") as writer:
        writer.write(b"first")
    with pytest.raises(BackupError, match="there already"), local.open_write("a.dump"):
        pytest.fail("it was opened")
    with local.open_read("a.dump") as reader:
        assert reader.read() == b"first"


@pytest.mark.parametrize(
    "key", ["../a", "a/../b", "/etc/a", "a//b", "", ".hidden", "a/.b", "a\nb", "a\0b"]
)
def test_keys_cannot_lead_out_of_the_directory(local: Local, key: str) -> None:
    with pytest.raises(BackupError, match="cannot be the name"), local.open_write(key):
        pytest.fail("it was opened")


def test_listing_knows_prefixes_and_skips_half_files(local: Local) -> None:
    for key in ("b/2", "b/1", "c/1"):
        with local.open_write(key) as writer:
            writer.write(b"x")
    (local.root / "b/.3.abc.half").write_bytes(b"half")
    assert [entry.key for entry in local.list("b/")] == ["b/1", "b/2"]


def test_a_directory_that_was_never_used_is_empty(local: Local) -> None:
    assert local.list() == ()


def test_deleting_twice_is_fine(local: Local) -> None:
    with local.open_write("a") as writer:
        writer.write(b"x")
    local.delete("a")
    local.delete("a")
    assert local.list() == ()


def test_the_probe_leaves_nothing_and_tells_the_free_space(local: Local) -> None:
    assert "free" in local.probe()
    assert list(local.root.iterdir()) == []


def test_sweeping_removes_what_killed_processes_left_and_nothing_in_use(local: Local) -> None:
    local.root.mkdir()
    left, used, fresh = (local.root / f".{name}.1.half" for name in ("left", "used", "fresh"))
    long_ago = time.time() - 3600
    for path in (left, used, fresh):
        path.write_bytes(b"half")
    for path in (left, used):
        os.utime(path, (long_ago, long_ago))
    with used.open("rb") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        assert local.sweep() == 1
    assert not left.exists()
    assert used.exists()
    assert fresh.exists()


def test_a_path_that_is_a_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(BackupError, match=r"Cannot write to .*not a directory|exist"):
        Local({"path": str(tmp_path / "file")}).probe()


def test_reading_what_is_not_there_is_said(local: Local) -> None:
    with (
        pytest.raises(BackupError, match="does not exist"),
        local.open_read("gone.dump"),
    ):
        pytest.fail("it was opened")


def _write(local: Local, key: str, *, chunks: int = 1, stop_with: Exception | None = None) -> None:
    with local.open_write(key) as writer:
        for _ in range(chunks):
            writer.write(b"x" * 100_000)
        if stop_with:
            raise stop_with


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    require("mount", os.geteuid() == 0, "only root may mount a small file system")
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    require("mount", mounted.returncode == 0, f"tmpfs cannot be mounted: {mounted.stderr}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_said_and_nothing_half_stays(small_disk: Path) -> None:
    local = Local({"path": str(small_disk)})
    with pytest.raises(BackupError, match="The disk is full"):
        _write(local, "big.dump", chunks=40)
    assert list(small_disk.iterdir()) == []


def test_a_read_only_file_system_is_said(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(BackupError, match="read-only"):
        Local({"path": str(small_disk)}).probe()


def test_strange_files_of_others_do_not_hide_the_backups(local: Local) -> None:
    with local.open_write("shop/1.gz") as writer:
        writer.write(b"abc")
    folder = local.root / "shop"
    (folder / "loop").symlink_to("loop")
    (folder / "new\nline").write_text("x")
    (local.root / ".trash").mkdir()
    (local.root / ".trash" / "old.gz").write_text("x")
    with open(os.fsencode(folder) + b"/\xff\xfe.gz", "wb"):
        pass
    os.mkfifo(folder / "pipe")
    assert [entry.key for entry in local.list()] == ["shop/1.gz"]


def _linked(local: Local) -> Path:
    """Let a file and a directory at the destination lead out of it; return where to."""
    outside = local.root.parent / "outside"
    for folder in (outside, local.root / "shop"):
        folder.mkdir(parents=True)
    (outside / "key.gz").write_text("the server's own")
    (local.root / "shop" / "1.gz").symlink_to(outside / "key.gz")
    (local.root / "away").symlink_to(outside)
    return outside


@pytest.mark.parametrize("key", ["shop/1.gz", "away/key.gz"])
def test_links_do_not_lead_out_of_the_directory(local: Local, key: str) -> None:
    outside = _linked(local)
    assert local.list() == ()
    with pytest.raises(BackupError), local.open_read(key):
        pass
    with contextlib.suppress(BackupError):
        local.delete(key)
    assert (outside / "key.gz").read_text() == "the server's own"


def test_nothing_is_written_where_a_link_leads(local: Local) -> None:
    outside = _linked(local)
    with pytest.raises(BackupError, match="leads out of"), local.open_write("away/2.gz"):
        pass
    assert [path.name for path in outside.iterdir()] == ["key.gz"]


@pytest.mark.timeout(10)  # without an end, otherwise
def test_a_pipe_is_not_waited_for(local: Local) -> None:
    local.root.mkdir(exist_ok=True)
    os.mkfifo(local.root / "1.gz.json")
    with pytest.raises(BackupError, match="no ordinary file"), local.open_read("1.gz.json"):
        pass
