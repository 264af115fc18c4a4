"""dbackup channels."""

import json

import pytest

from tests.factories import make_channel
from tests.servers.http import Peer


def config(peer: Peer) -> dict[str, str]:
    return {"url": f"{peer.url}/hook?sig=very-secret-part", "method": "POST"}


@pytest.mark.parametrize("name", ["Ops", "ops", "1"])
def test_a_sample_goes_through_the_channel_of_that_name_or_id(dbackup, peer, name: str) -> None:
    make_channel(id=1, name="Ops", config=config(peer))
    result = dbackup("channels", "test", name)
    assert result.exit_code == 0, result.stderr
    assert "200" in result.stdout
    (received,) = peer.requests
    assert received.json()["test"] is True


def test_a_channel_that_answers_404_is_a_failure_with_its_words(dbackup, peer) -> None:
    peer.answer(404, "no such hook")
    make_channel(name="Ops", config=config(peer))
    result = dbackup("channels", "test", "Ops")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "404" in result.stderr
    assert "very-secret-part" not in result.stderr


def test_an_unknown_channel_is_a_failure_that_says_where_to_look(dbackup) -> None:
    result = dbackup("channels", "test", "Nope")
    assert result.exit_code == 1
    assert "dbackup channels list" in result.stderr


def test_the_list_holds_no_secrets(dbackup, peer) -> None:
    make_channel(name="Ops", config=config(peer), enabled=False)
    result = dbackup("channels", "list", "--json")
    (entry,) = json.loads(result.stdout)
    assert (entry["name"], entry["type"], entry["health"]) == ("Ops", "webhook", "off")
    assert "very-secret-part" not in result.stdout
