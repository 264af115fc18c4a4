import gzip
import hashlib
import json
import random
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.backup.watchers import Watcher, manifest_facts
from webapp.backup.destinations.local import Local
from webapp.backup.engine import Place, Stored, back_up
from webapp.backup.errors import BackupError, CancelledError
from webapp.backup.progress import Progress
from webapp.backup.restore import restore
from webapp.backup.sources.base import Probe, Reader, Source, Writer
from webapp.backup.sources.sqlite import Sqlite
from webapp.core.settings import PROJECT_ROOT

KEY = "shop-1a2b3c/2026-11-23T03-00-00Z.sqlite.gz"


class Dripping(Source):
    """A source that writes megabytes of noise, and fails after `fails_after` of them."""

    type = "sqlite"

    @classmethod
    def summarize(cls, config: Any) -> str:
        return "noise"

    def probe(self) -> Probe:
        return Probe(version="Noise 1")

    def total_size_hint(self) -> int | None:
        return int(self.config["chunks"]) * 1_000_000

    def dump(self, output: Writer, progress: Progress) -> None:
        for number in range(self.config["chunks"]):
            if number == self.config.get("fails_after"):
                raise BackupError("The database went away.")
            output.write(random.Random(number).randbytes(1_000_000))

    def check_target(self, target: str) -> None:
        raise NotImplementedError

    def restore(self, input: Reader, target: str, progress: Progress) -> None:
        raise NotImplementedError


class Rotten(Local):
    """A directory on a disk that changes a byte of what it stores."""

    @contextmanager
    def open_write(self, key: str) -> Iterator[Writer]:
        with super().open_write(key) as writer:
            yield writer
        path = self.root / key
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)


class Full(Local):
    """A directory that takes one chunk and then is full."""

    @contextmanager
    def open_write(self, key: str) -> Iterator[Writer]:
        with super().open_write(key) as writer:
            yield _FullWriter(writer)


class _FullWriter:
    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def write(self, data: bytes, /) -> int:
        with open("/dev/full", "wb", buffering=0) as full:
            self._writer.write(data[:10])
            try:
                return full.write(data)
            except OSError as error:
                raise BackupError(f"Cannot write: {error.strerror}") from error


def _places(*destinations: Local) -> list[Place]:
    return [Place(i, f"place {i}", each) for i, each in enumerate(destinations, start=1)]


def _run(source: Source, *destinations: Local, watcher: Watcher | None = None) -> Stored:
    return back_up(
        source,
        _places(*destinations),
        key=KEY,
        compression="gzip",
        facts=manifest_facts(),
        progress=watcher or Watcher(),
    )


def _files(*locals_: Local) -> list[Path]:
    return [path for each in locals_ for path in each.root.rglob("*") if path.is_file()]


def test_a_backup_is_stored_with_its_manifest_at_every_place(tmp_path: Path, shop: Sqlite) -> None:
    places = [Local({"path": str(tmp_path / name)}) for name in ("one", "two")]
    watcher = Watcher()
    stored = _run(shop, *places, watcher=watcher)
    content = (tmp_path / "one" / KEY).read_bytes()
    manifest = json.loads((tmp_path / "two" / f"{KEY}.json").read_text())
    assert watcher.steps == ["Connect", "Dump", "Store", "Verify"]
    assert (tmp_path / "two" / KEY).read_bytes() == content
    assert stored.sha256 == manifest["sha256"] == hashlib.sha256(content).hexdigest()
    assert stored.size == manifest["size"] == len(content)
    assert manifest["dump_size"] == len(gzip.decompress(content))
    assert (manifest["job"], manifest["run_id"]) == ("Nightly", 7)
    assert manifest == stored.manifest
    assert [place.stored for place in stored.places] == [True, True]


def test_the_standard_tools_open_an_artifact(tmp_path: Path, shop: Sqlite, local: Local) -> None:
    _run(shop, local)
    plain = subprocess.run(
        ["gzip", "-dc", str(local.root / KEY)], capture_output=True, check=True
    ).stdout
    (tmp_path / "by-hand.db").write_bytes(plain)
    with closing(sqlite3.connect(tmp_path / "by-hand.db")) as connection:
        assert connection.execute("SELECT count(*) FROM purchase").fetchone() == (2000,)


@pytest.mark.parametrize("compression", ["zstd", "gzip", "none"])
def test_a_restore_gives_the_same_database(
    tmp_path: Path, shop: Sqlite, local: Local, compression: str
) -> None:
    place = _places(local)
    back_up(shop, place, key=KEY, compression=compression, facts={}, progress=Watcher())
    watcher, target = Watcher(), tmp_path / "restored.db"
    restore(local, KEY, source=shop, target=str(target), progress=watcher)
    assert watcher.steps == ["Fetch", "Verify", "Load"]
    with closing(sqlite3.connect(shop.path)) as old, closing(sqlite3.connect(target)) as new:
        assert list(new.iterdump()) == list(old.iterdump())


def test_one_failing_place_does_not_stop_the_others(tmp_path: Path) -> None:
    good, full = (kind({"path": str(tmp_path / kind.__name__)}) for kind in (Local, Full))
    stored = _run(Dripping({"chunks": 3}), full, good)
    assert [(place.stored, place.id) for place in stored.places] == [(False, 1), (True, 2)]
    assert "No space left" in stored.places[0].detail
    assert _files(full) == []
    assert len(_files(good)) == 2


def test_a_place_that_cannot_be_opened_does_not_stop_the_others(
    tmp_path: Path, local: Local
) -> None:
    (tmp_path / "file").write_text("x")
    stored = _run(Dripping({"chunks": 1}), Local({"path": str(tmp_path / "file")}), local)
    assert [place.stored for place in stored.places] == [False, True]


class Closed(Local):
    """A place whose leftovers may not be listed."""

    def sweep(self) -> int:
        raise BackupError("It does not let this key list uploads.")


def test_leftovers_that_may_not_be_listed_fail_no_backup(tmp_path: Path, shop: Sqlite) -> None:
    closed = Closed({"path": str(tmp_path / "closed")})
    stored = back_up(
        shop,
        [Place(1, "Closed", closed)],
        key=KEY,
        compression="gzip",
        facts={},
        progress=Watcher(),
    )
    assert [place.stored for place in stored.places] == [True]


def test_when_no_place_takes_it_the_dump_stops_early(tmp_path: Path) -> None:
    full, watcher = Full({"path": str(tmp_path / "full")}), Watcher()
    with pytest.raises(BackupError, match="place 1: Cannot write") as caught:
        _run(Dripping({"chunks": 50}), full, watcher=watcher)
    assert caught.value.step == "Store"
    assert watcher.done < 5_000_000
    assert _files(full) == []


def test_what_reads_back_differently_is_deleted_and_reported(tmp_path: Path) -> None:
    rotten, good = (kind({"path": str(tmp_path / kind.__name__)}) for kind in (Rotten, Local))
    stored = _run(Dripping({"chunks": 1}), rotten, good)
    assert [place.stored for place in stored.places] == [False, True]
    assert "differs" in stored.places[0].detail
    assert _files(rotten) == []


def test_a_failing_dump_leaves_nothing(local: Local) -> None:
    with pytest.raises(BackupError, match="went away") as caught:
        _run(Dripping({"chunks": 5, "fails_after": 2}), local)
    assert caught.value.step == "Dump"
    assert _files(local) == []


def test_a_source_that_is_not_there_fails_at_connect(tmp_path: Path, local: Local) -> None:
    with pytest.raises(BackupError, match="does not exist") as caught:
        _run(Sqlite({"path": str(tmp_path / "missing.db")}), local)
    assert caught.value.step == "Connect"


@pytest.mark.parametrize("when", ["Dump", "Store", "Verify"])
def test_cancelling_leaves_nothing(tmp_path: Path, when: str) -> None:
    places = [Local({"path": str(tmp_path / name)}) for name in ("one", "two")]
    stop = Watcher(cancel_when=lambda seen: when in seen.steps and seen.done > 0)
    with pytest.raises(CancelledError):
        _run(Dripping({"chunks": 3}), *places, watcher=stop)
    assert _files(*places) == []


def test_cancelling_while_the_second_place_is_verified_leaves_nothing_at_the_first(
    tmp_path: Path,
) -> None:
    places = [Local({"path": str(tmp_path / name)}) for name in ("one", "two")]
    first = tmp_path / "one" / f"{KEY}.json"
    stop = Watcher(cancel_when=lambda seen: first.exists())
    with pytest.raises(CancelledError):
        _run(Dripping({"chunks": 3}), *places, watcher=stop)
    assert _files(*places) == []


def test_an_existing_key_is_not_overwritten_and_not_deleted(local: Local, shop: Sqlite) -> None:
    first = _run(shop, local)
    with pytest.raises(BackupError, match="there already"):
        _run(shop, local)
    assert local.size(KEY) == first.size
    assert local.size(f"{KEY}.json") > 0


def _restore_error(local: Local, source: Source, target: Path) -> BackupError:
    with pytest.raises(BackupError) as caught:
        restore(local, KEY, source=source, target=str(target), progress=Watcher())
    assert not target.exists()
    return caught.value


def test_a_changed_artifact_is_never_loaded(tmp_path: Path, local: Local, shop: Sqlite) -> None:
    _run(shop, local)
    content = bytearray((local.root / KEY).read_bytes())
    content[100] ^= 1
    (local.root / KEY).write_bytes(content)
    error = _restore_error(local, shop, tmp_path / "new.db")
    assert error.step == "Verify"
    assert "checksum" in str(error)


def test_a_shortened_artifact_is_never_loaded(tmp_path: Path, local: Local, shop: Sqlite) -> None:
    _run(shop, local)
    (local.root / KEY).write_bytes((local.root / KEY).read_bytes()[:-1])
    assert "manifest says" in str(_restore_error(local, shop, tmp_path / "new.db"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "does not exist"),
        ("not json", "manifest of"),
        ("[]", "manifest of"),
        ('{"format": 1}', "manifest of"),
    ],
)
def test_without_a_usable_manifest_nothing_is_loaded(
    tmp_path: Path, local: Local, shop: Sqlite, content: str | None, words: str
) -> None:
    _run(shop, local)
    path = local.root / f"{KEY}.json"
    path.unlink() if content is None else path.write_text(content)
    error = _restore_error(local, shop, tmp_path / "new.db")
    assert error.step == "Fetch"
    assert words in str(error)


def test_a_backup_of_another_kind_of_database_is_refused(
    tmp_path: Path, local: Local, shop: Sqlite
) -> None:
    _run(shop, local)
    path = local.root / f"{KEY}.json"
    path.write_text(path.read_text().replace('"sqlite"', '"postgresql"'))
    assert "backup of postgresql" in str(_restore_error(local, shop, tmp_path / "new.db"))


MEASURE = """
import resource, sqlite3, sys
from contextlib import closing

import pyrage

from tests.backup.watchers import Watcher
from webapp.backup.destinations.local import Local
from webapp.backup.encryption import Encryption
from webapp.backup.engine import Place, back_up
from webapp.backup.restore import restore
from webapp.backup.sources.sqlite import Sqlite

folder = sys.argv[1]
source, local = Sqlite({"path": folder + "/big.db"}), Local({"path": folder + "/kept"})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
key = pyrage.x25519.Identity.generate()
stored = back_up(source, [Place(1, "x", local)], key="big", compression=sys.argv[2], facts={},
                 progress=Watcher(), encryption=Encryption("recipients", (str(key.to_public()),)))
restore(local, "big", source=source, target=folder + "/new.db", progress=Watcher(),
        unlock=str(key))
print(stored.size, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("compression", ["zstd", "gzip", "none"])
def test_memory_stays_flat_for_an_encrypted_database_of_150_megabytes(
    tmp_path: Path, compression: str
) -> None:
    with closing(sqlite3.connect(tmp_path / "big.db")) as connection:
        connection.execute("CREATE TABLE t (x BLOB)")
        rows = ((random.Random(i).randbytes(1_000_000),) for i in range(150))
        connection.executemany("INSERT INTO t VALUES (?)", rows)
        connection.commit()
    answer = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path), compression],
        capture_output=True,
        text=True,
        check=True,
        cwd=PROJECT_ROOT,
    )
    size, grown_kilobytes = map(int, answer.stdout.split())
    assert size > 150_000_000
    assert grown_kilobytes < 50_000
