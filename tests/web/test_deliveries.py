"""The Deliveries pages in the browser, with HTMX and without JavaScript."""

import json
from datetime import timedelta
from typing import Any

import pytest
from bs4 import BeautifulSoup, Tag
from sqlalchemy import select

from tests.browser import Browser
from tests.factories import make_channel, make_job
from webapp.core import clock, text
from webapp.models.delivery import Attempt, Delivery, EventRow, State
from webapp.notify.events import BY_TYPE
from webapp.services import delivery_detail, delivery_lines, delivery_log, rates
from webapp.services.transaction import reading, transaction


def one(soup: BeautifulSoup | Tag, selector: str) -> Tag:
    found = soup.select(selector)
    assert len(found) == 1, f"{len(found)} of {selector}"
    return found[0]


def words(tag: BeautifulSoup | Tag) -> str:
    return text.one_line(tag.get_text(" "))


def triggers(browser: Browser) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(browser.last.headers["HX-Trigger"])
    return result


def make_delivery(
    state: str = "sent", *, event: str = "user_login", event_id: str = "", **values: Any
) -> str:
    waits = state in delivery_lines.OPEN
    values.setdefault("next_attempt_at", clock.now() + timedelta(minutes=2) if waits else None)
    values.setdefault("finished_at", None if waits else clock.now())
    values.setdefault("channel_name", "Ops alerts")
    values.setdefault("channel_type", "discord")
    is_test, job_id = values.pop("is_test", False), values.pop("job_id", None)
    with transaction() as session:
        if not event_id:
            payload = BY_TYPE[event].sample().payload()
            row = EventRow(type=event, payload=payload, is_test=is_test, job_id=job_id)
            session.add(row)
            session.flush()
            event_id = row.id
        delivery = Delivery(event_id=event_id, state=state, **values)
        session.add(delivery)
        session.flush()
        return delivery.id


def make_attempt(delivery_id: str, number: int = 1, **values: Any) -> None:
    with transaction() as session:
        session.add(
            Attempt(
                **{
                    "delivery_id": delivery_id,
                    "number": number,
                    "started_at": clock.now(),
                    "duration_ms": 412,
                    "outcome": "transient",
                    "status": "503",
                    "message": "Slack answered 503 Service Unavailable.",
                    "excerpt": '{"ok":false,"error":"service_unavailable"}',
                    "advice": "The fault is on Slack’s side, so DBackup keeps trying.",
                }
                | values
            )
        )


def states() -> list[str]:
    """Return the states of what was made here; signing in leaves a skipped one of its own."""
    mine = select(Delivery.state).where(Delivery.state != "skipped").order_by(Delivery.id)
    with reading() as session:
        return list(session.scalars(mine))


def listed(soup: BeautifulSoup) -> list[str]:
    return [str(row["id"]).removeprefix("delivery-") for row in soup.select("tbody tr")]


# the list ---------------------------------------------------------------------------------------


def test_an_empty_log_says_what_will_be_here(viewer: Browser) -> None:
    assert "Nothing sent yet." in words(one(viewer.get("/deliveries"), "#delivery-rows"))


def test_each_row_says_message_channel_state_and_time(viewer: Browser) -> None:
    sent = make_delivery(attempts=2)
    make_attempt(sent, 1)
    make_attempt(sent, 2, outcome="sent", duration_ms=96)
    waiting = make_delivery(
        "retrying",
        event="backup_failure",
        channel_name="#db-backups",
        channel_type="slack",
        attempts=3,
        needs_you=True,
    )
    page = viewer.get("/deliveries")
    assert listed(page) == [waiting, sent]
    row = words(one(page, f"#delivery-{sent}"))
    assert "User login: Mara Lindqvist" in row
    assert "System event" in row
    assert "Ops alerts" in row
    assert "Sent in 96 ms , try 2" in row.replace("ms,", "ms ,")
    row = words(one(page, f"#delivery-{waiting}"))
    assert "Job notification" in row
    assert "Retrying next try in 1 min" in row
    assert "needs you" in row
    assert one(page, f"#delivery-{sent} td time")["datetime"]


def test_a_skipped_delivery_is_listed_with_its_reason_when_asked_for(viewer: Browser) -> None:
    skipped = make_delivery("skipped", channel_name="", channel_type="", reason="The event is off.")
    assert listed(viewer.get("/deliveries")) == []
    row = words(one(viewer.get("/deliveries?state=skipped"), f"#delivery-{skipped}"))
    assert "No channel" in row
    assert "Skipped The event is off." in row


def test_tests_and_direct_mail_are_marked(viewer: Browser) -> None:
    mail = make_delivery(recipient="mara@example.org", is_direct=True, is_test=True)
    row = words(one(viewer.get("/deliveries"), f"#delivery-{mail}"))
    assert "Test" in row
    assert "direct mail to mara@example.org" in row


def test_filters_live_in_the_address_and_stay_chosen(viewer: Browser) -> None:
    channel, job = make_channel(name="Here"), make_job(name="Nightly")
    failed = make_delivery("failed", channel_id=channel.id)
    of_job = make_delivery(event="backup_success", job_id=job.id)
    for query, expected in (
        ("state=failed", [failed]),
        (f"channel={channel.id}", [failed]),
        ("event=backup_success", [of_job]),
        (f"job={job.id}", [of_job]),
        ("period=1h", [of_job, failed]),
        ("state=nonsense&channel=x&event=y&job=-1&period=z", [of_job, failed]),
    ):
        page = viewer.get(f"/deliveries?{query}")
        assert listed(page) == expected, query
    page = viewer.get(f"/deliveries?state=failed&job={job.id}")
    assert "No delivery matches these filters." in words(one(page, "#delivery-rows"))
    assert words(one(page, "#filter-state option[selected]")) == "Failed"
    assert words(one(page, "#filter-job option[selected]")) == "Nightly"


def test_htmx_gets_the_rows_and_hears_how_many(viewer: Browser) -> None:
    make_delivery()
    answer = viewer.htmx_get("/deliveries?state=sent")
    assert [str(tag["id"]) for tag in answer.find_all(recursive=False)] == ["delivery-rows"]
    assert triggers(viewer) == {"announce": "1 delivery"}


def test_pages_keep_the_filters(viewer: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery_log, "PAGE_SIZE", 2)
    made = [make_delivery() for _ in range(5)][::-1]
    page = viewer.get("/deliveries?state=sent")
    assert listed(page) == made[:2]
    assert "5 deliveries" in words(one(page, ".pager"))
    older = one(page, ".pager a[rel=next]")
    assert older["href"] == older["hx-get"] == f"/deliveries?state=sent&before={made[1]}"
    page = viewer.get(str(older["href"]))
    assert listed(page) == made[2:4]
    rows = one(page, "#delivery-rows")["hx-get"]
    assert listed(viewer.htmx_get(str(rows))) == made[2:4]
    assert listed(viewer.get(str(one(page, ".pager a[rel=prev]")["href"]))) == made[:2]


def test_rows_poll_only_while_something_is_on_its_way(viewer: Browser) -> None:
    delivery_id = make_delivery("queued")
    rows = one(viewer.get("/deliveries"), "#delivery-rows")
    assert str(rows["hx-trigger"]).startswith("every 5s")
    with transaction() as session:
        row = session.get_one(Delivery, delivery_id)
        row.state, row.next_attempt_at = State.SENT, None
    rows = one(viewer.htmx_get(str(rows["hx-get"])), "#delivery-rows")
    assert "every" not in str(rows["hx-trigger"])
    assert "HX-Trigger" not in viewer.last.headers, "polls announce nothing"


# one delivery -----------------------------------------------------------------------------------


def test_a_row_opens_the_panel_and_moves_the_mark(viewer: Browser) -> None:
    first, second = make_delivery(), make_delivery("failed")
    answer = viewer.htmx_get(f"/deliveries/{second}?open={first}")
    panel = one(answer, "#delivery-panel")
    assert one(panel, "#panel-title").has_attr("autofocus")
    assert one(panel, "input[name=open]")["value"] == second
    assert viewer.last.headers["HX-Push-Url"] == f"/deliveries/{second}"
    marks = {str(row["id"]): row.get("class") for row in answer.find_all("tr")}
    assert marks == {f"delivery-{second}": ["is-open"], f"delivery-{first}": None}
    again = viewer.htmx_get(f"/deliveries/rows?open={second}")
    assert [str(row["id"]) for row in again.select("tr.is-open")] == [f"delivery-{second}"]


def test_a_delivery_has_a_page_of_its_own(viewer: Browser) -> None:
    delivery_id = make_delivery()
    page = viewer.get(f"/deliveries/{delivery_id}")
    assert words(one(page, "h1")) == f"Delivery {delivery_id[-8:]}"
    assert one(page, ".crumbs a")["href"] == "/deliveries"
    assert "User login: Mara Lindqvist" in words(one(page, "#panel-title"))
    viewer.get("/deliveries/nowhere", 404)


def test_the_panel_shows_attempts_words_advice_and_duration(viewer: Browser) -> None:
    delivery_id = make_delivery("retrying", attempts=2)
    make_attempt(delivery_id, 1, status=None, message="No answer within 10 s.", excerpt="")
    make_attempt(delivery_id, 2)
    panel = one(viewer.get(f"/deliveries/{delivery_id}"), "#delivery-panel")
    tries = [words(item) for item in panel.select("#attempts > li")]
    assert tries[0].startswith("Try 3 in 1 min")
    assert tries[1].startswith("Try 2 503 412 ms Slack answered 503 Service Unavailable.")
    assert '{"ok":false,"error":"service_unavailable"}' in tries[1]
    assert tries[2].startswith("Try 1 412 ms No answer within 10 s.")
    assert "so DBackup keeps trying" in words(one(panel, ".inset"))


def test_the_panel_says_why_the_event_did_not_go_elsewhere(viewer: Browser) -> None:
    delivery_id = make_delivery()
    with reading() as session:
        event_id = session.get_one(Delivery, delivery_id).event_id
    make_delivery(
        "skipped",
        event_id=event_id,
        channel_name="Night shift",
        reason="The channel is switched off.",
    )
    panel = words(one(viewer.get(f"/deliveries/{delivery_id}"), "#delivery-panel"))
    assert "Night shift Skipped The channel is switched off." in panel


def test_a_panel_that_polls_is_left_alone_until_something_changes(viewer: Browser) -> None:
    delivery_id = make_delivery("retrying", attempts=1)
    panel = one(viewer.get(f"/deliveries/{delivery_id}"), "#delivery-panel")
    assert panel["hx-trigger"] == "every 5s"
    viewer.htmx_get(str(panel["hx-get"]), 204)
    with transaction() as session:
        row = session.get_one(Delivery, delivery_id)
        row.state, row.next_attempt_at = State.SENT, None
    panel = one(viewer.htmx_get(str(panel["hx-get"])), "#delivery-panel")
    assert not panel.has_attr("hx-trigger")
    assert not one(panel, "#panel-title").has_attr("autofocus"), "a poll must not take the focus"
    assert "HX-Push-Url" not in viewer.last.headers


def test_a_message_whose_service_asked_for_a_pause_says_so(
    viewer: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now)
    row = make_channel(config={"url": "https://hooks.example.org/backup", "method": "POST"})
    delivery_id = make_delivery(State.QUEUED, channel_id=row.id, next_attempt_at=now)
    path = f"/deliveries/{delivery_id}"
    assert "Waiting for its turn" in words(viewer.get(path))
    with transaction() as session:
        rates.block(session.connection(), row, now + timedelta(hours=3))
    shown = words(viewer.get(path))
    assert "Next try in 3 h Its service asked for a pause." in shown
    assert "Try 1 in 3 h" in shown
    now += timedelta(hours=3)
    assert "Waiting for its turn" in words(viewer.get(path))


def test_operators_see_the_message_and_viewers_do_not(operator: Browser, viewer: Browser) -> None:
    rendered = {"content_type": "text/plain", "method": "POST", "body": "<b>Secret</b> facts"}
    delivery_id = make_delivery(rendered=rendered, channel_type="unknown", attempts=1)
    make_attempt(delivery_id, outcome="sent")
    page = operator.get(f"/deliveries/{delivery_id}")
    assert "<b>Secret</b> facts" in words(one(page, "#delivery-panel"))
    assert page.select("#delivery-panel .excerpt b") == []
    seen = viewer.get(f"/deliveries/{delivery_id}")
    assert "Secret" not in words(seen)
    assert "Operators and admins see the message itself." in words(seen)
    assert seen.select("#delivery-panel form") == []


# Resend, Stop retrying --------------------------------------------------------------------------


def test_resend_answers_with_the_panel_a_toast_and_a_link_to_the_copy(operator: Browser) -> None:
    channel = make_channel(name="#db-backups")
    old = make_delivery("failed", channel_id=channel.id, channel_name="#db-backups", attempts=1)
    answer = operator.htmx_post(f"/deliveries/{old}/resend")
    assert triggers(operator) == {
        "toast": {"text": "Queued again for #db-backups", "kind": "ok"},
        "deliveries-changed": True,
    }
    assert "Sent again as Delivery" in words(one(answer, "#delivery-panel"))
    assert one(answer, "#nav-attention")["hx-swap-oob"] == "true"
    assert states() == ["failed", "queued"]


def test_resend_and_stop_work_without_javascript(operator: Browser) -> None:
    channel = make_channel()
    old = make_delivery("expired", channel_id=channel.id)
    operator.post(f"/deliveries/{old}/resend")
    assert operator.last.headers["Location"] == f"/deliveries/{old}"
    assert "Queued again for Ops alerts" in words(one(operator.follow(), ".main"))
    copy = delivery_detail.detail(old, with_message=False).resent_as
    operator.post(f"/deliveries/{copy}/cancel")
    page = operator.follow()
    assert "Stopped retrying Ops alerts" in words(one(page, ".main"))
    assert states() == ["expired", "cancelled"]


def test_stop_retrying_takes_its_button_away(operator: Browser) -> None:
    delivery_id = make_delivery("retrying", channel_id=make_channel().id)
    page = operator.get(f"/deliveries/{delivery_id}")
    assert [words(button) for button in page.select("#delivery-panel form button")] == [
        "Resend now",
        "Stop retrying",
    ]
    answer = operator.htmx_post(f"/deliveries/{delivery_id}/cancel")
    assert "Cancelled" in words(one(answer, "#delivery-panel"))
    assert [words(button) for button in answer.select("form button")] == ["Resend now"]


def test_a_second_resend_says_that_it_is_queued_already(operator: Browser) -> None:
    old = make_delivery("failed", channel_id=make_channel().id)
    operator.htmx_post(f"/deliveries/{old}/resend")
    operator.htmx_post(f"/deliveries/{old}/resend", status=409)
    assert "It is queued again already." in triggers(operator)["toast"]["text"]
    assert states() == ["failed", "queued"]


def test_resend_failed_queues_everything_given_up_since(operator: Browser) -> None:
    channel = make_channel()
    for state in ("failed", "expired", "sent"):
        make_delivery(state, channel_id=channel.id)
    form = one(operator.get("/deliveries"), "#resend-failed form")
    operator.post(str(form["action"]), {"since": "24h"})
    assert "2 deliveries queued again" in words(one(operator.follow(), ".main"))
    operator.post(str(form["action"]), {"since": "24h"})
    assert "No failed delivery in that time can be resent" in words(operator.follow())


@pytest.mark.parametrize("path", ["resend", "cancel"])
def test_viewers_change_nothing(viewer: Browser, path: str) -> None:
    delivery_id = make_delivery("retrying", channel_id=make_channel().id)
    viewer.htmx_post(f"/deliveries/{delivery_id}/{path}", status=403)
    viewer.htmx_post("/deliveries/resend-failed", {"since": "24h"}, status=403)
    assert states() == ["retrying"]
    assert viewer.get("/deliveries").select("#resend-failed") == []


def test_the_menu_counts_what_needs_a_person(viewer: Browser) -> None:
    for _ in range(2):
        make_delivery("failed")
    assert words(one(viewer.get("/deliveries"), "#nav-attention")) == "2 need attention"


def test_the_menu_stops_counting_at_a_hundred(viewer: Browser) -> None:
    first = make_delivery("failed")
    with reading() as session:
        event_id = session.get_one(Delivery, first).event_id
    with transaction() as session:
        session.add_all(Delivery(event_id=event_id, state="failed") for _ in range(120))
    assert words(one(viewer.get("/deliveries"), "#nav-attention")) == "100+ need attention"


def test_one_of_the_recipients_of_a_channel_is_named_and_is_no_direct_mail(
    admin: Browser,
) -> None:
    delivery_id = make_delivery(recipient="+15551234567", channel_type="sms")
    row = words(one(admin.get("/deliveries"), f"#delivery-{delivery_id}"))
    assert "· to +15551234567" in row
    panel = words(admin.get(f"/deliveries/{delivery_id}"))
    assert "To +15551234567" in panel
    assert "irect mail" not in row + panel
