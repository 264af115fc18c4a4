"""Manifests that somebody made who may write to a destination."""

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.services.restoring import Quiet
from webapp.backup import files, manifest
from webapp.backup.destinations.local import Local
from webapp.backup.errors import BackupError
from webapp.backup.restore import restore
from webapp.backup.sources.sqlite import Sqlite

GOOD: dict[str, Any] = {
    "format": 1,
    "created_at": "2026-03-01T02:00:00+00:00",
    "source": {"type": "sqlite"},
    "compression": "gzip",
    "size": 3,
    "sha256": "0" * 64,
    "encryption": None,
}


@pytest.fixture
def place(tmp_path: Path) -> Local:
    return Local({"path": str(tmp_path / "place")})


def put(place: Local, key: str, content: bytes) -> None:
    with place.open_write(key) as writer:
        writer.write(content)


def test_a_good_one_is_read(place: Local) -> None:
    put(place, "a.json", json.dumps(GOOD).encode())
    assert manifest.read(place, "a").values == GOOD


@pytest.mark.parametrize(
    "content",
    [
        *(
            b"",
            b"\0",
            b"\xff\xfe",
            b'{"a":' * 100_000,
            b"[]",
            b"null",
            b"5",
            b"[" * 200_000,
            b'{"a":"' + b"x" * 5_000_000 + b'"}',
        ),
        b'{"format":1,"size":' + b"9" * 6000 + b"}",
        *(
            json.dumps({name: value for name, value in GOOD.items() if name != missing}).encode()
            for missing in ("created_at", "source", "compression", "size", "sha256")
        ),
        *(
            json.dumps(GOOD | {name: value}).encode()
            for name, value in (
                *(
                    ("size", value)
                    for value in (float("inf"), float("nan"), -1, 10**30, "x", "4", [])
                ),
                *(("created_at", value) for value in ("x", "99999-01-01", "2026-03-01", None, 5)),
                *(("created_at", f"{year}-01-01T00:00:00+14:00") for year in ("0001", "9999")),
                *(("source", value) for value in ([], "x", {"type": "s" * 21}, {"type": {"a": 1}})),
                *(("sha256", value) for value in ("\0", "x" * 64, "0" * 65, 5)),
                *(
                    ("compression", "c" * 21),
                    ("compression", ["gzip"]),
                    ("encryption", [1]),
                    ("encryption", "age"),
                ),
                *(("dump_size", value) for value in ("x", float("inf"), -5, 10**30)),
            )
        ),
    ],
)
def test_a_senseless_one_is_refused_in_words(place: Local, content: bytes) -> None:
    put(place, "a.json", content)
    with pytest.raises(BackupError, match="damaged"):
        manifest.read(place, "a")


def test_characters_that_no_page_takes_are_left_out(place: Local) -> None:
    put(place, "a.json", json.dumps(GOOD | {"job": "x\ud800\0y", "\0k": ["\x1b[1m"]}).encode())
    values = manifest.read(place, "a").values
    assert (values["job"], values["k"]) == ("xy", ["[1m"])


def bomb(place: Local, size: int, **stated: Any) -> None:
    packed = gzip.compress(b"SQLite format 3\0" + bytes(size))
    facts = {"size": len(packed), "sha256": hashlib.sha256(packed).hexdigest()}
    put(place, "bomb.gz", packed)
    manifest.write(place, "bomb.gz", GOOD | facts | stated)


def test_a_dump_that_grows_beyond_its_stated_size_is_stopped(place: Local, tmp_path: Path) -> None:
    target = tmp_path / "restored.db"
    bomb(place, 60_000_000, dump_size=4096)
    with pytest.raises(BackupError, match="larger than its manifest says"):
        restore(place, "bomb.gz", source=Sqlite({"path": ""}), target=str(target), progress=Quiet())
    assert list(tmp_path.glob("*restor*")) == []


def test_a_restore_leaves_room_on_the_disk(
    place: Local, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "KEPT_FREE", 1 << 60)  # more than any disk has
    bomb(place, 5_000_000)
    with pytest.raises(BackupError, match="disk is full"):
        restore(
            place,
            "bomb.gz",
            source=Sqlite({"path": ""}),
            target=str(tmp_path / "restored.db"),
            progress=Quiet(),
        )
    assert list(tmp_path.glob("*restor*")) == []
