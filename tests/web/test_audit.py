"""Settings → Audit log and Settings → Security."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask
from sqlalchemy import select

from tests.browser import PASSWORD, Browser
from tests.factories import make_channel
from webapp.models.audit import AuditEntry
from webapp.services import audit, security_settings
from webapp.services.security_settings import SecondFactorFor
from webapp.services.transaction import reading, transaction


def noted(action: str) -> list[AuditEntry]:
    with reading() as session:
        found = select(AuditEntry).where(AuditEntry.action == action).order_by(AuditEntry.id)
        return list(session.scalars(found))


def test_a_change_in_the_browser_bears_name_and_address(admin: Browser) -> None:
    row = make_channel()
    admin.post(
        f"/channels/{row.id}/toggle", {"enabled": "0"}, environ_base={"REMOTE_ADDR": "192.0.2.8"}
    )
    (entry,) = noted("channel.changed")
    assert (entry.user_name, entry.ip_address) == ("Mara Lindqvist", "192.0.2.8")
    assert audit.actor().name == "system", "the request is over"


def test_sign_ins_are_noted_with_the_address(browser: Browser) -> None:
    browser.post("/login", {"email": "else@example.org", "password": "wrong password"}, 422)
    browser.post("/login", {"email": "my-secret-password", "password": "x"}, 422)
    browser.sign_in("else@example.org")
    browser.post("/logout")
    failed, odd = noted("sign_in.failed")
    assert (failed.object, failed.after) == ("else@example.org", {"reason": "wrong password"})
    assert failed.ip_address == "127.0.0.1"
    assert odd.object == "not an email"
    assert [entry.user_name for entry in noted("sign_in")] == ["Somebody Else"]
    assert len(noted("sign_out")) == 1


def test_the_log_shows_before_and_after(admin: Browser) -> None:
    row = make_channel(name="Ops <b>")
    admin.post(f"/channels/{row.id}/toggle", {"enabled": "0"})
    entry = admin.get("/settings/audit").select_one("#audit-rows tbody tr")
    words = " ".join(entry.text.split())
    assert "Ops <b>" in words
    assert "enabled: True enabled: False" in words or "enabled: true enabled: false" in words


def test_filters_live_in_the_address(admin: Browser) -> None:
    make_channel()
    page = admin.get("/settings/audit?action=channels&period=24h&person=system")
    assert len(page.select("#audit-rows tbody tr")) == 1
    assert page.select_one("#audit-action option[selected]")["value"] == "channels"
    assert page.select_one("a[href*=export]")["href"].endswith(
        "export?person=system&action=channels&period=24h"
    )
    assert "Nothing matches" in admin.get("/settings/audit?person=nobody+like+this").text
    assert admin.htmx_get("/settings/audit?action=channels").select_one("#audit-rows") is not None


@pytest.mark.parametrize(
    "query", ["before=x", "after=-1", "before=99999999999999999999", "action='--"]
)
def test_nonsense_in_the_address_is_no_error(admin: Browser, query: str) -> None:
    admin.get(f"/settings/audit?{query}")


def test_the_export_is_a_download(admin: Browser) -> None:
    with transaction() as session:
        audit.note(session, "test", "=cmd|' /C calc'!A0")
    with ThreadPoolExecutor(1) as server:  # as there, nothing but the request gives a context
        answer = server.submit(admin.client.get, "/settings/audit/export", buffered=True).result()
    assert answer.mimetype == "text/csv"
    assert "attachment" in answer.headers["Content-Disposition"]
    assert "\"'=cmd" in answer.text
    assert len(noted("audit.exported")) == 1


def test_security_settings_are_saved_and_noted(admin: Browser) -> None:
    admin.post("/settings/security", {"second_factor_for": "everyone", "audit_days": "90"})
    found = security_settings.current()
    assert (found.second_factor_for, found.audit_days) == (SecondFactorFor.EVERYONE, 90)
    assert {entry.object for entry in noted("setting.created")} >= {"second_factor_for"}


def test_the_log_cannot_be_shortened_to_nothing(admin: Browser) -> None:
    page = admin.post("/settings/security", {"second_factor_for": "", "audit_days": "1"}, 422)
    assert "30 to 36500 days" in page.text


def test_the_page_says_what_the_server_has_set(admin: Browser) -> None:
    words = " ".join(admin.get("/settings/security").select_one("#security-limits").text.split())
    assert "720 minutes" in words
    assert "14 days" in words


def test_a_password_is_never_in_the_log(app: Flask, admin: Browser) -> None:
    new = "seven green lanterns"
    admin.post("/profile/password", {"present": PASSWORD, "new": new, "repeated": new})
    admin.get("/settings/audit")
    assert new not in admin.last.text
    assert PASSWORD not in admin.last.text
