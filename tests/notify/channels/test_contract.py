"""Every type, every event, every way in which a service answers or does not."""

import contextlib
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.notify.channels.cases import (
    CASES,
    MAIL_HOST,
    MAIL_PASSWORD,
    OWN_CONNECTIONS,
    Case,
    Judge,
    channel_of,
)
from tests.notify.samples import LONG_ERROR, failure, message_of
from tests.servers.fixtures import server_context
from tests.servers.http import Peer, Reply
from tests.servers.names import Names
from tests.servers.smtp import MailServer
from webapp.core.errors import ChannelError, PermanentError, TransientError
from webapp.notify.channels import BY_TYPE
from webapp.notify.channels.base import EXCERPT_LIMIT, Receipt
from webapp.notify.events import EVENTS, Event
from webapp.notify.message import Message
from webapp.notify.outbound import Outbound

TYPES = [*CASES, "email"]
HUGE = 3_000_000  # bytes
HANGING = 1.5  # seconds until we give up


class HttpService:
    """A peer in the moods that every service has."""

    def __init__(self, kind: str, peer: Any) -> None:
        self.case: Case = CASES[kind]
        self.peer: Peer = peer
        self.config: dict[str, str] = {}
        self.delay = self.case.delay

    @property
    def taken(self) -> int:
        return self.case.taken(self.peer)

    @property
    def calls(self) -> int:
        return len(self.peer.requests)

    def refuse(self) -> None:
        self._answer(self.case.refusal)

    def ask_for_time(self) -> None:
        self._answer(self.case.limit)

    def hang(self) -> None:
        self.peer.answer(200, delay=30.0)

    def reset(self) -> None:
        self.peer.answer(200, reset=True)

    def chatter(self) -> None:
        self.peer.answer(200, self.case.accepted.ljust(HUGE))

    def chatter_badly(self) -> None:
        self.peer.answer(500, b"[" * HUGE)  # what reads it as JSON goes down into each

    def _answer(self, reply: Reply) -> None:
        self.peer.answer(reply.status, reply.body, headers=dict(reply.headers))


class MailService:
    """The same for a mail server."""

    def __init__(self, server: MailServer) -> None:
        self.server = server
        self.config = {"port": str(server.port)}
        self.delay = timedelta(minutes=5)  # greylisting says no time; we wait that long

    @property
    def taken(self) -> int:
        return len(self.server.mails)

    @property
    def calls(self) -> int:
        return len(self.server.logins)

    def refuse(self) -> None:
        self.server.refuse_data = "554 5.7.1 Refused"

    def ask_for_time(self) -> None:
        self.server.refuse_data = "451 4.7.1 Try again later"

    def hang(self) -> None:
        self.server.hang_seconds = 2 * HANGING

    def reset(self) -> None:
        self.server.drop_after_data = True

    def chatter(self) -> None:
        self.server.refuse_data = "250 2.0.0 Queued as " + "x" * 7_000

    def chatter_badly(self) -> None:
        self.server.refuse_data = "451 4.3.0 " + "x" * 7_000


Service = HttpService | MailService
MakeService = Callable[[str], Service]


@pytest.fixture(scope="module")
def context_of(authority: trustme.CA) -> Callable[[str], ssl.SSLContext]:
    made: dict[str, ssl.SSLContext] = {}

    def context(name: str) -> ssl.SSLContext:
        return made.setdefault(name, made.get(name) or server_context(authority, name))

    return context


@pytest.fixture
def service_of(names: Names, context_of: Callable[[str], ssl.SSLContext]) -> Iterator[MakeService]:
    """Start the service of a type under its real name."""
    with ExitStack() as stack:

        def start(kind: str) -> Service:
            if kind == "email":
                names.lead(MAIL_HOST)
                server = MailServer(
                    security="starttls",
                    context=context_of(MAIL_HOST),
                    users={"dbackup": MAIL_PASSWORD},
                    name=MAIL_HOST,
                )
                return MailService(stack.enter_context(server))
            case = CASES[kind]
            options: dict[str, Any] = dict(case.options)
            peer = case.peer(context=context_of(case.host), name=case.host, **options)
            names.lead(case.host, port=peer.port)
            return HttpService(kind, stack.enter_context(peer))

        yield start


@pytest.fixture
def way_out(ca_file: Path) -> Iterator[Outbound]:
    with_end = Outbound(allow_private_networks="all", ca_file=ca_file)
    yield with_end
    with_end.close()


def send(kind: str, service: Service, message: Message, way_out: Outbound) -> Receipt:
    channel = channel_of(kind, **service.config)
    return channel.send(channel.render(message), way_out, {})


every_type = pytest.mark.parametrize("kind", TYPES)
every_event = pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type)


def test_every_type_has_a_case() -> None:
    assert {*TYPES} | OWN_CONNECTIONS == set(BY_TYPE) | OWN_CONNECTIONS


@every_type
@every_event
def test_success(kind: str, event: type[Event], service_of: MakeService, way_out: Outbound) -> None:
    service = service_of(kind)
    receipt = send(kind, service, message_of(event), way_out)
    assert receipt.status.startswith("2")
    assert receipt.words
    assert (service.taken, service.calls) == (1, 1)


@every_type
@every_event
def test_a_permanent_refusal(
    kind: str, event: type[Event], service_of: MakeService, way_out: Outbound
) -> None:
    service = service_of(kind)
    service.refuse()
    with pytest.raises(PermanentError) as caught:
        send(kind, service, message_of(event), way_out)
    assert caught.value.status
    assert caught.value.advice
    assert (service.taken, service.calls) == (0, 1)


@every_type
@every_event
def test_a_passing_refusal_with_a_delay(
    kind: str, event: type[Event], service_of: MakeService, way_out: Outbound
) -> None:
    service = service_of(kind)
    service.ask_for_time()
    with pytest.raises(TransientError) as caught:
        send(kind, service, message_of(event), way_out)
    assert caught.value.retry_after == service.delay
    assert caught.value.status
    assert caught.value.advice


@every_type
def test_no_answer_in_time(kind: str, service_of: MakeService, ca_file: Path) -> None:
    """All events at once, because each waits for its time to be over."""
    service = service_of(kind)
    service.hang()
    impatient = Outbound(allow_private_networks="all", ca_file=ca_file, total_seconds=HANGING)

    started = time.monotonic()
    with ThreadPoolExecutor(len(EVENTS)) as pool:
        calls = [pool.submit(send, kind, service, message_of(event), impatient) for event in EVENTS]
        errors = [call.exception() for call in calls]
    assert time.monotonic() - started < HANGING + 5
    assert [type(error) for error in errors] == [TransientError] * len(EVENTS)
    assert all(error.maybe_sent and error.advice for error in errors)  # type: ignore[union-attr]


@every_type
@every_event
def test_a_connection_that_breaks(
    kind: str, event: type[Event], service_of: MakeService, way_out: Outbound
) -> None:
    service = service_of(kind)
    service.reset()
    with pytest.raises(TransientError) as caught:
        send(kind, service, message_of(event), way_out)
    assert caught.value.maybe_sent
    assert caught.value.advice


@every_type
@every_event
def test_a_huge_reply(
    kind: str, event: type[Event], service_of: MakeService, way_out: Outbound
) -> None:
    service = service_of(kind)
    service.chatter()
    receipt = send(kind, service, message_of(event), way_out)
    assert len(receipt.excerpt) <= EXCERPT_LIMIT
    service.chatter_badly()
    with pytest.raises(TransientError) as caught:
        send(kind, service, message_of(event), way_out)
    assert len(caught.value.excerpt) <= EXCERPT_LIMIT
    assert len(str(caught.value)) <= 500


@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize("status", [200, 400, 404, 429])
def test_a_reply_of_brackets_without_end(
    kind: str, status: int, service_of: MakeService, way_out: Outbound
) -> None:
    service = service_of(kind)
    assert isinstance(service, HttpService)
    service.peer.answer(status, b"[" * 20_000)
    if status == 200:
        with contextlib.suppress(ChannelError):  # some say in the body whether it worked
            send(kind, service, message_of(EVENTS[0]), way_out)
    else:
        with pytest.raises(ChannelError):
            send(kind, service, message_of(EVENTS[0]), way_out)


@every_type
@every_event
def test_a_certificate_that_nobody_vouches_for(
    kind: str, event: type[Event], service_of: MakeService
) -> None:
    service = service_of(kind)
    trusting_nobody = Outbound(allow_private_networks="all", ca_file=None)
    with pytest.raises(TransientError) as caught:
        send(kind, service, message_of(event), trusting_nobody)
    assert caught.value.needs_you
    assert caught.value.advice
    assert (service.taken, service.calls) == (0, 0)


@every_type
def test_a_certificate_of_another_name(
    kind: str,
    service_of: MakeService,
    way_out: Outbound,
    authority: trustme.CA,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service = service_of(kind)
    other = server_context(authority, "other.example.org")
    if isinstance(service, HttpService):
        monkeypatch.setattr(service.peer, "_context", other)
    else:
        monkeypatch.setitem(service.server.controller.SMTP_kwargs, "tls_context", other)
    with pytest.raises(TransientError) as caught:
        send(kind, service, failure(), way_out)
    assert caught.value.needs_you
    assert (service.taken, service.calls) == (0, 0)


@every_type
def test_the_same_message_twice_is_seen_to_be_the_same(
    kind: str, service_of: MakeService, way_out: Outbound
) -> None:
    """After a lost answer a message goes twice; people and machines must be able to tell."""
    service = service_of(kind)
    for attempt in (1, 2):
        send(kind, service, failure(attempt=attempt), way_out)
    assert service.taken == 2
    if isinstance(service, MailService):
        first, second = [mail.message["Message-ID"] for mail in service.server.mails]
        assert first == second
    else:
        bodies = [request.body for request in service.peer.requests]
        assert all(b"0000aaaa" in body or b"0000%61" in body for body in bodies)


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        ("a 100,000 character error", {"error": LONG_ERROR}),
        ("an emoji job", {"title": "Backup failed: 🚀 rocket 👩\u200d👩\u200d👧"}),
        ("a Chinese job", {"title": "Backup failed: 夜间备份"}),
        ("a Hebrew job", {"title": "Backup failed: גיבוי לילי"}),
        ("an accent", {"title": "Backup failed: Tägliche Prüfung é"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@every_type
def test_hard_texts_are_delivered(
    kind: str, words: str, changes: dict[str, str], service_of: MakeService, way_out: Outbound
) -> None:
    service = service_of(kind)
    send(kind, service, failure(**changes), way_out)
    assert service.taken == 1
    assert Judge(kind).problem(failure(**changes)) == ""
