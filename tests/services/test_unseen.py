"""Expired messages stand on the overview until somebody looks."""

from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import text

from tests.browser import Browser
from tests.web.test_deliveries import make_delivery
from webapp.core import clock
from webapp.models.delivery import IS_UNSEEN, State
from webapp.services import unseen
from webapp.services.transaction import reading


def listed(browser: Browser) -> str:
    found = browser.get("/").select_one("#expired")
    assert found is not None
    return "" if found.has_attr("hidden") else found.get_text(" ")


def test_an_expired_message_stays_on_the_overview_until_its_page_is_opened(admin: Browser) -> None:
    long_ago = clock.now() - timedelta(days=60)
    expired = make_delivery(State.EXPIRED, created_at=long_ago)
    make_delivery(State.FAILED)
    make_delivery(State.EXPIRED, is_test=True)
    assert "1 message could not be delivered in time" in listed(admin)
    assert "Ops alerts" in listed(admin)
    admin.get("/deliveries")
    assert listed(admin)
    admin.get(f"/deliveries/{expired}")
    assert listed(admin) == ""


def test_all_of_them_can_be_marked_at_once(admin: Browser) -> None:
    for _ in range(7):
        make_delivery(State.EXPIRED)
    found = unseen.expired()
    assert (len(found.lines), found.count) == (5, 7)
    admin.post("/deliveries/seen", {})
    assert listed(admin) == ""
    assert unseen.mark_all() == 0


def test_a_viewer_sees_them_and_has_no_button(viewer: Browser) -> None:
    make_delivery(State.EXPIRED)
    assert "Mark as seen" not in listed(viewer)


def test_the_panel_marks_with_htmx_as_well(admin: Browser) -> None:
    make_delivery(State.EXPIRED)
    page = admin.post("/deliveries/seen", {}, status=200, headers={"HX-Request": "true"})
    found = page.select_one("#expired")
    assert found is not None
    assert found.has_attr("hidden")


@pytest.mark.usefixtures("app")
def test_the_list_is_read_along_its_own_index(app: Flask) -> None:
    with reading() as session:
        plan = " ".join(
            row.detail
            for row in session.execute(
                text(
                    "EXPLAIN QUERY PLAN SELECT delivery.id FROM delivery JOIN event ON event.id ="
                    f" delivery.event_id WHERE {IS_UNSEEN} ORDER BY delivery.id DESC LIMIT 101"
                )
            )
        )
    assert "ix_delivery_unseen" in plan
