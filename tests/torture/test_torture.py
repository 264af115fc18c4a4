"""The short form of make torture: twenty kills."""

import pytest

from tests.torture.rounds import run

pytestmark = pytest.mark.crash


@pytest.mark.timeout(240)
def test_twenty_kills_lose_nothing_and_every_duplicate_says_that_it_is_one() -> None:
    report = run(20, seed=7)
    assert report.events > 0
    assert report.lost == 0
    assert report.strangers == 0
    assert report.integrity == "ok"
    assert sum("not reached" not in point for point in report.kills.elements()) >= 15
