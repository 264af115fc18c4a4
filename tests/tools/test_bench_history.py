"""A long history costs what a short one costs."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask

from tests.conftest import make_settings
from tools.bench import history
from webapp.app import create_app
from webapp.models import db
from webapp.services import delivery_log
from webapp.services.delivery_log import Filters

RATIO = 1.5
NOISE = 0.4  # ms; what a question of half a millisecond may differ by on a busy machine
TURNS = 60


def filled(path: Path, old: int) -> Flask:
    path.mkdir()
    app = create_app(make_settings(path))
    with app.app_context():
        db.create_all()
        history.fill(old)
        assert delivery_log.page(Filters()).count == delivery_log.COUNT_LIMIT + 1
    return app


def took(app: Flask, ask: Callable[[], object]) -> float:
    with app.app_context():
        began = time.perf_counter()
        ask()
        return (time.perf_counter() - began) * 1000


def compared(short: Flask, long: Flask) -> dict[str, tuple[float, float]]:
    """Ask both in turns, so that a busy neighbour meets both; return the lower quartiles."""
    asked = []
    for app in (short, long):
        with app.app_context():
            asked.append(history.questions())
    found = {}
    for name in asked[0]:
        times = [(took(short, asked[0][name]), took(long, asked[1][name])) for _ in range(TURNS)]
        quick, slow = (sorted(column)[TURNS // 4] for column in zip(*times, strict=True))
        found[name] = (round(quick, 2), round(slow, 2))
    return found


@pytest.mark.timeout(300)
def test_claim_list_and_overview_do_not_feel_300000_old_deliveries(tmp_path: Path) -> None:
    apps = filled(tmp_path / "short", 1000), filled(tmp_path / "long", 300_000)
    found = compared(*apps)
    slower = {name: pair for name, pair in found.items() if pair[1] > RATIO * pair[0] + NOISE}
    assert slower == {}
    for app in apps:
        with app.app_context():
            db.session.remove()
            db.engine.dispose()
