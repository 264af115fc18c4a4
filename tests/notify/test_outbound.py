"""The way out: policy, pins, limits, certificates, and what each trouble means."""

import contextlib
import gc
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
import trustme
import urllib3
from requests.adapters import HTTPAdapter

from tests.servers.fixtures import server_context
from tests.servers.http import Peer
from tests.servers.names import Names
from tests.servers.proxy import Proxy
from tests.servers.raw import RawServer
from tests.shortages import no_new_threads
from webapp.core.errors import PermanentError, TransientError
from webapp.core.settings import PrivateNetworks
from webapp.notify import outbound as module
from webapp.notify.outbound import Answer, Outbound, Reach, Way

SECRET_PATH = "/hooks/very-secret-token"


def make(
    private: PrivateNetworks = "self-hosted", ca_file: Path | None = None, seconds: float = 30.0
) -> Outbound:
    return Outbound(allow_private_networks=private, ca_file=ca_file, total_seconds=seconds)


@pytest.fixture
def way_out() -> Iterator[Outbound]:
    made = make()
    yield made
    made.close()


def post(
    way_out: Outbound, url: str, reach: Reach = Reach.SELF_HOSTED, body: bytes = b"{}"
) -> Answer:
    return way_out.request("POST", url, reach=reach, headers={"X-Key": "k"}, body=body)


def test_a_call_arrives_with_its_headers_and_bytes(way_out: Outbound, peer: Peer) -> None:
    peer.answer(201, "made", headers={"X-Id": "7"})
    answer = post(way_out, f"{peer.url}/in?a=b%20c", body='{"é": 1}'.encode())
    assert (answer.status, answer.body, answer.headers["x-id"]) == (201, b"made", "7")
    assert (peer.last.method, peer.last.path) == ("POST", "/in?a=b%20c")
    assert peer.last.body == '{"é": 1}'.encode()
    assert peer.last.headers["x-key"] == "k"
    assert peer.last.headers["user-agent"].startswith("DBackup/")


def test_get_has_no_body_and_no_length(way_out: Outbound, peer: Peer) -> None:
    way_out.request("GET", peer.url, reach=Reach.SELF_HOSTED, headers={}, body=b"")
    assert "content-length" not in peer.last.headers


def test_connections_are_used_again(way_out: Outbound, peer: Peer) -> None:
    for _ in range(5):
        post(way_out, peer.url)
    assert peer.connections == 1


def test_a_connection_that_was_idle_is_not_used_again(
    way_out: Outbound, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.0)
    post(way_out, peer.url)
    post(way_out, peer.url)
    assert peer.connections == 2


def test_a_redirect_is_an_answer_and_is_not_followed(way_out: Outbound, peer: Peer) -> None:
    peer.answer(307, location=f"{peer.url}/elsewhere")
    assert post(way_out, f"{peer.url}/here").status == 307
    assert [request.path for request in peer.requests] == ["/here"]


def test_proxies_and_netrc_of_the_environment_are_ignored(
    way_out: Outbound, peer: Peer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password something\n")
    monkeypatch.setenv("NETRC", str(netrc))
    post(way_out, peer.url)
    assert "authorization" not in peer.last.headers


def test_a_huge_reply_is_read_to_its_limit_only(way_out: Outbound, peer: Peer) -> None:
    peer.answer(200, b"x" * 5_000_000)
    assert len(post(way_out, peer.url).body) == module.REPLY_LIMIT
    assert post(way_out, peer.url).status == 200
    assert peer.connections == 2


LATE = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
TOO_MUCH = b"10001\r\n" + b"x" * (module.REPLY_LIMIT + 1) + b"\r\n"


@pytest.mark.parametrize(
    ("first", "late"),
    [
        (b"Transfer-Encoding: gzip, chunked\r\nContent-Length: 0\r\n\r\n", LATE),
        (b"Transfer-Encoding: chunked\r\n\r\n" + TOO_MUCH, b"0\r\n\r\n" + LATE),
        (b"Transfer-Encoding: chunked\r\n\r\n-1\r\n", LATE),
    ],
)
def test_the_rest_of_a_reply_is_not_the_reply_to_the_next_message(
    way_out: Outbound, first: bytes, late: bytes
) -> None:
    with RawServer([b"HTTP/1.1 202 Accepted\r\n" + first, late]) as server:
        answers = [post(way_out, server.url).status for _ in range(3)]
        assert answers == [202, 202, 202]
        assert server.connections == 3


def test_a_chunk_of_negative_size_is_not_read(way_out: Outbound) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with RawServer([head + b"-1\r\n" + b"x" * 5_000_000]) as server:
        assert post(way_out, server.url).body == b""


def test_a_length_of_thousands_of_digits_does_not_break_the_channel(way_out: Outbound) -> None:
    head = b"HTTP/1.1 503 Later\r\nConnection: close\r\nContent-Length: " + b"9" * 5000
    with RawServer([head + b"\r\n\r\n"]) as server:
        thread = threading.Timer(0.3, server.__exit__, (None, None, None))
        thread.start()
        assert post(way_out, server.url).status == 503
        thread.join()


def test_a_body_that_breaks_off_leaves_the_status_as_the_answer(
    way_out: Outbound, peer: Peer
) -> None:
    peer.answer(202, b"abc", headers={"Content-Length": "100"})
    thread = threading.Timer(0.3, peer.__exit__, (None, None, None))
    thread.start()
    answer = post(way_out, peer.url)
    thread.join()
    assert answer.status == 202


@pytest.mark.parametrize("manner", [{"drip_headers": 0.05}, {"delay": 20.0}])
def test_a_slow_answer_is_ended_by_the_watchdog(peer: Peer, manner: dict[str, float]) -> None:
    way_out = make(seconds=0.5)
    peer.answer(200, b"", **manner)
    began = time.monotonic()
    with pytest.raises(TransientError, match=r"No complete answer within 0\.5 s") as caught:
        post(way_out, peer.url)
    assert time.monotonic() - began < 2
    assert caught.value.maybe_sent


def test_a_dripping_body_is_ended_by_the_watchdog(peer: Peer) -> None:
    way_out = make(seconds=0.5)
    peer.answer(200, b"y" * 1000, drip_body=0.05)
    began = time.monotonic()
    assert post(way_out, peer.url).status == 200
    assert time.monotonic() - began < 2


def test_the_watchdog_ends_calls_over_kept_and_encrypted_connections(
    make_peer: Callable[[str], Peer], ca_file: Path
) -> None:
    peer = make_peer("hooks.example.org")
    way_out = make("all", ca_file, seconds=0.6)
    url = "https://hooks.example.org/x"
    post(way_out, url)
    peer.answer(200, b"", drip_headers=0.05)
    began = time.monotonic()
    with pytest.raises(TransientError, match="No complete answer"):
        post(way_out, url)
    assert time.monotonic() - began < 2
    assert peer.connections == 1


def test_the_watchdog_thread_ends_when_there_is_nothing_to_watch(peer: Peer) -> None:
    way_out = make(seconds=0.2)
    post(way_out, peer.url)
    assert way_out._watchdog._thread is not None
    time.sleep(0.7)
    assert way_out._watchdog._thread is None
    post(way_out, peer.url)


def test_the_watchdog_comes_back_after_a_time_without_room_for_its_thread(peer: Peer) -> None:
    way_out = make(seconds=0.5)
    with no_new_threads(), pytest.raises(RuntimeError, match="can't start new thread"):
        post(way_out, peer.url)
    peer.answer(200, b"", drip_headers=0.05)
    began = time.monotonic()
    with pytest.raises(TransientError, match="No complete answer"):
        post(way_out, peer.url)
    assert time.monotonic() - began < 2


def test_silence_within_the_limit_of_a_read_is_a_timeout(
    way_out: Outbound, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_TIMEOUT", urllib3.Timeout(connect=1.0, read=0.2))
    peer.answer(200, delay=5)
    with pytest.raises(TransientError, match="No answer within") as caught:
        post(way_out, peer.url)
    assert caught.value.maybe_sent


@pytest.mark.parametrize("manner", ["reset", "close"])
def test_a_lost_connection_may_have_delivered(way_out: Outbound, peer: Peer, manner: str) -> None:
    peer.answer(200, **{manner: True})
    with pytest.raises(TransientError, match="closed the connection") as caught:
        post(way_out, peer.url + SECRET_PATH)
    assert caught.value.maybe_sent
    assert "secret" not in str(caught.value)


def test_a_closed_port_is_transient_and_nothing_was_sent(way_out: Outbound) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(TransientError, match="refused") as caught:
        post(way_out, f"http://127.0.0.1:{port}{SECRET_PATH}")
    assert not caught.value.maybe_sent
    assert "secret" not in str(caught.value)


def test_an_unknown_host_needs_a_person(way_out: Outbound, names: Names) -> None:
    with pytest.raises(TransientError, match=r"There is no host called nowhere\.example") as caught:
        post(way_out, f"https://nowhere.example{SECRET_PATH}")
    assert caught.value.needs_you
    assert not caught.value.maybe_sent


@pytest.mark.parametrize("number", [socket.EAI_AGAIN, socket.EAI_SYSTEM, socket.EAI_MEMORY])
def test_a_name_server_in_trouble_is_not_the_admins_fault(
    way_out: Outbound, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def ask(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(number, "Temporary failure")

    monkeypatch.setattr(socket, "getaddrinfo", ask)
    with pytest.raises(TransientError, match="at the moment") as caught:
        post(way_out, "https://hooks.example.org/x")
    assert not caught.value.needs_you


def test_a_certificate_of_the_given_authority_is_accepted(
    make_peer: Callable[[str], Peer], ca_file: Path
) -> None:
    peer = make_peer("hooks.example.org")
    post(make("all", ca_file), "https://hooks.example.org/x", Reach.HOSTED)
    assert peer.last.headers["host"] == "hooks.example.org"


def test_an_authority_may_be_given_for_one_call(
    make_peer: Callable[[str], Peer], ca_file: Path, way_out: Outbound
) -> None:
    make_peer("hooks.example.org")
    answer = way_out.request(
        "POST",
        "https://hooks.example.org/x",
        reach=Reach.SELF_HOSTED,
        headers={},
        body=b"",
        way=Way(ca_file=ca_file),
    )
    assert answer.status == 200


def test_an_unknown_authority_needs_a_person_and_sends_nothing(
    make_peer: Callable[[str], Peer], way_out: Outbound
) -> None:
    peer = make_peer("hooks.example.org")
    with pytest.raises(TransientError, match="certificate") as caught:
        post(way_out, f"https://hooks.example.org{SECRET_PATH}")
    assert caught.value.needs_you
    assert not caught.value.maybe_sent
    assert "DBACKUP_CA_FILE" in caught.value.advice
    assert "secret" not in str(caught.value)
    assert peer.requests == []


def test_a_certificate_for_another_name_needs_a_person(
    make_peer: Callable[[str], Peer], names: Names, ca_file: Path
) -> None:
    peer = make_peer("hooks.example.org")
    names.lead("other.example.org", port=peer.port)
    with pytest.raises(TransientError, match="certificate") as caught:
        post(make("all", ca_file), "https://other.example.org/x")
    assert caught.value.needs_you


def test_https_to_a_port_without_tls_needs_a_person(way_out: Outbound, peer: Peer) -> None:
    with pytest.raises(TransientError, match="encrypted connection") as caught:
        post(way_out, peer.url.replace("http:", "https:"))
    assert caught.value.needs_you


def test_old_tls_is_refused(way_out: Outbound) -> None:
    assert way_out.ssl_context().minimum_version >= ssl.TLSVersion.TLSv1_2
    assert way_out.ssl_context().check_hostname


def test_a_ca_file_that_is_none_says_so(way_out: Outbound, tmp_path: Path) -> None:
    empty = tmp_path / "ca.pem"
    empty.write_text("nothing")
    with pytest.raises(PermanentError, match=r"ca\.pem"):
        way_out.ssl_context(Way(ca_file=empty))


@pytest.mark.parametrize(
    ("private", "reach", "allowed"),
    [
        ("self-hosted", Reach.SELF_HOSTED, True),
        ("self-hosted", Reach.HOSTED, False),
        ("all", Reach.SELF_HOSTED, True),
        ("all", Reach.HOSTED, True),
        ("none", Reach.SELF_HOSTED, False),
        ("none", Reach.HOSTED, False),
    ],
)
def test_private_networks_are_allowed_by_setting_and_reach(
    make_peer: Callable[[str], Peer],
    ca_file: Path,
    private: PrivateNetworks,
    reach: Reach,
    allowed: bool,
) -> None:
    peer = make_peer("hooks.example.org")
    outcome: object
    try:
        outcome = post(make(private, ca_file), "https://hooks.example.org/x", reach).status
    except PermanentError as error:
        outcome = type(error)
    assert outcome == (200 if allowed else PermanentError)
    assert len(peer.requests) == int(allowed)


def test_what_one_reach_opened_another_may_not_use(
    make_peer: Callable[[str], Peer], ca_file: Path
) -> None:
    peer = make_peer("hooks.example.org")
    way_out = make("self-hosted", ca_file)
    post(way_out, "https://hooks.example.org/x", Reach.SELF_HOSTED)
    with pytest.raises(PermanentError):
        post(way_out, "https://hooks.example.org/x", Reach.HOSTED)
    assert len(peer.requests) == 1


def test_one_forbidden_address_among_good_ones_is_enough(
    way_out: Outbound, names: Names, peer: Peer
) -> None:
    names.lead("two.example.org", "127.0.0.1", "169.254.169.254", port=peer.port)
    with pytest.raises(PermanentError, match=r"169\.254\.169\.254"):
        post(way_out, "http://two.example.org/x")
    assert peer.requests == []


def test_the_judged_address_is_the_one_that_is_called(
    way_out: Outbound, names: Names, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    names.lead("rebinding.example.org", port=peer.port)
    asked = []
    ask = socket.getaddrinfo

    def first_good_then_evil(host: str, *args: object, **kwargs: object) -> object:
        asked.append(host)
        if len(asked) > 1:
            raise AssertionError("asked twice")
        return ask(host, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", first_good_then_evil)
    assert post(way_out, "http://rebinding.example.org/x").status == 200
    assert peer.last.headers["host"] == "rebinding.example.org"


def test_the_second_address_is_tried_when_the_first_does_not_answer(
    way_out: Outbound, names: Names, peer: Peer
) -> None:
    names.lead("two.example.org", "127.0.0.2", "127.0.0.1", port=peer.port)
    assert post(way_out, "http://two.example.org/x").status == 200


@pytest.mark.parametrize(
    "url", ["http://2130706433", "http://0x7f000001", "http://127.1", "http://0177.0.0.1"]
)
def test_odd_spellings_of_an_address_are_judged_by_what_they_mean(url: str) -> None:
    with pytest.raises(PermanentError, match=r"127\.0\.0\.1 is in a private network"):
        post(make("none"), f"{url}:1/x")


@pytest.mark.parametrize(
    "url",
    [
        *("", "nonsense", "ftp://example.org/x", "http://", "http://[::1", "file:///etc/passwd"),
        *("http://user:password@127.0.0.1:1/x", "https://:x@example.org/"),
    ],
)
def test_what_is_no_address_is_permanent(way_out: Outbound, url: str) -> None:
    with pytest.raises(PermanentError, match="no address that can be called"):
        post(way_out, url)


@pytest.mark.parametrize("value", ["a\r\nBcc: x", " leading", "漢字", "a\nb"])
def test_a_header_that_http_does_not_allow_is_permanent(
    way_out: Outbound, peer: Peer, value: str
) -> None:
    with pytest.raises(PermanentError, match="header") as caught:
        way_out.request("POST", peer.url, reach=Reach.SELF_HOSTED, headers={"X-A": value}, body=b"")
    assert value not in str(caught.value)
    assert post(way_out, peer.url).status == 200


def test_hosted_services_are_called_over_https_only(way_out: Outbound) -> None:
    with pytest.raises(PermanentError, match="https"):
        post(way_out, "http://discord.com/x", Reach.HOSTED)


def test_no_descriptor_is_left_open(peer: Peer) -> None:
    def count() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    way_out = make()
    peer.answer(200, headers={"Connection": "close"})
    post(way_out, peer.url)
    way_out.close()
    time.sleep(0.1)
    before = count()
    for _ in range(20):
        post(way_out, peer.url)
    way_out.close()
    time.sleep(0.2)
    assert count() <= before + 2


def test_calls_of_many_threads_do_not_mix(way_out: Outbound, peer: Peer) -> None:
    wrong: list[str] = []

    def send(number: int) -> None:
        for turn in range(20):
            body = f"{number}-{turn}".encode()
            if post(way_out, f"{peer.url}/{number}", body=body).status != 200:
                wrong.append(body.decode())

    threads = [threading.Thread(target=send, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert all(
        request.path == f"/{request.body.decode().split('-')[0]}" for request in peer.requests
    )
    assert len({request.body for request in peer.requests}) == 160


def call_a_forbidden_address_and_go_on(way_out: Outbound, peer: Peer) -> None:
    """Do what a library does that swallows every error."""
    with way_out.lend(Reach.SELF_HOSTED):
        with contextlib.suppress(Exception):
            requests.post("http://169.254.169.254/latest", timeout=60)
        requests.post(peer.url, timeout=60)


def test_a_forbidden_address_leaves_a_library_that_swallows_every_error(
    way_out: Outbound, peer: Peer
) -> None:
    with pytest.raises(PermanentError, match="may not be called"):
        call_a_forbidden_address_and_go_on(way_out, peer)
    assert peer.requests == []


def swallow_errors_and_go_on(way_out: Outbound, peer: Peer) -> None:
    """Do what a library does that knows nothing of our limits."""
    with way_out.lend(Reach.SELF_HOSTED):
        for _ in range(5):
            with contextlib.suppress(requests.RequestException):
                requests.post(peer.url, timeout=60)


def test_a_lent_way_out_has_its_limits_and_policy(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # nobody is there
    peer.answer(200, b"x" * 1_000_000)
    with make().lend(Reach.SELF_HOSTED):
        assert len(requests.post(peer.url, timeout=5).content) == 64 * 1024
    closed = make("none")
    with pytest.raises(PermanentError, match="may not be called"):
        swallow_errors_and_go_on(closed, peer)
    assert len(peer.requests) == 1


def test_a_lent_way_out_ends_in_time_whatever_the_library_does(peer: Peer) -> None:
    peer.answer(drip_headers=0.2)
    began = time.monotonic()
    with pytest.raises(TransientError) as caught:
        swallow_errors_and_go_on(make(seconds=1.0), peer)
    assert time.monotonic() - began < 3
    assert caught.value.maybe_sent


def test_a_lent_way_out_verifies_certificates_although_the_library_does_not(
    make_peer: Callable[..., Peer],
) -> None:
    make_peer("chat.example.org")
    with make().lend(Reach.SELF_HOSTED) as loan:
        with pytest.raises(requests.ConnectionError):
            requests.get("https://chat.example.org/", verify=False, timeout=5)
        assert "certificate" in str(loan.problem)


def test_a_way_out_is_lent_to_one_thread() -> None:
    adapters = []

    def look() -> None:
        adapters.append(type(requests.Session().adapters["https://"]))

    with make().lend(Reach.SELF_HOSTED):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    look()
    assert adapters == [HTTPAdapter, HTTPAdapter]


def through(way_out: Outbound, url: str, way: Way, reach: Reach = Reach.SELF_HOSTED) -> Answer:
    return way_out.request("POST", url, reach=reach, headers={}, body=b"{}", way=way)


def test_a_channel_goes_through_its_proxy(
    make_peer: Callable[..., Peer], peer: Peer, ca_file: Path
) -> None:
    hosted = make_peer("hooks.example.org")
    with Proxy(hosted.port) as proxy:
        way = Way(ca_file=ca_file, proxy=proxy.url)
        assert through(make("all"), "https://hooks.example.org/x", way, Reach.HOSTED).status == 200
        assert proxy.asked == ["CONNECT hooks.example.org:443"]
        assert hosted.last.path == "/x"
    with Proxy(peer.port) as proxy:
        url = f"http://localhost:{peer.port}/y"
        assert through(make(), url, Way(proxy=proxy.url)).status == 200
        assert proxy.asked == [f"POST {url}"]
        assert peer.last.path == "/y"
        with make().lend(Reach.SELF_HOSTED, Way(proxy=proxy.url)):
            assert requests.post(url, timeout=5).ok
        assert len(proxy.asked) == 2


def test_a_hosted_service_is_reached_through_a_proxy_of_the_own_network(
    make_peer: Callable[..., Peer], names: Names, ca_file: Path
) -> None:
    hosted = make_peer("hooks.example.org")
    names.lead("hooks.example.org", "93.184.216.34")
    with Proxy(hosted.port) as proxy:
        way = Way(ca_file=ca_file, proxy=proxy.url)
        assert through(make(), "https://hooks.example.org/x", way, Reach.HOSTED).status == 200


def test_names_that_only_the_proxy_knows_are_its_affair(peer: Peer, names: Names) -> None:
    with Proxy(peer.port) as proxy:
        url = "http://far.example.org/x"
        assert through(make(), url, Way(proxy=proxy.url)).status == 200
        assert proxy.asked == [f"POST {url}"]


@pytest.mark.parametrize(
    ("url", "private"),
    [
        ("http://169.254.169.254/latest", "all"),
        ("http://0xa9fea9fe/latest", "all"),
        ("http://[::ffff:a9fe:a9fe]/latest", "all"),
        ("http://metadata.google.internal/x", "all"),
        ("http://169.254.169.254./latest", "all"),
        ("http://[fe80::a9fe:a9fe%25nowhere]/latest", "all"),
        ("http://10.0.0.1/x", "none"),
    ],
)
def test_what_may_not_be_called_is_not_asked_of_a_proxy(
    peer: Peer, url: str, private: PrivateNetworks
) -> None:
    with Proxy(peer.port) as proxy:
        way = Way(proxy=proxy.url)
        with pytest.raises(PermanentError, match="may not be called"):
            through(make(private), url, way)
        with (
            pytest.raises(PermanentError, match="may not be called"),
            make(private).lend(Reach.SELF_HOSTED, way),
        ):
            requests.get(url, timeout=5)
        assert proxy.asked == []


def test_the_proxy_itself_is_judged(peer: Peer) -> None:
    with pytest.raises(PermanentError, match=r"169\.254\.169\.254"):
        through(make(), peer.url, Way(proxy="http://169.254.169.254:3128"))
    with pytest.raises(PermanentError, match="private network"):
        through(make("none"), "http://far.example.org/", Way(proxy="http://127.0.0.1:3128"))


def test_a_proxy_that_refuses_is_named(ca_file: Path) -> None:
    with Proxy(1, refuses=True) as proxy:
        way = Way(ca_file=ca_file, proxy=proxy.url)
        with pytest.raises(TransientError, match="proxy did not let") as caught:
            through(make("all"), "https://localhost/x", way)
        assert caught.value.needs_you
        assert not caught.value.maybe_sent


def test_a_service_that_asks_for_a_certificate_gets_the_channel_s(
    authority: trustme.CA, ca_file: Path, names: Names, tmp_path: Path
) -> None:
    context = server_context(authority, "mutual.example.org")
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    own = tmp_path / "client.pem"
    authority.issue_cert("dbackup@example.org").private_key_and_cert_chain_pem.write_to_path(own)
    with Peer(context=context, name="mutual.example.org") as peer:
        names.lead("mutual.example.org", port=peer.port)
        url = "https://mutual.example.org/x"
        with_it = Way(ca_file=ca_file, client_certificate=own)
        way_out = make()
        assert through(way_out, url, with_it).status == 200
        with pytest.raises(TransientError):  # nobody else's connection is used
            through(way_out, url, Way(ca_file=ca_file))
        assert len(peer.requests) == 1


def test_a_renewed_certificate_is_used_at_once_and_a_broken_one_told(
    authority: trustme.CA, tmp_path: Path, peer: Peer
) -> None:
    own, way_out = tmp_path / "client.pem", make()
    way = Way(client_certificate=own)
    with pytest.raises(PermanentError, match="file with the client certificate"):
        through(way_out, peer.url, way)
    authority.issue_cert("dbackup@example.org").private_key_and_cert_chain_pem.write_to_path(own)
    assert through(way_out, peer.url, way).status == 200
    own.write_text("no certificate any more")
    with pytest.raises(PermanentError, match="file with the client certificate"):
        through(way_out, peer.url, way)


def test_renewed_authorities_of_the_server_are_used_at_once(
    make_peer: Callable[[str], Peer], ca_file: Path, tmp_path: Path
) -> None:
    make_peer("hooks.example.org")
    known = tmp_path / "authorities.pem"
    trustme.CA().cert_pem.write_to_path(known)
    way_out = make("all", known)
    with pytest.raises(TransientError, match="certificate"):
        post(way_out, "https://hooks.example.org/x")
    known.write_bytes(ca_file.read_bytes())
    assert post(way_out, "https://hooks.example.org/x").status == 200


def test_a_certificate_that_is_renewed_each_day_leaves_no_connection_open(
    authority: trustme.CA, tmp_path: Path, peer: Peer
) -> None:
    own, way_out = tmp_path / "client.pem", make()
    authority.issue_cert("dbackup@example.org").private_key_and_cert_chain_pem.write_to_path(own)
    for day in range(10):
        os.utime(own, (day, day))
        assert through(way_out, peer.url, Way(client_certificate=own)).status == 200
    gc.collect()
    assert peer.connections == 10  # never one of another certificate
    assert len(open_to(peer.port)) == 1


def open_to(port: int) -> list[str]:
    """Return the connections of this process to a port of this machine."""
    rows = Path("/proc/self/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    theirs = [row.split()[9] for row in rows if row.split()[2].endswith(f":{port:04X}")]
    mine = set()
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            mine.add(os.readlink(link))
    return [number for number in theirs if f"socket:[{number}]" in mine]
