"""Settings → Configuration backup in the browser."""

import json

from sqlalchemy import select, update

from tests.browser import Browser
from tests.factories import make_channel
from webapp.models.channel import ChannelRow
from webapp.models.delivery import EventRow
from webapp.notify.events.config_backup import ConfigBackup
from webapp.notify.message import Reader
from webapp.services.transaction import reading, transaction

URL = "/settings/configuration-backup"
PHRASE = "quiet rivers carry boats"
SEALED = {"secrets": "seal", "passphrase": PHRASE, "repeated": PHRASE}


def events() -> list[EventRow]:
    with reading() as session:
        return list(session.scalars(select(EventRow).where(EventRow.type != "user_login")))


def test_the_button_downloads_all_settings_and_publishes_it(admin: Browser) -> None:
    make_channel(name="Ops alerts")
    assert admin.get(URL).select_one("form input[name=passphrase][type=password]") is not None

    admin.post(URL, SEALED, 200)

    answer = admin.last
    assert answer.mimetype == "application/json"
    name = answer.headers["Content-Disposition"].removeprefix("attachment; filename=")
    document = json.loads(answer.data)
    assert [channel["name"] for channel in document["channels"]] == ["Ops alerts"]
    (event,) = events()
    assert event.type == "config_backup"
    assert event.payload["file"] == name
    assert event.payload["size"] == len(answer.data)
    assert event.payload["encrypted"] is True
    assert event.payload["destination"] == "Download by Mara Lindqvist"
    said = ConfigBackup.from_payload(event.payload).say(
        Reader(timezone="UTC", base_url="", instance="DBackup")
    )
    assert said.text == (
        "The settings of DBackup were saved as one file. Destination: Download by Mara Lindqvist."
    )


def test_secrets_can_be_left_out(admin: Browser) -> None:
    admin.post(URL, {"secrets": "leave_out", "passphrase": "", "repeated": ""}, 200)
    assert "sealed" not in json.loads(admin.last.data)
    assert events()[0].payload["encrypted"] is False


def test_mistakes_come_back_with_the_form_and_make_no_file(admin: Browser) -> None:
    page = admin.post(URL, SEALED | {"passphrase": "short", "repeated": "short"}, 422)
    assert "at least 12 characters" in page.select_one("#passphrase-error").text  # type: ignore[union-attr]
    page = admin.post(URL, SEALED | {"repeated": "something else"}, 422)
    assert "not the same passphrase" in page.select_one("#repeated-error").text  # type: ignore[union-attr]
    assert PHRASE not in admin.last.text
    assert events() == []


def test_a_failure_is_a_page_in_words_and_reaches_the_admins(admin: Browser) -> None:
    make_channel()
    with transaction() as session:
        session.execute(update(ChannelRow).values(config="gAAAAA"))
    page = admin.post(URL, SEALED, 422)
    assert "encryption keys" in page.text
    assert [event.type for event in events()] == ["system_error"]


def test_only_admins_get_here(operator: Browser, viewer: Browser) -> None:
    for browser in (operator, viewer):
        browser.get(URL, 403)
        browser.post(URL, SEALED, 403)
    assert URL not in operator.get("/settings/general").decode()
    assert events() == []
