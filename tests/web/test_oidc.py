"""Signing in through an OpenID provider."""

import base64
import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyotp
import pytest
from flask import Flask
from joserfc import jwt
from joserfc.jwk import OctKey
from sqlalchemy import select

from tests.browser import Browser
from tests.conftest import make_settings
from tests.factories import make_user
from tests.servers.oidc import ANOTHER_KEY, CLIENT_ID, CLIENT_SECRET, Provider
from tests.servers.proxy import Proxy
from webapp.app import create_app
from webapp.core.settings import Settings, SettingsError
from webapp.models import db
from webapp.models.audit import AuditEntry
from webapp.models.delivery import EventRow
from webapp.models.security import Identity, UserSession
from webapp.models.user import Role, User
from webapp.services import second_factor, security_settings, users
from webapp.services.security_settings import SecuritySettings
from webapp.services.transaction import reading
from webapp.web import oidc_client

MARA = "mara@example.org"


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as provider:
        yield provider


@pytest.fixture
def app(tmp_path: Path, provider: Provider) -> Iterator[Flask]:
    app = create_app(
        make_settings(
            tmp_path,
            base_url="http://localhost",
            oidc_issuer=provider.issuer,
            oidc_client_id=CLIENT_ID,
            oidc_client_secret=CLIENT_SECRET,
            oidc_name="Example GmbH",
        )
    )
    app.testing = True
    with app.app_context():
        db.create_all()
        make_user(role=Role.ADMIN, email="first@example.org")
        yield app
        db.session.remove()
        db.engine.dispose()


@pytest.fixture
def mara(app: Flask) -> User:
    return make_user(role=Role.OPERATOR, name="Mara", email="Mara@Example.org")


def go_round(browser: Browser, provider: Provider, start: str = "/login/oidc?next=/runs") -> str:
    """Go to the provider and back; return where that leads."""
    browser.get(start, 302)
    browser.get(provider.authorize(browser.last.location), 303)
    return browser.last.location


def refused(browser: Browser, provider: Provider) -> str:
    """Go round in vain; return what is said."""
    assert go_round(browser, provider) == "/login"
    said = browser.follow().select_one(".callout-bad").text.strip()
    browser.get("/profile", 303)
    return said


def reasons() -> list[str]:
    with reading() as session:
        found = session.scalars(select(AuditEntry).where(AuditEntry.action == "sign_in.failed"))
        return [str((entry.after or {})["reason"]) for entry in found]


def test_the_provider_is_asked_through_the_proxy_of_the_environment(
    app: Flask, provider: Provider, mara: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Proxy(urlsplit(provider.issuer).port or 0) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("http_proxy", proxy.url)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        browser = Browser(app)
        browser.get("/login/oidc", 302)
        assert proxy.asked


def test_a_verified_email_signs_in_as_the_account_with_it(
    app: Flask, provider: Provider, mara: User
) -> None:
    browser = Browser(app)
    assert "Sign in with Example GmbH" in browser.get("/login").text
    assert go_round(browser, provider) == "/runs"
    assert "Mara" in browser.get("/profile").select_one(".who").text
    assert provider.asked[0]["code_challenge_method"] == "S256"
    with reading() as session:
        (identity,) = session.scalars(select(Identity))
        (event,) = session.scalars(select(EventRow))
    assert (identity.user_id, identity.subject) == (mara.id, "subject-1")
    assert event.type == "user_login"


def test_afterwards_the_subject_counts_and_not_the_email(
    app: Flask, provider: Provider, mara: User
) -> None:
    go_round(Browser(app), provider)
    provider.person["email"] = "married@example.org"
    provider.person["email_verified"] = False
    assert go_round(Browser(app), provider) == "/runs"


def test_an_email_that_was_given_to_somebody_else_opens_nothing(
    app: Flask, provider: Provider, mara: User
) -> None:
    go_round(Browser(app), provider)
    provider.person["sub"] = "subject-2"
    assert "belongs to no account" in refused(Browser(app), provider)
    assert "linked to another person" in reasons()[0]


@pytest.mark.parametrize("verified", [False, None, "true", "false", 1])
def test_an_email_that_is_not_verified_opens_nothing(
    app: Flask, provider: Provider, mara: User, verified: object
) -> None:
    provider.person["email_verified"] = verified
    assert "belongs to no account" in refused(Browser(app), provider)
    assert "not verified" in reasons()[0]


@pytest.mark.parametrize(
    "email",
    ["mara", "", "a b@example.org", "a@example.org\r\nBcc: b@example.org", "a@b.c\0", ["a@b.c"]],
)
def test_what_is_no_email_makes_no_account(app: Flask, provider: Provider, email: object) -> None:
    security_settings.save(SecuritySettings(oidc_create=True))
    provider.person["email"] = email
    assert "belongs to no account" in refused(Browser(app), provider)
    assert len(users.every_user()) == 1


def unsigned(answer: dict[str, Any], claims: dict[str, Any]) -> None:
    parts = [{"alg": "none"}, claims]
    coded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts]
    answer["id_token"] = b".".join([*coded, b""]).decode()


def without_its_signature(answer: dict[str, Any], _claims: dict[str, Any]) -> None:
    answer["id_token"] = answer["id_token"].rpartition(".")[0] + "."


def with_the_clients_secret(answer: dict[str, Any], claims: dict[str, Any]) -> None:
    answer["id_token"] = jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(CLIENT_SECRET))


def beside_the_token(answer: dict[str, Any], claims: dict[str, Any]) -> None:
    del answer["id_token"]
    answer["userinfo"] = claims


@pytest.mark.parametrize(
    "spoil", [unsigned, without_its_signature, with_the_clients_secret, beside_the_token]
)
def test_what_is_not_signed_as_agreed_opens_nothing(
    app: Flask, provider: Provider, mara: User, spoil: Callable[..., None]
) -> None:
    provider.spoil = spoil
    assert "did not work out" in refused(Browser(app), provider)


@pytest.mark.parametrize(
    ("account", "claimed"),
    [
        ("kay@example.org", "\N{KELVIN SIGN}ay@example.org"),
        ("stra\u00dfe@example.org", "strasse@example.org"),
    ],
)
def test_an_email_that_only_looks_the_same_opens_nothing(
    app: Flask, provider: Provider, account: str, claimed: str
) -> None:
    make_user(role=Role.ADMIN, name="Kay", email=account)
    provider.person["email"] = claimed
    assert "belongs to no account" in refused(Browser(app), provider)
    assert "not the same" in reasons()[0]


def test_the_confirmation_gives_the_session_a_new_token(
    app: Flask, provider: Provider, mara: User
) -> None:
    browser = Browser(app)
    go_round(browser, provider)
    copied = browser.client.get_cookie("dbackup_session")
    go_round(browser, provider, "/login/oidc?confirm=1&next=/profile")
    thief = Browser(app)
    thief.client.set_cookie("dbackup_session", copied.value)
    thief.get("/profile", 303)
    browser.get("/profile")


def test_an_account_that_is_off_stays_shut(app: Flask, provider: Provider, mara: User) -> None:
    go_round(Browser(app), provider)
    users.set_active(mara.id, False)
    assert "belongs to no account" in refused(Browser(app), provider)


def test_nobody_gets_an_account_unless_it_is_allowed(app: Flask, provider: Provider) -> None:
    assert "belongs to no account" in refused(Browser(app), provider)
    assert len(users.every_user()) == 1
    security_settings.save(SecuritySettings(oidc_create=True))
    assert go_round(Browser(app), provider) == "/runs"
    made = next(user for user in users.every_user() if user.email == MARA)
    assert (made.role, made.name) == (Role.VIEWER, "Mara at the provider")
    with reading() as session:
        kinds = [event.type for event in session.scalars(select(EventRow).order_by(EventRow.id))]
    assert kinds == ["user_created", "user_login"]
    Browser(app).post("/login", {"email": MARA, "password": "!"}, 422)


@pytest.mark.parametrize(
    "changes",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"aud": "somebody-else"},
        {"iss": "https://evil.example"},
        {"exp": 1_700_000_000},
        {"sub": None},
        {"sub": "subject\0-1"},
    ],
    ids=lambda changes: "".join(f"{name}={value}" for name, value in changes.items()),
)
def test_a_token_that_is_not_for_this_sign_in_opens_nothing(
    app: Flask, provider: Provider, mara: User, changes: dict[str, object]
) -> None:
    provider.changes = changes
    refused(Browser(app), provider)


def test_a_token_signed_by_somebody_else_opens_nothing(
    app: Flask, provider: Provider, mara: User
) -> None:
    provider.sign_with = ANOTHER_KEY
    assert "did not work out" in refused(Browser(app), provider)


def test_an_answer_to_another_browser_opens_nothing(
    app: Flask, provider: Provider, mara: User
) -> None:
    attacker, victim = Browser(app), Browser(app)
    attacker.get("/login/oidc", 302)
    answer = provider.authorize(attacker.last.location)
    victim.get("/login/oidc", 302)
    victim.get(answer, 303)
    assert victim.last.location == "/login"
    victim.get("/profile", 303)


def test_an_answer_counts_once(app: Flask, provider: Provider, mara: User) -> None:
    browser = Browser(app)
    browser.get("/login/oidc", 302)
    answer = provider.authorize(browser.last.location)
    browser.get(answer, 303)
    browser.post("/logout")
    browser.get(answer, 303)
    assert browser.last.location == "/login"


def test_a_provider_that_is_away_is_said(app: Flask, provider: Provider, mara: User) -> None:
    provider.__exit__(None, None, None)
    browser = Browser(app)
    browser.get("/login/oidc", 303)
    assert "did not work out" in browser.follow().text


# a provider that means harm, or is broken --------------------------------------------------------


def test_a_document_of_another_provider_leads_nowhere(
    app: Flask, provider: Provider, mara: User
) -> None:
    provider.document = {"issuer": "https://evil.example"}
    browser = Browser(app)
    browser.get("/login/oidc", 303)
    assert "did not work out" in browser.follow().text


def test_a_document_that_changes_on_the_way_opens_nothing(
    app: Flask, provider: Provider, mara: User
) -> None:
    browser = Browser(app)
    browser.get("/login/oidc", 302)
    answer = provider.authorize(browser.last.location)
    provider.document = {"issuer": "https://evil.example"}
    provider.changes = {"iss": "https://evil.example"}
    app.extensions.pop(oidc_client._KEY)  # as after a new start of the server
    browser.get(answer, 303)
    assert browser.last.location == "/login"
    browser.get("/profile", 303)


def test_a_provider_that_sends_elsewhere_is_not_followed(
    app: Flask, provider: Provider, mara: User
) -> None:
    visits = []

    def send_elsewhere(request: BaseHTTPRequestHandler) -> None:
        visits.append(request.path)
        request.send_response(302)
        request.send_header("Location", f"{provider.issuer}/elsewhere")
        request.send_header("Content-Length", "0")
        request.end_headers()

    provider.answer_instead = send_elsewhere
    Browser(app).get("/login/oidc", 303)
    assert visits == ["/.well-known/openid-configuration"]


def drip(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.end_headers()
    with contextlib.suppress(OSError):
        for _ in range(80):
            request.wfile.write(b" ")
            time.sleep(0.1)


def test_a_provider_that_drips_is_left_in_time(
    app: Flask, provider: Provider, mara: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oidc_client, "TIMEOUT", 0.5)
    provider.answer_instead = drip
    begin = time.monotonic()
    Browser(app).get("/login/oidc", 303)
    assert time.monotonic() - begin < 4


def test_a_huge_answer_of_the_provider_is_read_to_its_limit(
    app: Flask, provider: Provider, mara: User
) -> None:
    sent = []

    def flood(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        with contextlib.suppress(OSError):
            for _ in range(100):
                request.wfile.write(b" " * 1_000_000)
                sent.append(1)

    provider.answer_instead = flood
    Browser(app).get("/login/oidc", 303)
    assert len(sent) < 50


def test_visitors_who_wait_for_the_provider_leave_the_pages_to_others(
    app: Flask, provider: Provider, mara: User
) -> None:
    held, ended = threading.Semaphore(0), threading.Event()

    def hold(_request: BaseHTTPRequestHandler) -> None:
        held.release()
        ended.wait(20)

    provider.answer_instead = hold
    waiting = [
        threading.Thread(target=lambda: Browser(app).get("/login/oidc", 303))
        for _ in range(oidc_client.AT_ONCE)
    ]
    for thread in waiting:
        thread.start()
        assert held.acquire(timeout=10)
    browser = Browser(app)
    browser.get("/login/oidc", 303)
    assert "many people" in browser.follow().text
    ended.set()
    for thread in waiting:
        thread.join(20)
    provider.answer_instead = None
    assert go_round(Browser(app), provider) == "/runs"


def test_the_second_factor_is_asked_for_here_too(
    app: Flask, provider: Provider, mara: User
) -> None:
    key = second_factor.enrol(mara.id).secret
    codes = second_factor.enable(mara.id, pyotp.TOTP(key).now())
    browser = Browser(app)
    assert go_round(browser, provider) == "/login/code"
    browser.get("/profile", 303)
    browser.post("/login/code", {"code": codes[0]})
    browser.get("/profile")


def test_the_way_back_cannot_leave_the_site(app: Flask, provider: Provider, mara: User) -> None:
    assert go_round(Browser(app), provider, "/login/oidc?next=//evil.example") == "/"


def test_the_provider_can_confirm_a_sensitive_change(
    app: Flask, provider: Provider, mara: User
) -> None:
    browser = Browser(app)
    go_round(browser, provider)
    assert go_round(browser, provider, "/login/oidc?confirm=1&next=/profile") == "/profile"
    assert provider.asked[-1]["prompt"] == "login"
    provider.changes = {"auth_time": int(time.time()) - 3600}
    browser.get("/login/oidc?confirm=1", 302)
    browser.get(provider.authorize(browser.last.location), 303)
    assert browser.last.location == "/login"
    provider.changes, provider.person["sub"] = {}, "subject-2"
    browser.get("/login/oidc?confirm=1", 302)
    browser.get(provider.authorize(browser.last.location), 303)
    assert browser.last.location == "/login"


def test_a_colleague_at_the_provider_cannot_confirm_for_another(
    app: Flask, provider: Provider, mara: User
) -> None:
    otto = make_user(role=Role.ADMIN, email="otto@example.org")
    browser = Browser(app)
    go_round(browser, provider)
    provider.person |= {"sub": "subject-2", "email": otto.email}
    assert go_round(Browser(app), provider) == "/runs"  # he is linked, too
    assert go_round(browser, provider, "/login/oidc?confirm=1&next=/profile") == "/login"
    with reading() as session:
        rows = session.scalars(select(UserSession).where(UserSession.user_id == mara.id)).all()
    assert [row.confirmed_at == row.created_at for row in rows] == [True]


def test_the_provider_must_be_reached_by_https(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="https"):
        Settings.from_env(
            {
                "DBACKUP_INSTANCE_PATH": str(tmp_path),
                "DBACKUP_OIDC_ISSUER": "http://id.example.org",
            }
        )
