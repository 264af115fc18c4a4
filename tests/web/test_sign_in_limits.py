"""Guessing is slow, and its answers give nothing away."""

import statistics
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import func, select

from tests.browser import PASSWORD, Browser
from tests.factories import make_user
from webapp.core import clock
from webapp.core.errors import InvalidError, TooManyError
from webapp.models.security import Throttle
from webapp.models.user import Role
from webapp.services import signing_in, throttle
from webapp.services.sessions import Visitor
from webapp.services.transaction import reading, transaction

HERE = Visitor(ip_address="192.0.2.1", browser="Firefox")
WRONG = "wrong password here"
TRIES = 30  # per address in five minutes


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    start = datetime(2026, 11, 17, 9, 0, tzinfo=UTC)

    def set_clock(passed: timedelta) -> None:
        monkeypatch.setattr(clock, "now", lambda: start + passed)

    set_clock(timedelta(0))
    return set_clock


def guess(browser: Browser, email: str, password: str = WRONG, address: str = "192.0.2.1") -> int:
    browser._open(
        "/login",
        method="POST",
        data={"csrf_token": browser.token(), "email": email, "password": password},
        environ_base={"REMOTE_ADDR": address},
    )
    return browser.last.status_code


# per account ------------------------------------------------------------------------------------


@pytest.mark.parametrize("email", ["else@example.org", "nobody@example.org"])
def test_the_sixth_guess_waits_whether_the_account_exists_or_not(
    browser: Browser, email: str
) -> None:
    for number in range(5):
        assert guess(browser, email, address=f"192.0.2.{number}") == 422
    page = browser.post("/login", {"email": email, "password": WRONG}, 429)
    assert "Too many wrong attempts. Wait 30 seconds, then try again." in page.text
    assert 25 < int(browser.last.headers["Retry-After"]) <= 31


def test_the_right_password_has_to_wait_too_and_then_works(
    browser: Browser, at: Callable[[timedelta], None]
) -> None:
    for _ in range(5):
        guess(browser, "else@example.org")
    assert guess(browser, "else@example.org", PASSWORD) == 429
    at(timedelta(seconds=31))
    browser.sign_in("else@example.org")
    assert browser.last.location == "/"


def test_guesses_from_elsewhere_do_not_keep_the_owner_out(browser: Browser) -> None:
    browser.sign_in("else@example.org")
    browser.post("/logout")
    elsewhere = Browser(browser.app)
    for number in range(5):
        assert guess(elsewhere, "else@example.org", address=f"192.0.2.{number}") == 422
    assert guess(elsewhere, "else@example.org", PASSWORD) == 429
    assert guess(Browser(browser.app), "else@example.org", PASSWORD) == 429
    browser.sign_in("else@example.org")
    assert browser.last.location == "/"


def test_a_browser_that_is_known_waits_for_its_own_guesses(browser: Browser) -> None:
    make_user(email="vera@example.org")
    browser.sign_in("else@example.org")
    browser.post("/logout")
    for number in range(5):
        assert guess(browser, "else@example.org", address=f"192.0.2.{number}") == 422
    assert guess(browser, "else@example.org", PASSWORD) == 429
    assert guess(Browser(browser.app), "else@example.org", PASSWORD) == 303
    for number in range(5):  # it is known for one account only
        assert guess(browser, "vera@example.org", address=f"192.0.2.{number}") == 422
    assert guess(Browser(browser.app), "vera@example.org", PASSWORD) == 429


@pytest.mark.parametrize("forged", ["", "x", "WzEsIngiXQ.aR0.AAAAAAAAAAAAAAAAAA", "\u00e9"])
def test_a_forged_browser_is_not_known(browser: Browser, forged: str) -> None:
    stranger = Browser(browser.app)
    stranger.client.set_cookie("dbackup_device", forged)
    for number in range(5):
        assert guess(stranger, "else@example.org", address=f"192.0.2.{number}") == 422
    assert guess(browser, "else@example.org", PASSWORD) == 429


def test_guesses_at_the_same_time_are_no_more_than_one_after_the_other(app: Flask) -> None:
    make_user(email="known@example.org", role=Role.ADMIN)
    ready = threading.Barrier(12)
    answers: list[str] = []

    def attack() -> None:
        with app.app_context():
            ready.wait()
            try:
                signing_in.check("known@example.org", WRONG, HERE)
            except (InvalidError, TooManyError) as error:
                answers.append(type(error).__name__)

    threads = [threading.Thread(target=attack) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(answers) == ["InvalidError"] * 5 + ["TooManyError"] * 7


@pytest.mark.postgres
def test_right_passwords_at_the_same_time_are_no_error(postgres_app: Flask) -> None:
    ready, ended = threading.Barrier(4), []

    def sign_in_again_and_again() -> None:
        with postgres_app.app_context():
            ready.wait()
            for _ in range(60):
                with transaction() as session:
                    throttle.attempt(session, "password:1")
                with transaction() as session:
                    throttle.passed(session, "password:1")
        ended.append(1)

    threads = [threading.Thread(target=sign_in_again_and_again) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(ended) == 4


def test_another_account_does_not_wait(browser: Browser) -> None:
    make_user(email="vera@example.org")
    for _ in range(6):
        guess(browser, "else@example.org")
    browser.sign_in("vera@example.org")


def test_a_right_password_forgets_the_wrong_ones(browser: Browser) -> None:
    for _ in range(4):
        guess(browser, "else@example.org")
    Browser(browser.app).sign_in("else@example.org")
    for _ in range(4):
        assert guess(browser, "else@example.org") == 422


def test_waits_double_and_end_at_a_quarter_of_an_hour() -> None:
    waits = [throttle.wait(failures).total_seconds() for failures in (5, 6, 7, 8, 9, 10, 500)]
    assert waits == [30, 60, 120, 240, 480, 900, 900]


def test_old_guesses_are_forgotten(app: Flask, at: Callable[[timedelta], None]) -> None:
    with transaction() as session:
        for number in range(20):
            throttle.attempt(session, f"password:{number}")
    at(timedelta(hours=25))
    with transaction() as session:
        throttle.attempt(session, "password:another")
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(Throttle)) == 1


def test_no_email_is_stored_in_the_clear(browser: Browser) -> None:
    guess(browser, "else@example.org")
    with reading() as session:
        (key,) = session.scalars(select(Throttle.key))
    assert "else" not in key
    assert len(key) == 64


# per address ------------------------------------------------------------------------------------


def test_one_address_cannot_guess_at_many_accounts(browser: Browser) -> None:
    answers = [guess(browser, f"person{n}@example.org") for n in range(TRIES + 1)]
    assert answers == [422] * TRIES + [429]
    assert "Too many wrong attempts from your address" in browser.last.text
    assert 200 < int(browser.last.headers["Retry-After"]) <= 301


def test_all_that_takes_a_password_or_a_code_counts_together(admin: Browser) -> None:
    for number in range(TRIES):
        guess(Browser(admin.app), f"person{number}@example.org", address="127.0.0.1")
    for path in (
        "/login",
        "/login/code",
        "/setup",
        "/profile/confirm",
        "/profile/password",
        "/profile/second-factor",
    ):
        page = admin.post(path, {"present": PASSWORD}, 429)
        assert "Too many wrong attempts from your address" in page.text, path


def test_the_right_password_from_elsewhere_is_let_in_meanwhile(browser: Browser) -> None:
    for number in range(TRIES + 1):
        guess(browser, f"person{number}@example.org")
    assert guess(browser, "else@example.org", PASSWORD, "192.0.2.2") == 303


def test_right_passwords_do_not_count(browser: Browser) -> None:
    for _ in range(TRIES + 1):
        assert guess(Browser(browser.app), "else@example.org", PASSWORD) == 303


def test_a_network_of_ipv6_counts_as_one_address(browser: Browser) -> None:
    answers = [
        guess(browser, f"p{n}@example.org", address=f"2001:db8:1:2::{n:x}")
        for n in range(TRIES + 1)
    ]
    assert answers[-1] == 429
    assert guess(browser, "p@example.org", address="2001:db8:1:3::1") == 422


def test_a_forged_header_does_not_make_another_address(browser: Browser) -> None:
    for number in range(TRIES + 1):
        browser._open(
            "/login",
            method="POST",
            data={"csrf_token": browser.token(), "email": f"p{number}@e.org", "password": WRONG},
            headers={"X-Forwarded-For": f"198.51.100.{number}", "X-Real-IP": f"10.0.0.{number}"},
        )
    assert browser.last.status_code == 429


# what answers give away -------------------------------------------------------------------------


def test_every_refusal_says_the_same(app: Flask) -> None:
    make_user(email="on@example.org")
    make_user(email="off@example.org", active=False)
    make_user(email="two@example.org", totp_secret="sealed")
    said = set()
    for email, password in [
        ("on@example.org", WRONG),
        ("off@example.org", PASSWORD),
        ("two@example.org", WRONG),
        ("nobody@example.org", PASSWORD),
    ]:
        with pytest.raises(InvalidError) as refused:
            signing_in.check(email, password, HERE)
        said.add(str(refused.value))
    assert said == {signing_in.REFUSED}


def test_a_refusal_takes_the_same_time_for_every_email(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "FREE_FAILURES", 10_000)
    make_user(email="known@example.org", role=Role.ADMIN)

    def took(email: str) -> float:
        began = time.perf_counter()
        with pytest.raises(InvalidError):
            signing_in.check(email, WRONG, HERE)
        return time.perf_counter() - began

    took("known@example.org"), took("unknown@example.org")  # imports and caches
    known, unknown = [], []
    for _ in range(25):  # alternating, so that a busy machine is busy for both
        known.append(took("known@example.org"))
        unknown.append(took("unknown@example.org"))
    ratio = statistics.median(known) / statistics.median(unknown)
    assert 0.6 < ratio < 1.7, f"median of a known email / of an unknown one: {ratio:.2f}"


# asking for the password again ------------------------------------------------------------------


def test_guessing_at_the_confirmation_waits_too(admin: Browser) -> None:
    for _ in range(5):
        admin.post("/profile/confirm", {"present": WRONG}, 422)
    page = admin.post("/profile/confirm", {"present": PASSWORD}, 429)
    assert "Too many wrong attempts" in page.text


def test_guessing_at_the_present_password_waits_too(admin: Browser) -> None:
    form = {"present": WRONG, "new": "seven green lanterns", "repeated": "seven green lanterns"}
    for _ in range(5):
        admin.post("/profile/password", form, 422)
    page = admin.post("/profile/password", form | {"present": PASSWORD}, 422)
    assert "Too many wrong attempts" in page.text
    with pytest.raises(TooManyError), transaction() as session:
        throttle.attempt(session, "confirm:1")
