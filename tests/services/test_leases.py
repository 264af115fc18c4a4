"""Rights that one process holds at a time."""

from datetime import timedelta

import pytest
from flask import Flask

from webapp.core import clock
from webapp.services import leases, processes
from webapp.services.transaction import reading, transaction

MINUTE = timedelta(minutes=1)
A, B = "elsewhere:1:1", "elsewhere:2:2"


def take(owner: str) -> bool:
    with transaction() as session:
        return leases.take(session, "scheduler", owner, MINUTE)


def test_one_holds_it_and_the_other_does_not(app: Flask) -> None:
    assert (take(A), take(B), take(A)) == (True, False, True)


def test_it_is_taken_over_when_it_ran_out(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    take(A)
    later = clock.now() + timedelta(seconds=61)
    monkeypatch.setattr(clock, "now", lambda: later)
    assert take(B)


def test_it_is_taken_over_at_once_from_a_dead_process_of_this_host(app: Flask) -> None:
    take(processes.owner().rsplit(":", 2)[0] + ":999999999:0")
    assert take(processes.owner())


def test_who_lost_it_cannot_renew_it(app: Flask) -> None:
    take(A)
    with transaction() as session:
        assert leases.renew(session, "scheduler", A, MINUTE)
        assert not leases.renew(session, "scheduler", B, MINUTE)


def test_released_it_is_free_and_tells_until_when_it_was_held(app: Flask) -> None:
    take(A)
    with transaction() as session:
        leases.release(session, "scheduler", B)
    assert not take(B)
    with transaction() as session:
        leases.release(session, "scheduler", A)
    with reading() as session:
        until = leases.held_until(session, "scheduler")
    assert until is not None
    assert until <= clock.now()
    assert take(B)
