"""The heartbeat: an address that is called while all is well, and never shown."""

from datetime import timedelta

import pytest
from flask import Flask

from tests.servers.http import Peer
from tests.services.test_health import waiting
from webapp.core.errors import InvalidError
from webapp.models.setting import Setting
from webapp.services import heartbeat, key_rotation
from webapp.services.transaction import reading

pytestmark = pytest.mark.usefixtures("app")


def address(peer: Peer) -> str:
    return f"{peer.url}/ping/very-secret-token"


def test_nobody_is_called_without_an_address() -> None:
    assert heartbeat.beat() is None


def test_the_address_is_called_while_all_is_well(peer: Peer) -> None:
    heartbeat.save(address(peer))
    beat = heartbeat.beat()
    assert beat is not None
    assert (beat.ok, beat.words) == (True, "It answered 200.")
    [request] = peer.wait(1)
    assert (request.method, request.path) == ("GET", "/ping/very-secret-token")


def test_it_is_not_called_while_a_message_waits_too_long(peer: Peer) -> None:
    heartbeat.save(address(peer))
    waiting(timedelta(minutes=11))
    beat = heartbeat.beat()
    assert beat is not None
    assert not beat.ok
    assert beat.words == "Not called: A message has been waiting for 11 min."
    assert peer.requests == []


def test_a_refusal_is_said_without_the_address(peer: Peer) -> None:
    heartbeat.save(address(peer))
    peer.answer(404)
    assert heartbeat.call().words == "It answered 404."
    heartbeat.save("http://127.0.0.1:9/very-secret-token")
    beat = heartbeat.call()
    assert not beat.ok
    assert "refused" in beat.words
    assert "very-secret-token" not in beat.words


def test_the_address_is_sealed_and_rotated(peer: Peer) -> None:
    heartbeat.save(address(peer))
    with reading() as session:
        before = session.get_one(Setting, heartbeat.KEY).value
    assert "very-secret-token" not in before
    assert heartbeat.shown().hint == "127.0.0.1"
    key_rotation.reseal()
    with reading() as session:
        assert session.get_one(Setting, heartbeat.KEY).value != before
    assert heartbeat.call().ok


def test_a_reference_is_followed(peer: Peer, monkeypatch: pytest.MonkeyPatch, app: Flask) -> None:
    monkeypatch.setenv("PING_URL", address(peer))
    heartbeat.save("env:PING_URL")
    assert heartbeat.shown().hint == "env:PING_URL"
    assert heartbeat.call().ok
    monkeypatch.delenv("PING_URL")
    assert "PING_URL is not set" in heartbeat.call().words


@pytest.mark.parametrize(
    "wrong",
    [
        *("ftp://x.example", "hc-ping.com/x", "https://", "https://a b/"),
        *("https://user:password@hc-ping.com/x", "https://:password@hc-ping.com/x"),
    ],
)
def test_what_is_no_address_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidError) as refused:
        heartbeat.save(wrong)
    assert refused.value.field == "url"


def test_an_empty_address_ends_the_calls(peer: Peer) -> None:
    heartbeat.save(address(peer))
    heartbeat.save("")
    assert heartbeat.beat() is None
    assert not heartbeat.shown().is_set
