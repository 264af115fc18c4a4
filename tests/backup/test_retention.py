from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from webapp.backup import manifest, retention
from webapp.backup.destinations.local import Local
from webapp.backup.retention import LOCK, Rules

START = datetime(2026, 11, 1, 3, tzinfo=UTC)


def _store(local: Local, number: int, *, stated_size: int = 3, hour: int = 3) -> str:
    key = f"shop/{number}.gz"
    with local.open_write(key) as writer:
        writer.write(b"abc")
    manifest.write(
        local,
        key,
        {
            "format": 1,
            "created_at": (START + timedelta(days=number)).replace(hour=hour).isoformat(),
            "source": {"type": "sqlite"},
            "compression": "gzip",
            "size": stated_size,
            "sha256": "0" * 64,
        },
    )
    return key


def prune(local: Local, prefix: str, keep_last: int) -> tuple[str, ...]:
    return pruned(local, prefix, Rules(last=keep_last))


def pruned(local: Local, prefix: str, rules: Rules) -> tuple[str, ...]:
    planned = retention.plan(local, prefix, rules, now=START + timedelta(days=400), zone=UTC)
    doomed = retention.doomed(planned)
    for key in doomed:
        retention.delete(local, key)
    return doomed


def _kept(local: Local) -> list[str]:
    return [entry.key for entry in local.list()]


def test_the_newest_stay_with_their_manifests(local: Local) -> None:
    keys = [_store(local, number) for number in range(5)]
    assert prune(local, "shop/", 2) == (keys[2], keys[1], keys[0])
    assert _kept(local) == [keys[3], f"{keys[3]}.json", keys[4], f"{keys[4]}.json"]


@pytest.mark.parametrize("keep_last", [1, -1])
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


def test_without_a_rule_everything_stays(local: Local) -> None:
    for number in range(3):
        _store(local, number)
    assert pruned(local, "shop/", Rules()) == ()


def test_a_locked_one_is_never_deleted(local: Local) -> None:
    keys = [_store(local, number) for number in range(3)]
    with local.open_write(keys[0] + LOCK):
        pass
    assert pruned(local, "shop/", Rules(last=1)) == (keys[1],)


def test_days_keep_what_is_younger(local: Local) -> None:
    keys = [_store(local, number) for number in (390, 398, 399)]
    assert pruned(local, "shop/", Rules(days=5)) == (keys[0],)


def test_when_everything_is_too_old_the_newest_stays(local: Local) -> None:
    keys = [_store(local, number) for number in range(3)]
    assert pruned(local, "shop/", Rules(days=5)) == (keys[1], keys[0])


def test_grandfather_father_son_keeps_the_newest_of_each_period(local: Local) -> None:
    keys = [_store(local, number) for number in range(400)]
    rules = Rules(daily=7, weekly=4, monthly=12, yearly=2)
    left = set(keys) - set(pruned(local, "shop/", rules))
    days = sorted(int(key.removeprefix("shop/").removesuffix(".gz")) for key in left)
    assert days[-7:] == list(range(393, 400))  # the last seven days
    months = {(START + timedelta(days=day)).strftime("%Y-%m") for day in days}
    assert months == {"2026-12", *(f"2027-{month:02}" for month in range(1, 13))}
    assert {(START + timedelta(days=day)).year for day in days} == {2026, 2027}
    assert len(days) <= 7 + 4 + 12 + 2


def test_days_are_those_of_the_zone(local: Local) -> None:
    late = _store(local, 1, hour=23)
    early = _store(local, 2, hour=1)
    now, zone = START + timedelta(days=9), ZoneInfo("Europe/Berlin")  # there both are on one day
    planned = retention.plan(local, "shop/", Rules(daily=5), now=now, zone=zone)
    assert retention.doomed(planned) == (late,)
    planned = retention.plan(local, "shop/", Rules(daily=5), now=now, zone=UTC)
    assert retention.doomed(planned) == ()
    assert early not in retention.doomed(planned)


def test_one_that_is_dated_in_the_future_pushes_nothing_out(local: Local) -> None:
    """It was made while the clock was wrong; what comes after it is newer in truth."""
    ahead, older, newest = _store(local, 9000), _store(local, 1), _store(local, 2)
    assert pruned(local, "shop/", Rules(last=1)) == (older,)
    assert {ahead, newest} <= set(_kept(local))
