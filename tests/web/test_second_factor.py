"""The second factor: an authenticator app and recovery codes."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyotp
import pytest
from cryptography.fernet import Fernet
from flask import Flask
from sqlalchemy import select

from tests.browser import Browser
from tests.conftest import make_settings
from tests.factories import make_user
from webapp.core import clock
from webapp.core.errors import InvalidError
from webapp.models.delivery import EventRow
from webapp.models.security import RecoveryCode
from webapp.models.user import Role, User
from webapp.services import second_factor, security_settings, signing_in, users
from webapp.services.installation import install
from webapp.services.security_settings import SecondFactorFor, SecuritySettings
from webapp.services.sessions import Visitor
from webapp.services.transaction import reading, transaction

HERE = Visitor(ip_address="192.0.2.1", browser="Firefox")
MARA = "mara@example.org"
START = datetime(2026, 11, 17, 9, 0, 5, tzinfo=UTC)


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    def set_clock(passed: timedelta) -> None:
        monkeypatch.setattr(clock, "now", lambda: START + passed)

    set_clock(timedelta(0))
    return set_clock


@pytest.fixture
def mara(at: Callable[[timedelta], None], admin: Browser) -> Browser:
    """An admin's browser; the clock stands still."""
    return admin


def code(key: str, passed: timedelta = timedelta(0)) -> str:
    return pyotp.TOTP(key).at(START + passed)


def set_up(browser: Browser) -> tuple[str, list[str]]:
    """Set it up in the browser; return the key and the recovery codes."""
    key = browser.get("/profile/second-factor").select_one("#totp-key").text
    page = browser.post("/profile/second-factor", {"code": code(key)}, 200)
    return key, [item.text for item in page.select("#recovery-codes li")]


def half_way(app: Flask, email: str = MARA) -> Browser:
    """Return a browser that has passed the password."""
    browser = Browser(app)
    browser.sign_in(email, next="/runs")
    assert browser.last.location == "/login/code"
    return browser


def test_the_key_comes_as_a_picture_without_styles_and_as_text(mara: Browser) -> None:
    page = mara.get("/profile/second-factor")
    assert page.select_one("svg.qr") is not None
    assert len(page.select_one("#totp-key").text) == 32
    again = mara.get("/profile/second-factor")
    assert again.select_one("#totp-key").text == page.select_one("#totp-key").text


def test_a_wrong_first_code_turns_nothing_on(mara: Browser) -> None:
    mara.get("/profile/second-factor")
    page = mara.post("/profile/second-factor", {"code": "000000"}, 422)
    assert "wrong or was used already" in page.text
    Browser(mara.app).sign_in(MARA)


def test_signing_in_asks_for_the_code_and_tells_of_it_only_then(
    app: Flask, mara: Browser, at: Callable[[timedelta], None]
) -> None:
    key, _ = set_up(mara)
    with reading() as session:
        before = len(session.scalars(select(EventRow)).all())
    browser = half_way(app)
    browser.get("/profile", 303)
    with reading() as session:
        assert len(session.scalars(select(EventRow)).all()) == before
    at(timedelta(seconds=30))
    browser.post("/login/code", {"code": code(key, timedelta(seconds=30))})
    assert browser.last.location == "/runs"
    browser.follow()
    with reading() as session:
        assert len(session.scalars(select(EventRow)).all()) == before + 1


def test_a_code_counts_once(app: Flask, mara: Browser, at: Callable[[timedelta], None]) -> None:
    key, _ = set_up(mara)
    used = code(key)
    half_way(app).post("/login/code", {"code": used}, 422)
    at(timedelta(seconds=30))
    fresh = code(key, timedelta(seconds=30))
    half_way(app).post("/login/code", {"code": fresh})
    half_way(app).post("/login/code", {"code": fresh}, 422)
    half_way(app).post("/login/code", {"code": used}, 422)


def test_a_code_of_an_older_step_does_not_count_after_a_newer_one(
    app: Flask, mara: Browser, at: Callable[[timedelta], None]
) -> None:
    key, _ = set_up(mara)
    at(timedelta(seconds=90))
    half_way(app).post("/login/code", {"code": code(key, timedelta(seconds=90))})
    half_way(app).post("/login/code", {"code": code(key, timedelta(seconds=60))}, 422)


@pytest.mark.parametrize(("drift", "status"), [(-60, 422), (-30, 303), (30, 303), (60, 422)])
def test_a_phone_may_be_half_a_minute_off(
    app: Flask, mara: Browser, at: Callable[[timedelta], None], drift: int, status: int
) -> None:
    key, _ = set_up(mara)
    at(timedelta(minutes=5))
    wrong = timedelta(minutes=5, seconds=drift)
    half_way(app).post("/login/code", {"code": code(key, wrong)}, status)


def test_a_recovery_code_counts_once_and_says_how_many_are_left(app: Flask, mara: Browser) -> None:
    _, codes = set_up(mara)
    assert len(codes) == len(set(codes)) == 10
    browser = half_way(app)
    browser.post("/login/code", {"code": codes[0].upper().replace("-", " ")})
    assert "9 are left" in browser.follow().text
    half_way(app).post("/login/code", {"code": codes[0]}, 422)


def test_recovery_codes_let_their_owner_in_when_the_encryption_key_was_lost(
    app: Flask, mara: Browser, tmp_path: Path
) -> None:
    key, codes = set_up(mara)
    install(app, make_settings(tmp_path, encryption_keys=(Fernet.generate_key().decode(),)))
    somebody = half_way(app)
    somebody.post("/login/code", {"code": code(key)}, 422)
    somebody.post("/login/code", {"code": codes[0]})
    assert somebody.last.location == "/runs"
    somebody.post("/profile/second-factor/disable")
    set_up(somebody)


def test_a_key_that_was_not_proven_is_made_anew_when_the_encryption_key_was_lost(
    app: Flask, mara: Browser, tmp_path: Path
) -> None:
    mara.get("/profile/second-factor")
    install(app, make_settings(tmp_path, encryption_keys=(Fernet.generate_key().decode(),)))
    set_up(mara)


def test_recovery_codes_are_stored_as_hashes_and_the_key_is_sealed(mara: Browser) -> None:
    key, codes = set_up(mara)
    with reading() as session:
        rows = session.scalars(select(RecoveryCode.code_hash)).all()
        sealed = session.scalars(select(User.totp_secret)).one()
    assert not set(codes) & set(rows)
    assert key not in str(sealed)


def test_recovery_codes_are_too_random_to_be_found_by_their_hashes(mara: Browser) -> None:
    _, codes = set_up(mara)
    signs = {len(code.replace("-", "")) for code in codes}
    assert len(second_factor.ALPHABET) ** min(signs) >= 2**112  # OWASP ASVS 5.0, 6.5.2


def test_new_recovery_codes_replace_the_old_ones(app: Flask, mara: Browser) -> None:
    _, old = set_up(mara)
    page = mara.post("/profile/second-factor/codes", status=200)
    new = [item.text for item in page.select("#recovery-codes li")]
    assert not set(old) & set(new)
    half_way(app).post("/login/code", {"code": old[0]}, 422)
    half_way(app).post("/login/code", {"code": new[0]})


def test_guessing_codes_waits(app: Flask, mara: Browser) -> None:
    _, codes = set_up(mara)
    browser = half_way(app)
    for number in range(5):
        browser.post("/login/code", {"code": f"{number:06}"}, 422)
    page = browser.post("/login/code", {"code": codes[0]}, 429)
    assert "Too many wrong attempts" in page.text
    assert browser.last.headers["Retry-After"]
    # a new start with the password does not give new tries
    half_way(app).post("/login/code", {"code": codes[0]}, 429)


def test_guesses_at_codes_from_elsewhere_do_not_keep_the_owner_out(
    app: Flask, mara: Browser
) -> None:
    _, codes = set_up(mara)
    mara.post("/logout")
    elsewhere = half_way(app)
    for number in range(5):
        elsewhere.post("/login/code", {"code": f"{number:06}"}, 422)
    elsewhere.post("/login/code", {"code": codes[0]}, 429)
    mara.sign_in(MARA)
    mara.post("/login/code", {"code": codes[0]})
    assert mara.last.location == "/"


def test_the_code_must_follow_the_password_within_five_minutes(
    app: Flask, mara: Browser, at: Callable[[timedelta], None]
) -> None:
    _, codes = set_up(mara)
    browser = half_way(app)
    at(timedelta(minutes=5, seconds=1))
    browser.post("/login/code", {"code": codes[0]})
    assert browser.last.location == "/login"


def test_a_new_password_in_between_begins_anew(app: Flask, mara: Browser) -> None:
    _, codes = set_up(mara)
    browser = half_way(app)
    users.reset_password(MARA, "seven green lanterns")
    browser.post("/login/code", {"code": codes[0]})
    assert browser.last.location == "/login"
    browser.get("/profile", 303)


def test_without_the_password_there_is_nothing_to_enter(browser: Browser) -> None:
    browser.post("/login/code", {"code": "123456"})
    assert browser.last.location == "/login"


def test_turning_it_off_makes_the_password_enough(app: Flask, mara: Browser) -> None:
    set_up(mara)
    mara.post("/profile/second-factor/disable")
    browser = Browser(app)
    browser.sign_in(MARA)
    assert browser.last.location == "/"
    with reading() as session:
        assert session.scalars(select(RecoveryCode)).all() == []


def test_setting_it_up_asks_for_the_password_again(
    mara: Browser, at: Callable[[timedelta], None]
) -> None:
    at(timedelta(minutes=10))
    for method, path in [
        ("GET", ""),
        ("POST", ""),
        ("POST", "/codes"),
        ("POST", "/disable"),
    ]:
        data = {"csrf_token": mara.token()} if method == "POST" else None
        mara._open(f"/profile/second-factor{path}", method=method, data=data)
        assert (mara.last.location or "").startswith("/profile/confirm"), f"{method} {path}"


def test_an_admin_resets_it_for_somebody(app: Flask, mara: Browser) -> None:
    make_user(role=Role.ADMIN, email="otto@example.org")
    otto = Browser(app)
    otto.sign_in("otto@example.org")
    set_up(otto)
    person = next(user for user in users.every_user() if user.email == "otto@example.org")
    assert "Reset second factor" in mara.get(f"/users/{person.id}").text
    mara.post(f"/users/{person.id}/second-factor/reset")
    fresh = Browser(app)
    fresh.sign_in("otto@example.org")
    assert fresh.last.location == "/"


# when it is demanded ----------------------------------------------------------------------------


def demand(who: SecondFactorFor) -> None:
    security_settings.save(SecuritySettings(second_factor_for=who))


def test_an_admin_must_set_it_up_before_anything_else(mara: Browser) -> None:
    demand(SecondFactorFor.ADMINS)
    for path in ("/", "/users", "/channels", "/profile", "/settings/general"):
        mara.get(path, 303)
        assert mara.last.location == "/profile/second-factor", path
    mara.post("/channels", {"name": "x"})
    assert mara.last.location == "/profile/second-factor"
    set_up(mara)
    mara.get("/users")


def test_it_is_demanded_of_nobody_else(operator: Browser) -> None:
    demand(SecondFactorFor.ADMINS)
    operator.get("/")
    demand(SecondFactorFor.EVERYONE)
    operator.get("/", 303)


@pytest.mark.postgres
def test_codes_count_once_on_postgresql(postgres_app: Flask) -> None:
    user = make_user(role=Role.ADMIN, email=MARA)
    key = second_factor.enrol(user.id).secret
    codes = second_factor.enable(user.id, pyotp.TOTP(key).now())
    for expected in (second_factor.RECOVERY, None):
        with transaction() as session:
            found = session.get_one(User, user.id, with_for_update=True)
            assert second_factor.accept(session, found, codes[0]) == expected


@pytest.mark.postgres
def test_a_recovery_code_signs_in_on_postgresql(postgres_app: Flask) -> None:
    user = make_user(role=Role.ADMIN, email=MARA)
    codes = second_factor.enable(user.id, pyotp.TOTP(second_factor.enrol(user.id).secret).now())
    browser = half_way(postgres_app)
    browser.post("/login/code", {"code": codes[0]})
    assert browser.last.location == "/runs"


@pytest.mark.postgres
@pytest.mark.parametrize("by", [second_factor.APP, second_factor.RECOVERY])
def test_a_code_counts_once_also_at_the_same_time(postgres_app: Flask, by: str) -> None:
    user = make_user(role=Role.ADMIN, email=MARA)
    key = second_factor.enrol(user.id).secret
    codes = second_factor.enable(user.id, pyotp.TOTP(key).now())
    with transaction() as session:
        session.get_one(User, user.id).totp_step = 0
    entered = codes[0] if by == second_factor.RECOVERY else pyotp.TOTP(key).now()
    ready, answers = threading.Barrier(4), []

    def enter() -> None:
        with postgres_app.app_context():
            ready.wait()
            try:
                answers.append(signing_in.check_code(user.id, user.session_version, entered, HERE))
            except InvalidError:
                answers.append("refused")

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(answers) == sorted([by, "refused", "refused", "refused"])
