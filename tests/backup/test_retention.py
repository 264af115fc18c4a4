from datetime import UTC, datetime, timedelta

import pytest

from webapp.backup import manifest
from webapp.backup.destinations.local import Local
from webapp.backup.retention import prune

START = datetime(2026, 11, 1, 3, tzinfo=UTC)


def _store(local: Local, number: int, *, stated_size: int = 3) -> str:
    key = f"shop/{number}.gz"
    with local.open_write(key) as writer:
        writer.write(b"abc")
    manifest.write(
        local,
        key,
        {
            "format": 1,
            "created_at": (START + timedelta(days=number)).isoformat(),
            "source": {"type": "sqlite"},
            "compression": "gzip",
            "size": stated_size,
            "sha256": "0" * 64,
        },
    )
    return key


def _kept(local: Local) -> list[str]:
    return [entry.key for entry in local.list()]


def test_the_newest_stay_with_their_manifests(local: Local) -> None:
    keys = [_store(local, number) for number in range(5)]
    assert prune(local, "shop/", 2) == (keys[2], keys[1], keys[0])
    assert _kept(local) == [keys[3], f"{keys[3]}.json", keys[4], f"{keys[4]}.json"]


@pytest.mark.parametrize("keep_last", [0, -1, 1])
def test_the_last_good_one_is_never_deleted(local: Local, keep_last: int) -> None:
    keys = [_store(local, number) for number in range(3)]
    prune(local, "shop/", keep_last)
    assert _kept(local) == [keys[2], f"{keys[2]}.json"]


def test_a_damaged_newest_one_does_not_push_out_a_good_one(local: Local) -> None:
    good = _store(local, 1)
    _store(local, 2, stated_size=99)
    assert prune(local, "shop/", 1) == ()
    assert good in _kept(local)


def test_files_without_a_manifest_are_left_alone(local: Local) -> None:
    keys = [_store(local, number) for number in range(2)]
    (local.root / "shop/somebody.txt").write_text("mine")
    (local.root / "shop/strange.json").write_text("{}")
    prune(local, "shop/", 1)
    assert _kept(local) == [
        keys[1],
        f"{keys[1]}.json",
        "shop/somebody.txt",
        "shop/strange.json",
    ]


def test_other_jobs_are_left_alone(local: Local) -> None:
    _store(local, 1)
    assert prune(local, "shop-2/", 1) == ()
    assert len(_kept(local)) == 2
