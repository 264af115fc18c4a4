"""Generic webhook: the documented body, templates, signatures, answers."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from werkzeug.datastructures import MultiDict

from tests.notify.samples import (
    DELIVERY_ID,
    EVENT_ID,
    HOSTILE,
    LONG_ERROR,
    failure,
    hostile,
    success,
)
from tests.servers.http import Peer
from webapp.core import clock
from webapp.core.errors import PermanentError, SecretError, TransientError
from webapp.notify import signing
from webapp.notify.channels.webhook import VARIABLES, Webhook, WebhookForm
from webapp.notify.message import Message
from webapp.notify.outbound import Outbound

SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


def webhook(**changes: Any) -> Webhook:
    return Webhook({"url": "https://hooks.example.org/in"} | changes)


@pytest.fixture
def way_out() -> Outbound:
    return Outbound(allow_private_networks="self-hosted", ca_file=None)


def send(way_out: Outbound, peer: Peer, message: Message | None = None, **changes: Any) -> Any:
    channel = webhook(url=f"{peer.url}/in", **changes)
    return channel.send(channel.render(message or failure()), way_out, {})


def test_the_body_has_the_keys_that_receivers_know(peer: Peer, way_out: Outbound) -> None:
    send(way_out, peer)
    body = peer.last.json()
    assert list(body) == [
        "title", "message", "success", "color", "timestamp", "eventType", "fields", "id",
        "deliveryId", "severity", "instance", "link", "test", "error",
    ]  # fmt: skip
    assert body["title"] == "Backup failed: nightly-orders"
    assert (body["success"], body["test"], body["color"]) == (False, False, "#e74c3c")
    assert (body["id"], body["deliveryId"]) == (EVENT_ID, DELIVERY_ID)
    assert body["timestamp"] == "2026-03-01T02:15:04Z"
    assert body["eventType"] == "backup_failure"
    assert {"name": "Job", "value": "nightly-orders", "inline": True} in body["fields"]
    assert "connection to server was lost" in body["error"]


def test_every_call_names_its_delivery(peer: Peer, way_out: Outbound) -> None:
    send(way_out, peer)
    send(way_out, peer, method="GET")
    assert [call.headers["webhook-id"] for call in peer.requests] == [DELIVERY_ID] * 2


@pytest.mark.parametrize("value", [*HOSTILE, LONG_ERROR])
def test_the_body_is_small_and_valid_whatever_it_says(value: str) -> None:
    body = webhook().render(hostile(value)).body
    assert len(body) <= 20_000
    assert json.loads(body)["eventType"] == "backup_failure"


def test_a_long_error_keeps_its_beginning_and_its_end() -> None:
    error = json.loads(webhook().render(failure(error=LONG_ERROR + "\nlast")).body)["error"]
    assert error.startswith("line 0")
    assert error.endswith("last")
    assert f"cut, {len(LONG_ERROR) + 5} characters" in error


def test_headers_and_method_are_sent(peer: Peer, way_out: Outbound) -> None:
    send(way_out, peer, method="PUT", headers="X-Key: abc: def\nAuthorization: Bearer t0k3n-t0k3n")
    assert peer.last.method == "PUT"
    assert peer.last.headers["x-key"] == "abc: def"
    assert peer.last.headers["authorization"] == "Bearer t0k3n-t0k3n"
    assert peer.last.headers["content-type"] == "application/json"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_get_and_head_have_no_body(peer: Peer, way_out: Outbound, method: str) -> None:
    assert send(way_out, peer, method=method).status == "200"
    assert (peer.last.method, peer.last.body) == (method, b"")
    assert "content-type" not in peer.last.headers


@pytest.mark.parametrize("value", HOSTILE)
def test_a_template_stays_valid_json(value: str) -> None:
    template = '{"t": "{{title}}", "m": "{{ message }}", "ok": {{success}}, "f": {{fields}}}'
    body = json.loads(webhook(template=template).render(hostile(value)).body)
    assert body["ok"] is False
    assert isinstance(body["f"], list)


def test_values_are_not_searched_for_variables() -> None:
    body = webhook(template='{"t": "{{title}}"}').render(failure(title="{{message}} {{x}}")).body
    assert json.loads(body) == {"t": "{{message}} {{x}}"}


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("text/plain", 'a & "b"'),
        ("application/x-www-form-urlencoded", "a%20%26%20%22b%22"),
        ("application/xml", "a &amp; &quot;b&quot;"),
    ],
)
def test_templates_of_other_types_are_escaped_for_them(content_type: str, expected: str) -> None:
    channel = webhook(template="{{title}}", content_type=content_type)
    assert channel.render(failure(title='a & "b"')).body.decode() == expected


def test_variables_in_the_address_are_encoded(peer: Peer, way_out: Outbound) -> None:
    channel = webhook(url=f"{peer.url}/push?status={{{{status}}}}&msg={{{{title}}}}", method="GET")
    channel.send(channel.render(failure(title="a&b=c #é")), way_out, {})
    assert peer.last.path == "/push?status=down&msg=a%26b%3Dc%20%23%C3%A9"


@pytest.mark.parametrize("value", HOSTILE)
def test_an_address_with_hostile_values_stays_short(value: str) -> None:
    url = webhook(url="https://h.example.org/?m={{error}}").render(hostile(value)).url
    assert len(url) < 1000
    assert url.isascii()


def test_the_signature_fits_the_published_example() -> None:
    at = datetime.fromtimestamp(1772331304, UTC)
    body = (
        b'{"type":"backup.failed","timestamp":"2026-03-01T02:15:04Z",'
        b'"data":{"job":"nightly-orders"}}'
    )
    headers = signing.headers(SECRET, "msg_01JNX8TESTVECTOR", body, at)
    assert headers == {
        "webhook-timestamp": "1772331304",
        "webhook-signature": "v1,kNNne+S8YnnHdf7vmDs1gT9xMIh/zly57OGwwee8/Qw=",
    }


def test_the_signature_belongs_to_the_attempt(
    peer: Peer, way_out: Outbound, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    monkeypatch.setattr(clock, "now", lambda: now)
    channel = webhook(url=peer.url, signing_secret=SECRET)
    channel.send(channel.render(failure()), way_out, {})
    sent = peer.last
    expected = signing.headers(SECRET, sent.headers["webhook-id"], sent.body, now)
    assert sent.headers["webhook-signature"] == expected["webhook-signature"]
    assert sent.headers["webhook-timestamp"] == str(int(now.timestamp()))


@pytest.mark.parametrize(
    ("status", "breaks"),
    [
        (400, False),
        (401, True),
        (403, True),
        (404, True),
        (405, True),
        (410, True),
        (413, False),
        (422, False),
    ],
)
def test_refusals_for_good(peer: Peer, way_out: Outbound, status: int, breaks: bool) -> None:
    peer.answer(status, "the receiver's words")
    with pytest.raises(PermanentError) as caught:
        send(way_out, peer)
    assert caught.value.breaks_channel is breaks
    assert caught.value.excerpt == "the receiver's words"
    assert caught.value.status == str(status)
    assert caught.value.advice


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503])
def test_refusals_that_pass(peer: Peer, way_out: Outbound, status: int) -> None:
    peer.answer(status, retry_after="17")
    with pytest.raises(TransientError) as caught:
        send(way_out, peer)
    assert caught.value.retry_after == timedelta(seconds=17)
    assert caught.value.advice


def test_a_redirect_is_a_failure_that_names_the_host(peer: Peer, way_out: Outbound) -> None:
    peer.answer(302, location="https://login.example.net/secret-path?next=x")
    with pytest.raises(PermanentError, match=r"redirects to login\.example\.net") as caught:
        send(way_out, peer)
    assert "secret-path" not in str(caught.value)
    assert caught.value.advice
    assert len(peer.requests) == 1


def test_only_expected_codes_are_success(peer: Peer, way_out: Outbound) -> None:
    peer.answer(202)
    assert send(way_out, peer).status == "202"
    with pytest.raises(PermanentError):
        send(way_out, peer, expected_status="200, 204")


def test_secrets_are_masked_in_what_the_receiver_says(peer: Peer, way_out: Outbound) -> None:
    token = "Zx81-tok3n-Zx81"
    key = base64.b64encode(token.encode()).decode()
    peer.answer(400, f"bad {token} and {key} at /in/{token}")
    channel = webhook(url=f"{peer.url}/in/{token}", headers=f"Authorization: Bearer {token}")
    with pytest.raises(PermanentError) as caught:
        channel.send(channel.render(failure()), way_out, {})
    assert token not in caught.value.excerpt + str(caught.value)
    assert key.rstrip("=") not in caught.value.excerpt


def test_html_answers_are_told_as_text_and_long_ones_are_cut(peer: Peer, way_out: Outbound) -> None:
    peer.answer(
        500,
        "<html><head><style>x{}</style></head><body><h1>Bad &amp; sad</h1>" + "w " * 5000,
        headers={"Content-Type": "text/html"},
    )
    with pytest.raises(TransientError) as caught:
        send(way_out, peer)
    assert caught.value.excerpt.startswith("Bad & sad w")
    assert len(caught.value.excerpt) <= 2000


def test_a_template_that_makes_no_json_says_so() -> None:
    with pytest.raises(PermanentError, match="no valid JSON") as caught:
        webhook(template='{"a": {{title}}}').render(failure())
    assert caught.value.advice


def test_the_preview_shows_the_very_body() -> None:
    rendered = webhook().render(success())
    data = Webhook.preview(rendered.body.decode(), rendered.content_type).data
    assert json.loads(data["body"]) == json.loads(rendered.body)
    assert "\n" in data["body"]
    assert Webhook.preview("", "application/json").data["body"] == ""


FORM = {"url": "https://hooks.example.org/in", "method": "POST", "content_type": "application/json"}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"url": "http://nas.local:8080/x?m={{title}}"},
        {"url": "env:HOOK_URL"},
        {"headers": "X-Key: abc\nAuthorization: env:HOOK_TOKEN"},
        {"template": '{"text": "{{title}}: {{error}}", "ok": {{success}}, "f": {{fields}}}'},
        {"template": "anything {{title}}", "content_type": "text/plain"},
        {"signing_secret": SECRET},
        {"signing_secret": "file:/run/secrets/hook"},
        {"expected_status": "200, 204"},
    ],
)
def test_the_form_takes_what_is_right(changes: dict[str, str]) -> None:
    form = Webhook.form(MultiDict(FORM | changes))
    assert form.validate(), form.errors


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"url": ""}, "url"),
        ({"url": "ftp://x.example/"}, "url"),
        ({"url": "https://user:pass@x.example/"}, "url"),
        ({"url": "https://{{title}}.example/"}, "url"),
        ({"url": "https://x.example/{{nothing}}"}, "url"),
        ({"url": "https://x.example:99999/"}, "url"),
        ({"method": "DELETE"}, "method"),
        ({"headers": "no colon"}, "headers"),
        ({"headers": "Host: x"}, "headers"),
        ({"headers": "X-A: é"}, "headers"),
        ({"headers": "X A: b"}, "headers"),
        ({"headers": "X-A: " + "b" * 1001}, "headers"),
        ({"content_type": "json"}, "content_type"),
        ({"content_type": "text/plain\r\nX: y"}, "content_type"),
        ({"template": '{"t": {{title}}}'}, "template"),
        ({"template": '{"t": "{{titel}}"}'}, "template"),
        ({"template": "[" * 5000}, "template"),
        ({"template": "x" * 10_001, "content_type": "text/plain"}, "template"),
        ({"signing_secret": "short"}, "signing_secret"),
        ({"expected_status": "302"}, "expected_status"),
        ({"ca_file": "/there/is/none.pem"}, "ca_file"),
    ],
)
def test_the_form_says_what_is_wrong(changes: dict[str, str], wrong: str) -> None:
    form = Webhook.form(MultiDict(FORM | changes))
    assert not form.validate()
    assert set(form.errors) == {wrong}


def test_references_in_headers_are_replaced_when_the_channel_is_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOOK_TOKEN", "from-env")
    (tmp_path / "key").write_text("from-file\n")
    config = {
        "url": "https://x.example/",
        "headers": f"X-A: env:HOOK_TOKEN\nX-B: file:{tmp_path}/key",
    }
    assert Webhook.form.resolved(config)["headers"] == "X-A: from-env\nX-B: from-file"
    (tmp_path / "key").write_text("from-file\nX-C: of whoever writes that file\n")
    with pytest.raises(SecretError, match="X-B has several lines"):
        Webhook.form.resolved(config)


def test_the_summary_shows_the_host_only() -> None:
    url = "https://hooks.example.org/very/secret"
    assert Webhook.summarize({"url": url, "method": "PUT"}) == "PUT hooks.example.org"


def test_every_variable_is_known_in_body_and_address() -> None:
    template = " ".join(f"{{{{{name}}}}}" for name in VARIABLES)
    rendered = webhook(template=template, content_type="text/plain").render(failure())
    assert b"{{" not in rendered.body


OTHER_SECRET = "whsec_" + base64.b64encode(bytes(range(40, 72))).decode()


def test_two_secrets_are_live_while_receivers_change(peer: Peer, way_out: Outbound) -> None:
    send(way_out, peer, signing_secret=OTHER_SECRET, previous_secret=SECRET)
    call = peer.last
    signatures = call.headers["webhook-signature"].split(" ")
    signed = f"{DELIVERY_ID}.{call.headers['webhook-timestamp']}.".encode() + call.body
    for secret, signature in zip((OTHER_SECRET, SECRET), signatures, strict=True):
        digest = hmac.new(signing.key_of(secret), signed, hashlib.sha256).digest()
        assert signature == f"v1,{base64.b64encode(digest).decode()}"


def test_authorization_has_a_field_of_its_own(peer: Peer, way_out: Outbound) -> None:
    send(way_out, peer, authorization="Bearer t0k3n-t0k3n-t0k3n")
    assert peer.last.headers["authorization"] == "Bearer t0k3n-t0k3n-t0k3n"
    assert "Bearer t0k3n-t0k3n-t0k3n" in webhook(authorization="Bearer t0k3n-t0k3n-t0k3n").secrets
    assert "t0k3n-t0k3n-t0k3n" in webhook(authorization="Bearer t0k3n-t0k3n-t0k3n").secrets


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ({"authorization": "Bearer x", "headers": "authorization: y"}, "in one place"),
        ({"authorization": "Bearer é"}, "ASCII"),
    ],
)
def test_an_authorization_that_cannot_be_sent_is_refused(typed: dict[str, str], words: str) -> None:
    entered = {"url": "https://hooks.example.org", "method": "POST"}
    form = WebhookForm(MultiDict(entered | {"content_type": "application/json"} | typed))
    assert not form.validate()
    assert words in str(form.errors)
