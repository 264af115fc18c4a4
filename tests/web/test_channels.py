"""The Channels pages, with and without HTMX, for each role."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from bs4 import BeautifulSoup
from cryptography.fernet import Fernet
from sqlalchemy import select

from tests.browser import Browser
from tests.factories import make_channel, make_job
from tests.servers.http import Peer
from webapp.core.secrets import Sealer
from webapp.models.channel import ChannelRow
from webapp.models.delivery import Attempt, Delivery, EventRow, State
from webapp.models.routing import GlobalChannel, JobChannel
from webapp.notify.channels import CHANNELS
from webapp.services import channels, notification_settings
from webapp.services.transaction import reading, transaction
from webapp.web.channel_editor import OWN_NAMES

HOOK = "https://hooks.example.org/backup"
TOKEN = "https://discord.com/api/webhooks/117400000000000000/hush-hush-token-of-the-ops"


def webhook(**changes: str) -> dict[str, str]:
    """What the form of a Generic Webhook sends."""
    form = {"type": "webhook", "name": "Ops alerts", "url": HOOK}
    return form | {"method": "POST", "content_type": "application/json"} | changes


def all_channels() -> list[ChannelRow]:
    with reading() as session:
        return list(session.scalars(select(ChannelRow).order_by(ChannelRow.id)))


def stored(channel_id: int) -> ChannelRow:
    with reading() as session:
        return session.get_one(ChannelRow, channel_id)


def finish(channel_id: int, **outcome: Any) -> str:
    """Record the result of the channel's latest test; return the event's id."""
    with transaction() as session:
        delivery = session.scalars(
            select(Delivery).where(Delivery.channel_id == channel_id).order_by(Delivery.id.desc())
        ).first()
        assert delivery is not None
        delivery.state = outcome.pop("state")
        delivery.next_attempt_at = None
        session.add(
            Attempt(
                delivery_id=delivery.id,
                number=1,
                started_at=datetime(2026, 11, 17, tzinfo=UTC),
                duration_ms=182,
                **outcome,
            )
        )
        return delivery.event_id


def rows(page: BeautifulSoup) -> str:
    """Return the rows without their tokens, which hold the second they were made in."""
    found = page.select_one("#channel-rows")
    assert found is not None
    for token in found.select("input[name=csrf_token]"):
        token.decompose()
    return str(found)


# the list


def test_without_channels_the_page_says_why_one_is_needed(admin: Browser) -> None:
    page = admin.get("/channels")
    assert "nobody hears about a failure" in page.get_text()
    assert page.select_one('a[href="/channels/new"]')


def test_a_row_tells_what_the_channel_is_who_uses_it_and_how_it_does(admin: Browser) -> None:
    row = make_channel(
        name="Ops alerts", summary="hooks.example.org", last_delivered_at=datetime.now(UTC)
    )
    job = make_job()
    with transaction() as session:
        session.add(GlobalChannel(channel_id=row.id, position=0))
        session.add(JobChannel(job_id=job.id, channel_id=row.id))
    line = admin.get("/channels").select_one(f"#channel-{row.id}")
    assert line is not None
    words = line.get_text(" ", strip=True)
    for expected in ("Ops alerts", "Generic Webhook", "hooks.example.org", "1 job", "Healthy"):
        assert expected in words
    assert "3 events" in words  # those that are on by default
    assert "Yes" in words


def test_a_failing_channel_stands_above_the_list_with_what_to_do(admin: Browser) -> None:
    make_channel(
        name="Server room",
        failing_since=datetime(2026, 11, 16, 23, 10, tzinfo=UTC),
        failure_count=14,
        last_error="The server refuses the connection.",
        last_advice="Check that it is running.",
    )
    callout = admin.get("/channels").select_one(".callout-bad")
    assert callout is not None
    words = callout.get_text(" ", strip=True)
    assert "Server room has failed 14 times since" in words
    assert "Check that it is running." in words


@pytest.mark.parametrize("query", ["ROOM", "generic", "fernhill"])
def test_the_search_finds_by_name_service_and_shown_address(admin: Browser, query: str) -> None:
    found = make_channel(name="Server room", summary="push.fernhill.lan")
    other = make_channel(name="Night shift", type="email", summary="ops@example.org")
    page = admin.get(f"/channels?q={query}")
    assert page.select_one(f"#channel-{found.id}")
    assert not page.select_one(f"#channel-{other.id}")


def test_the_search_answers_htmx_with_the_same_rows_alone(admin: Browser) -> None:
    make_channel(name="Server room")
    whole = rows(admin.get("/channels?q=room"))
    assert rows(admin.htmx_get("/channels?q=room")) == whole
    assert json.loads(admin.last.headers["HX-Trigger"]) == {"announce": "1 channel"}


def test_a_search_without_result_offers_the_way_back(admin: Browser) -> None:
    make_channel()
    page = admin.get('/channels?q=<b>"nothing"')
    assert "No channel matches" in page.get_text()
    assert page.find("b", string="nothing") is None


# the form


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda channel: channel.type)
def test_every_type_has_a_form_a_preview_and_names_of_its_own(admin: Browser, channel: Any) -> None:
    page = admin.get(f"/channels/new?type={channel.type}")
    form = page.select_one("#channel-form")
    assert form is not None
    assert channel.label in form.get_text()
    assert page.select_one("#preview")
    assert not OWN_NAMES & {field.name for field in channel.form()}


def test_the_type_picker_keeps_the_name_that_was_typed(admin: Browser) -> None:
    part = admin.htmx_get("/channels/new?type=discord&name=Ops+alerts")
    assert part.select_one('#channel-form input[name="name"][value="Ops alerts"]')
    assert part.select_one("#channel-side[hx-swap-oob]")


def test_a_new_channel_is_stored_and_listed(admin: Browser) -> None:
    admin.post("/channels", webhook(is_global="y"))
    assert admin.last.headers["Location"] == "/channels"
    page = admin.follow()
    assert "Ops alerts added" in page.get_text()
    [row] = all_channels()
    assert channels.config_of(row)["url"] == HOOK
    with reading() as session:
        assert session.get(GlobalChannel, row.id) is not None


def test_htmx_is_sent_to_the_list_after_saving(admin: Browser) -> None:
    admin.htmx_post("/channels", webhook(), 204)
    assert admin.last.headers["HX-Redirect"] == "/channels"


def test_a_wrong_form_comes_back_with_a_summary_that_links_to_the_fields(admin: Browser) -> None:
    part = admin.htmx_post("/channels", webhook(name="", url="ftp://nowhere"), 422)
    summary = part.select_one("#form-errors")
    assert summary is not None
    assert "Channel not saved. Fix 2 fields" in summary.get_text(" ", strip=True)
    assert [link["href"] for link in summary.select("a")] == ["#name", "#url"]
    for name in ("name", "url"):
        control = part.select_one(f"#{name}[aria-invalid=true]")
        assert control is not None
        assert part.select_one(f"#{name}-error")
        assert f"{name}-error" in str(control["aria-describedby"])
    assert all_channels() == []


def test_a_taken_name_says_which_one_is_free(admin: Browser) -> None:
    make_channel(name="Ops alerts")
    page = admin.post("/channels", webhook(name="ops alerts"), 422)
    assert "Another channel is called “Ops alerts”" in page.get_text()
    assert "“Ops alerts (2)”" in page.get_text()


def test_a_secret_is_never_shown_again(admin: Browser) -> None:
    admin.post("/channels", {"type": "discord", "name": "Ops", "webhook_url": TOKEN})
    [row] = all_channels()
    assert channels.config_of(row)["webhook_url"] == TOKEN
    for path in ("/channels", f"/channels/{row.id}", f"/channels/{row.id}/delete"):
        admin.get(path)
        assert "hush-hush-token" not in admin.last.text
    assert "Stored encrypted" in admin.get(f"/channels/{row.id}").get_text()


def test_a_strange_address_is_saved_with_a_warning(admin: Browser) -> None:
    url = (
        "https://flows.example.org/workflows/0a1b/triggers/manual/paths/invoke?api-version=1&sig=x"
    )
    form = {"type": "teams", "name": "Ops", "workflow_url": url, "body_mode": "message"}
    admin.post("/channels", form)
    assert "flows.example.org is no host of Microsoft" in admin.get("/channels").get_text()
    [row] = all_channels()
    page = admin.get(f"/channels/{row.id}")
    assert "flows.example.org is no host of Microsoft" in page.get_text()


def test_a_blank_secret_keeps_the_stored_one(admin: Browser) -> None:
    admin.post("/channels", {"type": "discord", "name": "Ops", "webhook_url": TOKEN})
    [row] = all_channels()
    admin.post(f"/channels/{row.id}", {"name": "Renamed", "version": "1", "webhook_url": ""})
    again = stored(row.id)
    assert again.name == "Renamed"
    assert channels.config_of(again)["webhook_url"] == TOKEN


def test_a_reference_is_shown_as_the_reference_it_is(admin: Browser) -> None:
    admin.post("/channels", {"type": "discord", "name": "Ops", "webhook_url": "env:DISCORD_OPS"})
    [row] = all_channels()
    field = admin.get(f"/channels/{row.id}").select_one("#secret-webhook_url")
    assert field is not None
    assert "from env:DISCORD_OPS" in " ".join(field.get_text(" ").split())


def test_a_secret_sent_with_another_wrong_field_need_not_be_typed_again(admin: Browser) -> None:
    form = {"type": "discord", "name": "", "webhook_url": TOKEN}
    page = admin.post("/channels", form, 422)
    assert "hush-hush-token" not in admin.last.text
    assert "Kept encrypted" in page.get_text()
    draft = page.select_one("input[name=draft]")
    assert draft is not None
    again = {"type": "discord", "name": "Ops", "webhook_url": "", "draft": str(draft["value"])}
    admin.post("/channels", again)
    assert channels.config_of(all_channels()[0])["webhook_url"] == TOKEN


def test_a_wrong_secret_is_not_kept(admin: Browser) -> None:
    form = {"type": "discord", "name": "", "webhook_url": "not an address"}
    page = admin.post("/channels", form, 422)
    assert page.select_one("input[name=draft]") is None


def test_a_stale_edit_keeps_what_was_typed_and_can_be_sent_again(admin: Browser) -> None:
    row = make_channel(name="Ops")
    admin.post(f"/channels/{row.id}", webhook(name="Theirs", version="1"))
    page = admin.post(f"/channels/{row.id}", webhook(name="Mine", version="1"), 422)
    assert "Somebody else changed this channel" in page.get_text()
    assert page.select_one('input[name="name"][value="Mine"]')
    version = page.select_one("input[name=version]")
    assert version is not None
    admin.post(f"/channels/{row.id}", webhook(name="Mine", version=str(version["value"])))
    assert stored(row.id).name == "Mine"


def test_a_channel_whose_key_was_lost_can_be_entered_anew(admin: Browser) -> None:
    row = make_channel(name="Ops")
    with transaction() as session:
        lost = Sealer([Fernet.generate_key().decode()]).seal({"url": HOOK})
        session.get_one(ChannelRow, row.id).config = lost
    assert "encryption_keys" in admin.get(f"/channels/{row.id}").get_text()
    admin.post(f"/channels/{row.id}", webhook(name="Ops", version="1"))
    assert channels.config_of(stored(row.id))["url"] == HOOK


def test_a_channel_that_is_gone_is_said_to_be_gone(admin: Browser) -> None:
    assert "deleted" in admin.get("/channels/4711", 404).get_text()


# switching


def test_the_switch_redraws_its_row_and_says_what_is_true_now(admin: Browser) -> None:
    row = make_channel(name="Night shift")
    part = admin.htmx_post(f"/channels/{row.id}/toggle", {"enabled": "0"})
    switch = part.select_one(f"tr#channel-{row.id} button[role=switch]")
    assert switch is not None
    assert switch["aria-checked"] == "false"
    assert json.loads(admin.last.headers["HX-Trigger"])["toast"] == {
        "text": "Night shift turned off",
        "kind": "ok",
    }
    assert not stored(row.id).enabled


def test_turning_off_what_events_rely_on_names_them_with_a_link(admin: Browser) -> None:
    row = make_channel(name="Ops")
    for key in ("restore_failure", "system_error"):
        notification_settings.choose_channels(key, [row.id])
    admin.htmx_post(f"/channels/{row.id}/toggle", {"enabled": "0"})
    toast = json.loads(admin.last.headers["HX-Trigger"])["toast"]
    assert toast["text"] == "Ops turned off. 2 events now have no channel."
    assert toast["action"]["href"] == "/settings/notifications"


def test_switching_works_without_javascript(admin: Browser) -> None:
    row = make_channel(name="<Ops>")
    notification_settings.choose_channels("restore_failure", [row.id])
    admin.post(f"/channels/{row.id}/toggle", {"enabled": "0"})
    assert admin.last.headers["Location"] == f"/channels#channel-{row.id}"
    callout = admin.follow().select_one(".callout")
    assert callout is not None
    assert "<Ops> turned off. 1 event now has no channel" in callout.get_text(" ", strip=True)
    assert callout.select_one('a[href="/settings/notifications"]')


def test_the_menu_adds_to_the_global_channels_and_takes_away(admin: Browser) -> None:
    row = make_channel()
    assert (
        "Remove from global"
        in admin.htmx_post(f"/channels/{row.id}/global", {"global": "1"}).get_text()
    )
    admin.post(f"/channels/{row.id}/global", {"global": "0"})
    with reading() as session:
        assert session.get(GlobalChannel, row.id) is None


# deleting


def test_deleting_asks_first_and_names_everything_that_uses_the_channel(admin: Browser) -> None:
    row, job = make_channel(name="Ops"), make_job(name="nightly-orders")
    notification_settings.choose_channels("restore_failure", [row.id])
    with transaction() as session:
        session.add(GlobalChannel(channel_id=row.id, position=0))
        session.add(JobChannel(job_id=job.id, channel_id=row.id))
    words = admin.get(f"/channels/{row.id}/delete").get_text(" ", strip=True)
    for expected in ("Global Channels", "Restore Failed", "nightly-orders", "Turn off instead"):
        assert expected in words
    assert "Nobody will be told about" in words


def test_deleting_removes_it_everywhere(admin: Browser) -> None:
    row = make_channel(name="Ops")
    notification_settings.choose_channels("restore_failure", [row.id])
    admin.post(f"/channels/{row.id}/delete", {"everywhere": "1"})
    assert "Ops deleted" in admin.follow().get_text()
    assert all_channels() == []


def test_a_channel_that_came_into_use_is_not_deleted_unasked(admin: Browser) -> None:
    row = make_channel()
    notification_settings.choose_channels("restore_failure", [row.id])
    admin.post(f"/channels/{row.id}/delete")
    assert admin.last.headers["Location"] == f"/channels/{row.id}/delete"
    assert len(all_channels()) == 1


# tests


def test_test_shows_a_strip_that_polls_until_it_is_done(admin: Browser) -> None:
    row = make_channel(name="Ops")
    part = admin.htmx_post(f"/channels/{row.id}/test")
    assert part.select_one(f"tr#channel-{row.id}-test")
    strip = part.select_one(f"#channel-{row.id}-strip[aria-busy=true]")
    assert strip is not None
    assert strip["hx-trigger"] == "every 1s"
    poll = str(strip["hx-get"])
    finish(row.id, state=State.SENT, outcome="sent", message="The server answered 200.")
    done = admin.htmx_get(poll).select_one(f"#channel-{row.id}-strip")
    assert done is not None
    assert "hx-trigger" not in done.attrs
    assert "Test sent in 182 ms" in done.get_text(" ", strip=True)
    assert json.loads(admin.last.headers["HX-Trigger"]) == {"announce": "Test of Ops: sent"}


def test_a_failed_test_says_why_what_to_do_and_where(admin: Browser) -> None:
    row = make_channel(name="Ops")
    admin.htmx_post(f"/channels/{row.id}/test")
    event_id = finish(
        row.id,
        state=State.FAILED,
        outcome="permanent",
        message="404: Unknown Webhook.",
        advice="Create a new one there.",
        excerpt="<script>",
    )
    part = admin.htmx_get(f"/channels/{row.id}/tests/{event_id}")
    words = part.get_text(" ", strip=True)
    assert "Test failed" in words
    assert "404: Unknown Webhook. Create a new one there." in words
    assert part.select_one(f'a[href="/channels/{row.id}"]')
    assert part.find("script") is None


def test_closing_leaves_an_empty_row_for_the_next_test(admin: Browser) -> None:
    row = make_channel()
    admin.htmx_post(f"/channels/{row.id}/test")
    event_id = finish(row.id, state=State.SENT, outcome="sent")
    part = admin.htmx_get(f"/channels/{row.id}/tests/{event_id}/close")
    assert part.select_one(f"tr#channel-{row.id}-test[hidden]")


def test_a_test_works_without_javascript(admin: Browser) -> None:
    row = make_channel(name="Ops")
    admin.post(f"/channels/{row.id}/test")
    page = admin.follow()
    strip = page.select_one(f"#channel-{row.id}-test .strip")
    assert strip is not None
    refresh = strip.select_one("noscript a")
    assert refresh is not None
    finish(row.id, state=State.SENT, outcome="sent", message="The server answered 200.")
    admin.get(str(refresh["href"]), 303)
    assert "Test sent in 182 ms" in admin.follow().get_text(" ", strip=True)


def test_a_draft_is_sent_as_typed_and_nothing_is_stored(admin: Browser, peer: Peer) -> None:
    part = admin.htmx_post("/channels/test", webhook(url=f"{peer.url}/hook"))
    strip = part.select_one("#draft-test")
    assert strip is not None
    assert "Test sent" in strip.get_text()
    assert "Ops alerts" in peer.last.body.decode()
    assert all_channels() == []
    with reading() as session:
        assert session.scalars(select(EventRow).where(EventRow.type == "channel_test")).all() == []


def test_a_failed_draft_shows_the_words_of_the_service_and_what_to_do(
    admin: Browser, peer: Peer
) -> None:
    peer.answer(404, "no such hook")
    part = admin.htmx_post("/channels/test", webhook(url=f"{peer.url}/hook"))
    words = part.get_text(" ", strip=True)
    assert "Test failed" in words
    assert "404" in words
    assert "no such hook" in words
    assert part.select_one('a[href="#troubles"]')


def test_a_draft_is_checked_before_it_is_sent(admin: Browser) -> None:
    part = admin.htmx_post("/channels/test", webhook(name="", url="nonsense"), 422)
    assert admin.last.headers["HX-Retarget"] == "#channel-form"
    summary = part.select_one("#form-errors")
    assert summary is not None
    assert "Test not sent. Fix 2 fields" in summary.get_text(" ", strip=True)


def test_a_draft_of_a_stored_channel_uses_the_stored_secret(admin: Browser, peer: Peer) -> None:
    row = make_channel(
        name="Ops", config={"url": f"{peer.url}/old", "headers": "Authorization: hush-hush"}
    )
    form = webhook(name="Ops", url=f"{peer.url}/new", channel_id=str(row.id), version="1")
    admin.htmx_post("/channels/test", form)
    assert peer.last.path == "/new"
    assert peer.last.headers["authorization"] == "hush-hush"
    assert channels.config_of(stored(row.id))["url"] == f"{peer.url}/old"


def test_a_draft_can_be_tested_without_javascript(admin: Browser, peer: Peer) -> None:
    page = admin.post("/channels/test", webhook(url=f"{peer.url}/hook"), 200)
    assert page.select_one('input[name="name"][value="Ops alerts"]')
    strip = page.select_one("#draft-test")
    assert strip is not None
    assert "Test sent" in strip.get_text()


def test_the_preview_is_drawn_without_a_call(admin: Browser, peer: Peer) -> None:
    part = admin.htmx_post("/channels/preview", webhook(url=f"{peer.url}/hook", sample="success"))
    preview = part.select_one("#preview")
    assert preview is not None
    assert "Backup successful" in preview.get_text()
    assert part.select_one("#sample-success[checked]")
    assert peer.requests == []


def test_the_preview_without_javascript_keeps_the_form_and_its_secrets(admin: Browser) -> None:
    page = admin.post("/channels/preview", webhook(sample="success"), 200)
    assert page.select_one('input[name="name"][value="Ops alerts"]')
    assert page.select_one("input[name=draft]")
    preview = page.select_one("#preview")
    assert preview is not None
    assert "Backup successful" in preview.get_text()
    assert all_channels() == []


def test_a_secret_that_was_never_checked_is_not_kept(admin: Browser) -> None:
    page = admin.post("/channels/preview", webhook(url="not an address"), 200)
    assert page.select_one("input[name=draft]") is None


# roles


def test_an_operator_may_test_but_not_change(operator: Browser) -> None:
    row = make_channel(summary="hooks.example.org")
    page = operator.get("/channels")
    assert "hooks.example.org" in page.get_text()
    assert not page.select("[role=switch]")
    assert not page.select(f'a[href="/channels/{row.id}"]')
    operator.post(f"/channels/{row.id}/test")
    for path in ("toggle", "global", "delete"):
        operator.post(f"/channels/{row.id}/{path}", status=403)
    operator.get(f"/channels/{row.id}", 403)
    operator.post("/channels/test", webhook(), 403)


def test_a_viewer_sees_channels_without_their_values(viewer: Browser) -> None:
    row = make_channel(
        name="Ops",
        summary="hooks.example.org",
        failing_since=datetime(2026, 11, 16, tzinfo=UTC),
        last_error="hooks.example.org refused",
    )
    page = viewer.get("/channels")
    assert "Ops" in page.get_text()
    assert "hooks.example.org" not in page.get_text()
    assert not viewer.get("/channels?q=hooks").select(f"#channel-{row.id}")
    viewer.post(f"/channels/{row.id}/test", status=403)


# fallback


def test_the_form_offers_every_other_channel_as_fallback_and_keeps_the_choice(
    admin: Browser,
) -> None:
    spare = make_channel(name="On-call")
    off = make_channel(name="Old room", enabled=False)
    admin.post("/channels", webhook(fallback_id=str(spare.id)))
    [row] = [each for each in all_channels() if each.name == "Ops alerts"]
    assert row.fallback_id == spare.id
    page = admin.get(f"/channels/{row.id}")
    options = page.select("#fallback_id option")
    assert [option.get_text() for option in options] == ["None", "Old room (off)", "On-call"]
    assert [option["value"] for option in options if option.has_attr("selected")] == [str(spare.id)]
    assert "Fallback: On-call" in admin.get("/channels").get_text()
    deleting = admin.get(f"/channels/{spare.id}/delete").get_text()
    assert "Ops alerts will have no fallback channel." in deleting
    assert "no fallback" not in admin.get(f"/channels/{off.id}/delete").get_text()


def test_a_form_without_the_field_leaves_the_fallback_alone(admin: Browser) -> None:
    spare = make_channel()
    row = make_channel(fallback_id=spare.id)
    admin.post(f"/channels/{row.id}", webhook(version=str(row.version)))
    assert stored(row.id).fallback_id == spare.id


def test_a_fallback_that_is_gone_comes_back_as_an_error_of_its_field(admin: Browser) -> None:
    page = admin.post("/channels", webhook(fallback_id="4711"), status=422)
    error = page.select_one("#fallback_id-error")
    assert error is not None
    assert "deleted meanwhile" in error.get_text()
