"""SMS: numbers, length in segments, Twilio's codes, and no copy that nobody asked for."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import trustme
from werkzeug.datastructures import MultiDict

from tests.notify.samples import HOSTILE, LONG_ERROR, failure, hostile, message_of
from tests.servers import twilio as service
from tests.servers.fixtures import server_context
from tests.servers.names import Names
from webapp.core.errors import PermanentError, TransientError
from webapp.notify import gsm
from webapp.notify.channels.base import Receipt
from webapp.notify.channels.sms import Sms, SmsForm, normalized
from webapp.notify.events import EVENTS
from webapp.notify.message import Message
from webapp.notify.outbound import Outbound

TO = "+15551234567"
CONFIG = {
    "account_sid": service.ACCOUNT,
    "auth_token": service.TOKEN,
    "sender": service.OK,
    "recipients": [TO],
    "max_segments": 2,
}


@pytest.fixture
def twilio(authority: trustme.CA, names: Names) -> Iterator[service.Twilio]:
    host = "api.twilio.com"
    with service.Twilio(context=server_context(authority, host), name=host) as peer:
        names.lead(host, port=peer.port)
        yield peer


@pytest.fixture
def way_out(ca_file: Path) -> Outbound:
    return Outbound(allow_private_networks="all", ca_file=ca_file, total_seconds=2.0)


def sms(**changes: Any) -> Sms:
    return Sms(CONFIG | changes)


def text_of(message: Message, **changes: Any) -> str:
    body = sms(**changes).render(message).body.decode()
    return parse_qs(body, strict_parsing=True)["Body"][0]


def send(
    way_out: Outbound,
    message: Message | None = None,
    progress: dict[str, Any] | None = None,
    **changes: Any,
) -> Receipt:
    channel = sms(**changes)
    found = {} if progress is None else progress
    return channel.send(channel.render(message or failure()), way_out, found)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type)
def test_twilio_takes_every_event(twilio: service.Twilio, way_out: Outbound, event: Any) -> None:
    receipt = send(way_out, message_of(event))
    assert receipt.words == "Twilio answered 201: accepted, but not delivered yet."
    [billed] = twilio.billed
    assert (billed["To"], billed["From"]) == (TO, service.OK)
    assert message_of(event).title in billed["Body"]
    assert gsm.segments(billed["Body"]) <= 2


@pytest.mark.parametrize("value", [*HOSTILE, LONG_ERROR, "漢" * 500, "€" * 900, "😀x" * 300])
@pytest.mark.parametrize("most", [1, 2, 5, 10])
def test_no_text_takes_more_segments_than_wanted(value: str, most: int) -> None:
    text = text_of(hostile(value), max_segments=most)
    assert gsm.segments(text) <= most
    assert len(text) <= 1_600
    assert text.strip()


def test_title_link_and_id_come_before_everything_else() -> None:
    lines = text_of(failure(error="pg_dump: " + "x" * 5_000)).splitlines()
    assert lines[0] == "Backup failed: nightly-orders"
    assert lines[-1].startswith("https://backup.example.org/")
    assert lines[-1].endswith("#0000aaaa")


def test_only_a_short_tail_of_the_error_is_sent() -> None:
    error = "password is hunter2\n" + "y" * 200 + " last words"
    text = text_of(failure(error=error), max_segments=10)
    assert "hunter2" not in text
    assert "last words" in text


def test_secrets_are_masked_before_the_error_is_cut() -> None:
    text = text_of(failure(error=f"{service.TOKEN} was refused"), max_segments=10)
    assert service.TOKEN[-8:] not in text
    assert "***" in text


def test_a_quote_does_not_double_the_price() -> None:
    text = text_of(failure(title="“orders” – it’s late", text="", error=""))
    assert text.startswith('"orders" - it\'s late')
    assert gsm.is_gsm(text)


def test_letters_of_other_scripts_stay_readable() -> None:
    text = text_of(failure(title="备份失败: 订单"))
    assert "备份失败: 订单" in text
    assert gsm.segments(text) <= 2


def test_an_api_key_signs_in_and_the_account_stays_in_the_address(
    twilio: service.Twilio, way_out: Outbound
) -> None:
    send(way_out, api_key=service.KEY, auth_token=service.KEY_SECRET)
    assert service.ACCOUNT in twilio.last.path
    assert len(twilio.billed) == 1


def test_a_messaging_service_takes_the_place_of_the_number(
    twilio: service.Twilio, way_out: Outbound
) -> None:
    send(way_out, sender="MG" + "ab" * 16)
    assert twilio.billed[0]["MessagingServiceSid"] == "MG" + "ab" * 16
    assert "From" not in twilio.billed[0]


def test_the_message_of_one_recipient_goes_to_nobody_else(
    twilio: service.Twilio, way_out: Outbound
) -> None:
    send(way_out, failure(recipient="+15559999999"), recipients=[TO, "+15559999999"])
    assert [billed["To"] for billed in twilio.billed] == ["+15559999999"]


def test_a_sample_goes_to_everybody_and_a_repetition_only_to_who_is_left(
    twilio: service.Twilio, way_out: Outbound
) -> None:
    progress: dict[str, Any] = {}
    people = [TO, "+15005550009", "+15558888888"]
    with pytest.raises(PermanentError, match="21614"):
        send(way_out, None, progress, recipients=people)
    assert progress["accepted"] == [TO, "+15558888888"]
    with pytest.raises(PermanentError, match="21614"):
        send(way_out, None, progress, recipients=people)
    assert set(twilio.copies.values()) == {1}


@pytest.mark.parametrize(
    ("changes", "status", "breaks"),
    [
        ({"sender": "+15005550001"}, "400 / 21212", True),
        ({"sender": "+15005550007"}, "400 / 21606", True),
        ({"recipients": ["+15005550001"]}, "400 / 21211", False),
        ({"recipients": ["+15005550002"]}, "400 / 21612", False),
        ({"recipients": ["+15005550003"]}, "400 / 21408", False),
        ({"recipients": ["+15005550004"]}, "400 / 21610", False),
        ({"recipients": ["+15005550009"]}, "400 / 21614", False),
        ({"auth_token": "0" * 32}, "401 / 20003", True),
        ({"account_sid": "AC" + "f" * 32}, "404 / 20404", True),
    ],
)
def test_what_twilio_refuses_is_sorted_and_explained(
    twilio: service.Twilio, way_out: Outbound, changes: dict[str, Any], status: str, breaks: bool
) -> None:
    with pytest.raises(PermanentError) as caught:
        send(way_out, **changes)
    assert caught.value.status == status
    assert caught.value.breaks_channel is breaks
    assert caught.value.advice
    assert twilio.billed == []


@pytest.mark.parametrize(
    ("reply", "hours"),
    [
        (service.error(429, 20429, "Too Many Requests"), None),
        (service.error(429, 63038, "Account exceeded the daily messages limit"), 4),
        (service.error(400, 21611, "Queue full"), 1),
    ],
)
def test_what_was_never_sent_is_tried_again_as_often_as_needed(
    twilio: service.Twilio, way_out: Outbound, reply: Any, hours: int | None
) -> None:
    progress: dict[str, Any] = {}
    for _ in range(4):
        twilio.once(reply.status, reply.body)
        with pytest.raises(TransientError) as caught:
            send(way_out, None, progress)
    hint = caught.value.retry_after
    assert hint is None if hours is None else hint is not None and hint.seconds == hours * 3600
    assert "unanswered" not in progress


@pytest.mark.parametrize("manner", [{"delay": 6.0}, {"reset": True}, {"status": 500}])
def test_what_may_have_been_sent_is_tried_once_more_and_no_further(
    twilio: service.Twilio, way_out: Outbound, manner: dict[str, Any]
) -> None:
    progress: dict[str, Any] = {}
    twilio.answer(**manner)
    twilio.respond = lambda received: twilio._default  # type: ignore[method-assign]
    with pytest.raises(TransientError, match="tried once more only") as first:
        send(way_out, None, progress)
    assert first.value.maybe_sent
    with pytest.raises(PermanentError, match="may have been sent, so it is not tried again") as end:
        send(way_out, None, progress)
    assert not end.value.breaks_channel
    assert "press Resend" in end.value.advice


def test_a_copy_after_a_lost_answer_is_said(twilio: service.Twilio, way_out: Outbound) -> None:
    progress: dict[str, Any] = {}
    twilio.once(reset=True)
    with pytest.raises(TransientError):
        send(way_out, None, progress)
    assert "may arrive twice" in send(way_out, None, progress).words


def test_no_connection_is_no_try_that_counts(way_out: Outbound, names: Names) -> None:
    names.lead("api.twilio.com", port=1)
    progress: dict[str, Any] = {}
    for _ in range(3):
        with pytest.raises(TransientError, match="No connection"):
            send(way_out, None, progress)
    assert progress == {}


@pytest.mark.parametrize(
    ("typed", "number"),
    [
        ("+1 (555) 123-4567", "+15551234567"),
        ("0049 151 / 2345.678", "+491512345678"),
        ("+49 (0)151 2345678", "+491512345678"),
        ("\u202a+44\u00a020 7946 0000", "\u202a+442079460000"),
    ],
)
def test_numbers_are_written_as_the_network_wants_them(typed: str, number: str) -> None:
    assert normalized(typed) == number


def form_of(**typed: str) -> SmsForm:
    entered = {
        "account_sid": service.ACCOUNT,
        "auth_token": service.TOKEN,
        "sender": service.OK,
        "recipients": TO,
        "max_segments": "2",
    }
    return SmsForm(MultiDict(entered | typed))


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("+1 500 555-0006", "+15005550006"),
        ("MG" + "ab" * 16, "MG" + "ab" * 16),
        ("12345", "12345"),
        ("DBackup", "DBackup"),
        ("Ops 24x7", "Ops 24x7"),
    ],
)
def test_a_sender_is_one_of_four_kinds(typed: str, stored: str) -> None:
    form = form_of(sender=typed)
    assert form.validate(), form.errors
    assert form.merged({})["sender"] == stored


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ({"account_sid": "AC12"}, "AC and 32"),
        ({"auth_token": "short"}, "Enter the token"),
        ({"sender": "A much too long name"}, "at most 11"),
        ({"sender": "0151 2345678"}, "country's code"),
        ({"recipients": "0151 2345678"}, "country's code"),
        ({"recipients": ""}, "at least one"),
        ({"recipients": "\n".join(f"+1555000{n:04}" for n in range(21))}, "at most 20"),
        ({"api_key": "SKxyz"}, "SK and 32"),
        ({"max_segments": "11"}, "1 to 10"),
        ({"region": "ie1"}, "dublin.ie1"),
    ],
)
def test_mistakes_are_told_in_words(typed: dict[str, str], words: str) -> None:
    form = form_of(**typed)
    assert not form.validate()
    assert words in str(form.errors)


def test_recipients_may_be_typed_as_people_write_them() -> None:
    form = form_of(recipients="+1 555 123-4567,\r\n0044 20 7946 0000; +15551234567")
    assert form.validate(), form.errors
    assert form.merged({})["recipients"] == [TO, "+442079460000"]


def test_another_region_has_another_host() -> None:
    url = sms(region="dublin.ie1").render(failure()).url
    assert url.startswith("https://api.dublin.ie1.twilio.com/2010-04-01/Accounts/AC")


def test_a_long_message_takes_the_time_of_its_segments() -> None:
    [(target, rate)] = sms(max_segments=3).buckets
    assert rate.seconds == 3.0
    assert sms(sender="+15550000000").buckets[0][0] != target


def test_the_preview_tells_the_price() -> None:
    body = sms().render(failure()).body.decode()
    data = Sms.preview(body, "application/x-www-form-urlencoded").data
    assert data["to"] == TO
    assert "GSM-7, " in data["cost"]
    assert "segment" in data["cost"]
