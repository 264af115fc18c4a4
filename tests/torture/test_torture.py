"""The short form of make torture: twenty kills, each point once; and what only upgrades pass."""

import os
import signal
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import make_postgres
from tests.torture.__main__ import table
from tests.torture.ledger import look
from tests.torture.points import POINTS
from tests.torture.rounds import REACH_WITHIN, Life, run
from tests.torture.victim import READY, Fate
from webapp.services import schema

pytestmark = pytest.mark.crash


@pytest.mark.timeout(300)
def test_twenty_kills_lose_nothing_and_every_duplicate_says_that_it_is_one() -> None:
    report = run(20, seed=7)
    print(table(report))
    assert report.problems == []
    assert report.kills >= 20
    reached = {name.partition(":")[0] for name, tally in report.tallies.items() if tally.killed}
    assert reached >= POINTS.keys(), "every point once"
    assert report.looks == report.integrity >= 40 - report.upgrades
    assert (report.lost, report.strangers, report.beyond) == (0, 0, 0)
    assert report.worst <= report.bound
    assert report.events > 50


@pytest.mark.postgres
@pytest.mark.timeout(120)
def test_an_upgrade_of_postgresql_that_is_killed_is_done_by_the_next_start() -> None:
    with make_postgres() as url:
        report = run(6, seed=7, database=url, only=("statement", "migrate", "migrated"))
    print(table(report))
    assert report.problems == []
    assert (report.kills, report.upgrades) == (6, 6)
    assert report.deliveries >= 150


@pytest.mark.parametrize("point", ["statement:before", "migrated:before", "migrated:after"])
def test_a_first_start_that_is_killed_is_finished_by_the_next(tmp_path: Path, point: str) -> None:
    environ = os.environ | {"DBACKUP_INSTANCE_PATH": str(tmp_path), "TORTURE_PUBLISH": "0"}
    passes = 30 if point == "statement:before" else 1
    killed = Fate(life=1, point=point, passes=passes, environ=environ, errors=tmp_path / "1.err")
    with closing(Life(killed)) as first:
        assert first.ends_within(REACH_WITHIN)
        assert first.process.exitcode == -signal.SIGKILL
    spared = replace(killed, life=2, point="none", errors=tmp_path / "2.err")
    with closing(Life(spared)) as second:
        assert second.says(READY, REACH_WITHIN), (tmp_path / "2.err").read_text()
        found, whole = look(f"sqlite:///{tmp_path / 'dbackup.db'}")
    assert (found.revision, whole) == (schema.known()[-1], "ok")
    assert found.guarded, "the audit log cannot be changed"
