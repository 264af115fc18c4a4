"""Presets of the generic webhook, sent to peers that take calls as the services do."""

from collections.abc import Iterator
from typing import Any

import pytest
from werkzeug.datastructures import MultiDict

from tests.notify.samples import (
    EVENT_ID,
    HOSTILE,
    LONG_ERROR,
    failure,
    hostile,
    message_of,
    success,
)
from tests.servers import presets as service
from webapp.core.errors import PermanentError, TransientError
from webapp.notify import presets
from webapp.notify.channels.webhook import Webhook, WebhookForm
from webapp.notify.events import BY_TYPE, EVENTS
from webapp.notify.message import Message, Severity
from webapp.notify.outbound import Outbound

WAY_OUT = Outbound(allow_private_networks="self-hosted", ca_file=None)
JOB = {"thread": "job-17"}


@pytest.fixture
def pagerduty() -> Iterator[service.PagerDuty]:
    with service.PagerDuty() as peer:
        yield peer


@pytest.fixture
def kuma() -> Iterator[service.UptimeKuma]:
    with service.UptimeKuma() as peer:
        yield peer


@pytest.fixture
def checks() -> Iterator[service.Healthchecks]:
    with service.Healthchecks() as peer:
        yield peer


def send(preset: str, url: str, message: Message, **changes: Any) -> Any:
    channel = Webhook({"preset": preset, "url": url, "routing_key": service.KEY} | changes)
    return channel.send(channel.render(message), WAY_OUT, {})


def page(peer: service.PagerDuty, message: Message, **changes: Any) -> Any:
    return send("pagerduty", f"{peer.url}/v2/enqueue", message, **changes)


def push(peer: service.UptimeKuma, message: Message) -> Any:
    return send(
        "uptime_kuma", f"{peer.url}/api/push/{service.PUSH_TOKEN}?status=up&msg=OK", message
    )


def ping(peer: service.Healthchecks, message: Message, end: str = "") -> Any:
    return send("healthchecks", f"{peer.url}/ping/{service.CHECK}{end}", message)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type)
def test_every_service_takes_every_event(
    pagerduty: service.PagerDuty,
    kuma: service.UptimeKuma,
    checks: service.Healthchecks,
    event: Any,
) -> None:
    message = message_of(event)
    assert page(pagerduty, message).status == "202"
    assert push(kuma, message).status == "200"
    assert ping(checks, message).status == "200"
    assert (len(kuma.beats), len(checks.pings)) == (1, 1)


@pytest.mark.parametrize("value", [*HOSTILE, LONG_ERROR])
def test_every_service_takes_every_text(
    pagerduty: service.PagerDuty,
    kuma: service.UptimeKuma,
    checks: service.Healthchecks,
    value: str,
) -> None:
    page(pagerduty, hostile(value))
    push(kuma, hostile(value))
    ping(checks, hostile(value))
    assert pagerduty.alerts == 1
    [(status, said)] = kuma.beats
    assert status == "down"
    assert len(said) <= 250
    assert kuma.last.path.isascii()
    assert len(checks.last.body) <= 10_000


def test_an_alert_of_a_job_is_opened_once_and_resolved_by_its_success(
    pagerduty: service.PagerDuty,
) -> None:
    page(pagerduty, failure(**JOB))
    page(pagerduty, failure(**JOB, event_id="another-event"))
    assert pagerduty.alerts == 1
    assert list(pagerduty.open) == ["DBackup/job-17"]
    page(pagerduty, success(thread="job-18"))
    assert len(pagerduty.open) == 1
    page(pagerduty, success(**JOB))
    assert pagerduty.open == {}


def test_a_test_resolves_no_real_alert(pagerduty: service.PagerDuty) -> None:
    page(pagerduty, failure(**JOB))
    page(pagerduty, success(**JOB, is_test=True))
    assert list(pagerduty.open) == ["DBackup/job-17"]


def test_events_without_a_job_are_alerts_of_their_own(pagerduty: service.PagerDuty) -> None:
    page(pagerduty, message_of(BY_TYPE["system_error"]))
    assert list(pagerduty.open) == [f"DBackup/{EVENT_ID}"]


@pytest.mark.parametrize(
    ("severity", "theirs"),
    [
        (Severity.INFO, "info"),
        (Severity.WARNING, "warning"),
        (Severity.FAILURE, "error"),
        (Severity.CRITICAL, "critical"),
    ],
)
def test_pagerduty_hears_the_severity(
    pagerduty: service.PagerDuty, severity: Severity, theirs: str
) -> None:
    page(pagerduty, failure(severity=severity, **JOB))
    [event] = pagerduty.open.values()
    assert event["payload"]["severity"] == theirs
    assert event["payload"]["summary"].startswith("Backup failed: nightly-orders: ")
    assert event["links"][0]["href"] == failure().link


def test_a_key_that_pagerduty_does_not_know_breaks_the_channel(
    pagerduty: service.PagerDuty,
) -> None:
    with pytest.raises(PermanentError, match="Invalid routing key") as caught:
        page(pagerduty, failure(), routing_key="f" * 32)
    assert caught.value.status == "400 / invalid event"
    assert caught.value.breaks_channel
    assert "Events API v2" in caught.value.advice


def test_pagerduty_has_an_address_by_itself() -> None:
    channel = Webhook({"preset": "pagerduty", "url": "", "routing_key": service.KEY})
    assert channel.render(failure()).url == "https://events.pagerduty.com/v2/enqueue"
    assert channel.target == "webhook:events.pagerduty.com"
    assert service.KEY in channel.secrets
    assert Webhook.summarize(channel.config) == "PagerDuty events.pagerduty.com"


def test_kuma_is_told_up_or_down_whatever_the_pasted_url_says(kuma: service.UptimeKuma) -> None:
    push(kuma, failure(text="a&b=c\n#é"))
    push(kuma, success(text=""))
    assert kuma.last.method == "GET"
    assert [status for status, _ in kuma.beats] == ["down", "up"]
    assert kuma.beats[0][1] == "Backup failed: nightly-orders: a&b=c #é"


def test_a_paused_monitor_is_tried_again(kuma: service.UptimeKuma) -> None:
    kuma.paused = True
    with pytest.raises(TransientError, match="not active") as caught:
        push(kuma, failure())
    assert "Resume the monitor" in caught.value.advice


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (success(), "success"),
        (failure(), "fail"),
        (failure(severity=Severity.WARNING), "fail"),
        (failure(is_test=True), "log"),
        (message_of(BY_TYPE["user_login"]), "log"),
    ],
)
def test_a_check_hears_what_happened(
    checks: service.Healthchecks, message: Message, kind: str
) -> None:
    ping(checks, message)
    [(heard, body)] = checks.pings
    assert heard == kind
    assert message.title.encode() in body


def test_the_query_of_a_ping_url_stays(checks: service.Healthchecks) -> None:
    ping(checks, failure(), "?create=1")
    assert checks.last.path == f"/ping/{service.CHECK}/fail?create=1"


def test_the_end_of_an_error_reaches_the_check(checks: service.Healthchecks) -> None:
    ping(checks, failure(error=LONG_ERROR + "\nthe very last line"))
    assert b"the very last line" in checks.pings[0][1]


@pytest.mark.parametrize(
    ("path", "status"),
    [("/ping/unknown", "404 / not found"), ("/ping/key/twice", "409 / ambiguous slug")],
)
def test_a_wrong_ping_url_breaks_the_channel(
    checks: service.Healthchecks, path: str, status: str
) -> None:
    with pytest.raises(PermanentError) as caught:
        send("healthchecks", f"{checks.url}{path}", success())
    assert caught.value.status == status
    assert caught.value.breaks_channel
    assert caught.value.advice


@pytest.mark.parametrize("preset", ["pagerduty", "uptime_kuma", "healthchecks"])
def test_every_preset_can_be_previewed(preset: str) -> None:
    channel = Webhook({"preset": preset, "url": "https://h.example.org/x", "routing_key": "k"})
    rendered = channel.render(failure())
    assert Webhook.preview(rendered.body.decode(), rendered.content_type).look == "webhook"


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ({"preset": "pagerduty"}, "PagerDuty needs an integration key"),
        ({"preset": "pagerduty", "routing_key": "short"}, "32 letters and digits"),
        ({"preset": "", "routing_key": service.KEY, "url": "https://x.example.org"}, "Only PagerD"),
        ({"preset": "uptime_kuma"}, "Enter the URL"),
        ({"preset": "uptime_kuma", "url": "https://k.example.org/?m={{title}}"}, "fills the URL"),
        ({"preset": "made_up", "url": "https://x.example.org"}, "Not a valid choice"),
    ],
)
def test_mistakes_are_told_in_words(typed: dict[str, str], words: str) -> None:
    form = WebhookForm(MultiDict({"method": "POST", "content_type": "application/json"} | typed))
    assert not form.validate()
    assert words in str(form.errors)


def test_pagerduty_needs_no_more_than_a_key() -> None:
    form = WebhookForm(
        MultiDict(
            {
                "preset": "pagerduty",
                "routing_key": service.KEY,
                "method": "POST",
                "content_type": "application/json",
            }
        )
    )
    assert form.validate(), form.errors
    assert form.merged({})["url"] == ""


def test_keys_are_short_enough_whatever_the_instance_is_called() -> None:
    long = failure(instance="é" * 500, thread="job-17")
    assert len(presets.dedup_key(long)) <= 255
    assert presets.dedup_key(long).endswith("/job-17")
