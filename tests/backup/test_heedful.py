"""A run is stopped within moments whatever its destination does, and nothing of it stays there."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.backup.watchers import Watcher
from webapp.backup.destinations.local import Local
from webapp.backup.engine import Place, back_up
from webapp.backup.errors import CancelledError
from webapp.backup.restore import restore
from webapp.backup.sources.base import Probe, Reader, Writer
from webapp.backup.sources.sqlite import Sqlite

KEY = "shop/1.sqlite"


class Hanging(Local):
    """A directory on a network drive that hangs at one point until it is told to go on."""

    hangs_at = ""

    def __init__(self, path: Path) -> None:
        super().__init__({"path": str(path)})
        self.goes_on, self.hangs = threading.Event(), threading.Event()

    def at(self, point: str) -> None:
        if point == self.hangs_at:
            self.hangs.set()
            assert self.goes_on.wait(60)

    @contextmanager
    def open_write(self, key: str) -> Iterator[Writer]:
        self.at("open")
        with super().open_write(key) as writer:
            yield _Writer(self, writer)
            self.at("commit")

    @contextmanager
    def open_read(self, key: str) -> Iterator[Reader]:
        self.at("read")
        with super().open_read(key) as reader:
            yield reader


class _Writer:
    def __init__(self, place: Hanging, inner: Writer) -> None:
        self._place, self._inner = place, inner

    def write(self, data: bytes, /) -> int:
        self._place.at("write")
        return self._inner.write(data)


def left(path: Path) -> list[Path]:
    return [each for each in path.rglob("*") if each.is_file()]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("point", ["open", "write", "commit", "read"])
def test_a_backup_is_stopped_while_its_destination_hangs(
    shop: Sqlite, tmp_path: Path, point: str
) -> None:
    place = Hanging(tmp_path / "drive")
    place.hangs_at = point
    began = [0.0]

    def asked(_watcher: Watcher) -> bool:
        if place.hangs.is_set() and not began[0]:
            began[0] = time.monotonic()
        return place.hangs.is_set()

    with pytest.raises(CancelledError):
        back_up(
            shop,
            [Place(1, "drive", place)],
            key=KEY,
            compression="none",
            facts={},
            progress=Watcher(cancel_when=asked),
        )
    assert time.monotonic() - began[0] < 12

    place.goes_on.set()
    deadline = time.monotonic() + 10
    while left(tmp_path / "drive") and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    assert left(tmp_path / "drive") == []


@pytest.mark.timeout(60)
def test_a_restore_is_stopped_while_its_destination_hangs(shop: Sqlite, tmp_path: Path) -> None:
    place = Hanging(tmp_path / "drive")
    back_up(
        shop,
        [Place(1, "drive", place)],
        key=KEY,
        compression="none",
        facts={},
        progress=Watcher(),
    )
    place.hangs_at = "read"
    watcher = Watcher(cancel_when=lambda _watcher: place.hangs.is_set())
    began = time.monotonic()
    with pytest.raises(CancelledError):
        restore(place, KEY, source=shop, target=str(tmp_path / "new.db"), progress=watcher)
    assert time.monotonic() - began < 12
    assert not (tmp_path / "new.db").exists()
    place.goes_on.set()


class Silent(Sqlite):
    """A database on a server that takes connections and then says nothing."""

    def __init__(self, config: dict[str, str]) -> None:
        super().__init__(config)
        self.goes_on, self.hangs = threading.Event(), threading.Event()

    def probe(self) -> Probe:
        self.hangs.set()
        assert self.goes_on.wait(60)
        return super().probe()


@pytest.mark.timeout(60)
def test_a_backup_is_stopped_while_its_server_says_nothing(shop: Sqlite, local: Local) -> None:
    source = Silent({"path": str(shop.path)})
    began = time.monotonic()
    with pytest.raises(CancelledError):
        back_up(
            source,
            [Place(1, "here", local)],
            key=KEY,
            compression="none",
            facts={},
            progress=Watcher(cancel_when=lambda _watcher: source.hangs.is_set()),
        )
    assert time.monotonic() - began < 10
    source.goes_on.set()
