"""Buckets and channels' health under two processes on PostgreSQL."""

import threading
from collections.abc import Callable

import pytest
from flask import Flask

from tests.factories import make_channel
from webapp.services import channel_health, rates
from webapp.services.channel_health import Sign
from webapp.services.transaction import bare_transaction, transaction

pytestmark = pytest.mark.postgres

BURST = 20  # of a generic webhook
LIMITED = {"url": "https://hooks.example.org/backup", "method": "POST"}


def at_once(app: Flask, *acts: Callable[[], None]) -> None:
    """Run each in a thread and a transaction of its own; every one of them must come through."""
    done: list[bool] = []

    def run(act: Callable[[], None]) -> None:
        with app.app_context():
            act()
            done.append(True)

    threads = [threading.Thread(target=run, args=[act]) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(done) == len(acts)


def test_two_that_meet_a_target_at_once_share_its_first_burst(postgres_app: Flask) -> None:
    row = make_channel(config=LIMITED)
    both = threading.Barrier(2)
    granted: list[int] = []

    def take() -> None:
        with bare_transaction() as connection:
            both.wait(5)
            granted.append(rates.admit(connection, [(row, 100)])[row.id].granted)

    at_once(postgres_app, take, take)
    assert len(granted) == 2
    assert sum(granted) in {BURST, BURST + 1}  # one more when half a second went by


def test_two_that_note_the_same_channels_do_not_wait_for_each_other(
    postgres_app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = make_channel(), make_channel()
    entered = threading.Barrier(2)
    simply = channel_health._simply_delivered

    def slowly(*args: object) -> list[int]:
        found: list[int] = simply(*args)  # type: ignore[arg-type]  # passed on as they came
        threading.Event().wait(0.5)  # long enough for the other to hold its own first row
        return found

    monkeypatch.setattr(channel_health, "_simply_delivered", slowly)

    def note(delivered: int, failed: int) -> None:
        entered.wait(5)
        with transaction() as session:
            channel_health.note(
                session,
                [
                    Sign(channel_id=delivered, is_test=False),
                    Sign(channel_id=failed, is_test=False, error="503"),
                ],
            )

    at_once(
        postgres_app,
        lambda: note(first.id, second.id),
        lambda: note(second.id, first.id),
    )
