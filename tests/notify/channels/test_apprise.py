"""Apprise: which addresses may be used, what the library is given, and what it says of failures."""

import json
import logging
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from apprise.manager_plugins import NotificationManager
from werkzeug.datastructures import MultiDict

from tests.notify.samples import HOSTILE, LONG_ERROR, failure, hostile, message_of
from tests.servers import mattermost as service
from tests.servers.names import Names
from webapp.core.errors import PermanentError, TransientError
from webapp.notify.channels import apprise
from webapp.notify.channels.apprise import ALLOWED, INSTALL, OWN_TYPES, Apprise, AppriseForm
from webapp.notify.events import EVENTS
from webapp.notify.message import Message, Severity
from webapp.notify.outbound import Outbound

WAY_OUT = Outbound(allow_private_networks="self-hosted", ca_file=None)


@pytest.fixture
def server() -> Iterator[service.Mattermost]:
    with service.Mattermost() as server:
        yield server


@pytest.fixture
def not_installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(apprise, "is_installed", lambda: False)
    monkeypatch.setitem(sys.modules, "apprise", None)
    apprise._library.cache_clear()
    yield
    apprise._library.cache_clear()


def channel(server: service.Mattermost, token: str = service.TOKEN, query: str = "") -> Apprise:
    return Apprise({"url": f"mmost://127.0.0.1:{server.port}/{token}{query}"})


def send(made: Apprise, message: Message | None = None, way_out: Outbound = WAY_OUT) -> Any:
    return made.send(made.render(message or failure()), way_out, {})


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type)
def test_every_event_is_delivered(server: service.Mattermost, event: Any) -> None:
    receipt = send(channel(server), message_of(event))
    assert receipt.words == "Mattermost took the message, as Apprise says."
    assert message_of(event).title in server.messages[0]["text"]


@pytest.mark.parametrize("value", [*HOSTILE, LONG_ERROR])
def test_every_text_is_delivered_as_one_message_within_the_limit(
    server: service.Mattermost, value: str
) -> None:
    send(channel(server), hostile(value))
    [message] = server.messages
    assert len(message["text"]) <= 4_000


def test_services_without_a_limit_of_their_own_get_short_texts(not_installed: None) -> None:
    payload = json.loads(Apprise({"url": "pover://u@t"}).render(failure(error=LONG_ERROR)).body)
    assert len(payload["body"]) <= 2_000
    assert payload["title"] == failure().title


@pytest.mark.parametrize(
    ("severity", "kind"),
    [(Severity.INFO, "info"), (Severity.WARNING, "warning"), (Severity.CRITICAL, "failure")],
)
def test_the_severity_becomes_a_type_of_apprise(severity: Severity, kind: str) -> None:
    made = Apprise({"url": "pover://u@t"})
    assert json.loads(made.render(failure(severity=severity)).body)["type"] == kind


def test_what_the_service_answers_is_sorted(server: service.Mattermost) -> None:
    with pytest.raises(PermanentError, match="answered 400") as caught:
        send(channel(server, token="wrong-token-of-some-length"))
    assert caught.value.status == "400"
    assert "error=400" in caught.value.excerpt
    assert "wrong-token" not in caught.value.excerpt
    for status, breaks in ((401, True), (404, True)):
        server.once(status)
        with pytest.raises(PermanentError) as caught:
            send(channel(server))
        assert caught.value.breaks_channel is breaks
        assert caught.value.advice


@pytest.mark.parametrize("status", [429, 500, 503])
def test_trouble_of_the_service_is_tried_again(server: service.Mattermost, status: int) -> None:
    server.once(status)
    with pytest.raises(TransientError) as caught:
        send(channel(server))
    assert caught.value.status == str(status)


def test_a_lost_connection_may_have_delivered(server: service.Mattermost) -> None:
    server.once(reset=True)
    with pytest.raises(TransientError, match="closed the connection") as caught:
        send(channel(server))
    assert caught.value.maybe_sent
    assert caught.value.advice


@pytest.mark.parametrize("targets", ["", "?to=one,two,three,four,five"])
def test_a_peer_that_drips_holds_the_thread_no_longer_than_any_other(
    server: service.Mattermost, targets: str
) -> None:
    server.answer(drip_headers=0.2)
    way_out = Outbound(allow_private_networks="self-hosted", ca_file=None, total_seconds=1.5)
    began = time.monotonic()
    with pytest.raises(TransientError, match=r"No complete answer within 1\.5 s") as caught:
        send(channel(server, query=targets), way_out=way_out)
    assert time.monotonic() - began < 4
    assert caught.value.maybe_sent
    assert len(server.requests) == 1  # what else the address names is not begun any more


def test_the_judged_address_is_the_one_that_is_called(
    server: service.Mattermost, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    names.lead("rebinding.example.org", port=server.port)
    ask, asked = socket.getaddrinfo, []

    def first_good_then_evil(host: str, *args: object, **kwargs: object) -> object:
        asked.append(host)
        if len(asked) > 1:
            raise AssertionError("asked twice")
        return ask(host, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", first_good_then_evil)
    send(Apprise({"url": f"mmost://rebinding.example.org:{server.port}/{service.TOKEN}"}))
    assert len(server.messages) == 1


def test_redirects_are_not_followed(server: service.Mattermost) -> None:
    server.once(302, location=f"{server.url}/elsewhere")
    with pytest.raises(PermanentError):
        send(channel(server, query="?redirect=yes"))
    assert len(server.requests) == 1


def test_credentials_of_the_servers_user_stay_here(
    server: service.Mattermost, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("default login somebody password something\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    send(channel(server))
    assert "authorization" not in server.last.headers
    assert requests.utils.get_netrc_auth(server.url)
    requests.post(server.url, json={"text": "not through our way out"}, timeout=5)
    assert "authorization" in server.last.headers


def test_certificates_cannot_be_ignored() -> None:
    made = apprise._service(f"mmosts://chat.example.org/{service.TOKEN}?verify=no&rto=900")
    assert made.verify_certificate is True
    assert made.socket_read_timeout == 15.0


def test_addresses_of_own_networks_are_judged(server: service.Mattermost) -> None:
    closed = Outbound(allow_private_networks="none", ca_file=None)
    with pytest.raises(PermanentError, match="may not be called"):
        send(channel(server), way_out=closed)
    assert server.requests == []


def test_metadata_services_are_never_called() -> None:
    made = Apprise({"url": f"mmost://169.254.169.254/{service.TOKEN}"})
    with pytest.raises(PermanentError, match="may not be called"):
        send(made)


def test_the_library_logs_nowhere_else(
    server: service.Mattermost, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[logging.LogRecord] = []
    root, ear = logging.getLogger(), logging.Handler()
    monkeypatch.setattr(ear, "emit", logged.append)
    monkeypatch.setattr(root, "level", logging.DEBUG)
    root.addHandler(ear)
    with pytest.raises(PermanentError):
        send(channel(server, token="wrong-token-of-some-length"))
    root.removeHandler(ear)
    assert [record for record in logged if record.name == "apprise"] == []


def test_the_allowed_services_exist_and_need_nothing_else() -> None:
    manager = NotificationManager()
    assert not ALLOWED - set(manager.schemas())
    for scheme in ALLOWED:
        plugin = manager[scheme]
        assert plugin.enabled, scheme
        assert not plugin.requirements.get("packages_required"), scheme


def test_services_with_a_type_of_their_own_are_not_doubled() -> None:
    assert ALLOWED.isdisjoint(OWN_TYPES)


@pytest.mark.parametrize(
    "scheme",
    ["dbus", "kde", "qt", "glib", "gnome", "macosx", "windows", "syslog", "json", "xml", "apprise"],
)
def test_local_and_command_services_are_refused(scheme: str) -> None:
    assert scheme not in ALLOWED
    assert apprise._service(f"{scheme}://localhost/x") is None


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "Enter the address"),
        ("pover", "Enter one address"),
        ("pover://u@t pover://u@t", "Enter one address"),
        ("ntfy://topic", "own for this: ntfy"),
        ("mailto://u:p@example.org", "Email (SMTP)"),
        ("dbus://", "Enter one address"),
        ("dbus://x", "not allowed"),
        ("made-up://x", "Enter one address"),
        ("mmosts://chat.example.org", "does not understand"),
    ],
)
def test_mistakes_are_told_in_words(url: str, words: str) -> None:
    form = AppriseForm(MultiDict({"url": url}))
    assert not form.validate()
    assert words in str(form.errors)


def test_without_the_library_the_form_says_how_to_install_it(not_installed: None) -> None:
    form = AppriseForm(MultiDict({"url": f"mmosts://chat.example.org/{service.TOKEN}"}))
    assert not form.validate()
    assert form.url.errors == [INSTALL]
    assert INSTALL in str(AppriseForm().url.description)


def test_without_the_library_a_delivery_says_how_to_install_it(not_installed: None) -> None:
    with pytest.raises(PermanentError, match="make apprise") as caught:
        send(Apprise({"url": f"mmost://127.0.0.1/{service.TOKEN}"}))
    assert caught.value.breaks_channel


def test_only_the_kind_of_service_is_shown() -> None:
    config = {"url": f"mmosts://chat.example.org/{service.TOKEN}"}
    assert Apprise.summarize(config) == "mmosts://…"
    assert service.TOKEN in Apprise(config).secrets
