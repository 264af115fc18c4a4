"""Samples through channels that are not stored."""

import pytest

from tests.servers.http import Peer
from tests.servers.smtp import MailServer
from webapp.notify.channels import BY_TYPE, CHANNELS
from webapp.notify.channels.base import Channel
from webapp.services import channel_samples

pytestmark = pytest.mark.usefixtures("app")

WEBHOOK = BY_TYPE["webhook"]


def hook(url: str, **more: str) -> dict[str, str]:
    return {"url": url, "method": "POST", "content_type": "application/json"} | more


def test_a_sample_names_the_channel_and_who_asked(peer: Peer) -> None:
    trial = channel_samples.send(WEBHOOK, hook(peer.url), "Ops alerts", "Mara Lindqvist")
    assert trial.ok
    assert trial.took.total_seconds() > 0
    body = peer.last.body.decode()
    assert "[Test] Ops alerts works" in body
    assert "Mara Lindqvist" in body


def test_an_answer_that_refuses_is_told_in_words_with_advice(peer: Peer) -> None:
    peer.answer(404, "no such hook")
    trial = channel_samples.send(WEBHOOK, hook(peer.url), "Ops alerts", "Mara")
    assert not trial.ok
    assert "404" in trial.words
    assert trial.excerpt == "no such hook"
    assert trial.advice


def test_a_secret_that_the_service_repeats_is_masked(peer: Peer) -> None:
    peer.answer(403, "wrong token hush-hush-token")
    config = hook(peer.url, headers="Authorization: hush-hush-token")
    trial = channel_samples.send(WEBHOOK, config, "Ops alerts", "Mara")
    assert trial.excerpt == "wrong token ***"


def test_a_reference_that_leads_nowhere_is_said_and_nothing_is_sent(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_SUCH_URL", raising=False)
    trial = channel_samples.send(WEBHOOK, hook("env:NO_SUCH_URL"), "Ops alerts", "Mara")
    assert not trial.ok
    assert "NO_SUCH_URL is not set" in trial.words
    assert peer.requests == []


def test_nobody_listening_is_a_result_and_no_error_of_ours() -> None:
    trial = channel_samples.send(WEBHOOK, hook("http://127.0.0.1:9/"), "Ops alerts", "Mara")
    assert not trial.ok
    assert trial.words


def test_a_mail_channel_sends_its_sample_to_its_recipients(mail_server: MailServer) -> None:
    form = BY_TYPE["email"].form()
    config = form.config() | {
        "host": mail_server.name,
        "port": mail_server.port,
        "security": "none",
        "sender": "dbackup@example.org",
        "recipients": ["ops@example.org"],
    }
    trial = channel_samples.send(BY_TYPE["email"], config, "Ops mail", "Mara")
    assert trial.ok, trial
    [mail] = mail_server.wait()
    assert list(mail.recipients) == ["ops@example.org"]


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda channel: channel.type)
def test_an_empty_form_draws_a_message_or_nothing(channel: type[Channel]) -> None:
    preview = channel_samples.draw(channel, channel.form().config())
    assert preview is None or preview.look


def test_the_sample_can_be_good_or_bad_news() -> None:
    config = hook("https://hooks.example.org/backup")
    failure = channel_samples.draw(WEBHOOK, config, "failure")
    success = channel_samples.draw(WEBHOOK, config, "success")
    assert failure is not None
    assert success is not None
    assert "Backup failed" in str(failure.data)
    assert "Backup successful" in str(success.data)
