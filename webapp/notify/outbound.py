"""The only way out for channels: address policy, time limits, no redirects, no environment."""

import contextlib
import itertools
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import certifi
import urllib3
from requests import PreparedRequest, Response, sessions
from requests.adapters import HTTPAdapter
from requests.exceptions import ConnectionError as LibraryError
from requests.exceptions import (
    InvalidHeader,
    InvalidSchema,
    InvalidURL,
    MissingSchema,
    ProxyError,
    RequestException,
    Timeout,
)
from requests.exceptions import SSLError as LibrarySSLError
from requests.utils import get_netrc_auth
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, SSLError
from urllib3.exceptions import TimeoutError as PoolTimeoutError
from urllib3.response import BaseHTTPResponse

from webapp import __version__
from webapp.core import network, shortage
from webapp.core.errors import ChannelError, PermanentError, TransientError
from webapp.core.settings import PrivateNetworks
from webapp.notify.reply_head import Reply

CONNECT_SECONDS: Final = 5.0
READ_SECONDS: Final = 15.0
TOTAL_SECONDS: Final = 30.0
REPLY_LIMIT: Final = 64 * 1024
IDLE_SECONDS: Final = 4.0
"""A connection that was idle for longer is not used again: many servers close theirs after 5 s."""
KEPT_PER_TARGET: Final = 16
KEPT_TARGETS: Final = 64
UNKNOWN_HOST_ADVICE: Final = (
    "Check the spelling of the host name and this server's name resolution."
)
NO_CONNECTION_ADVICE: Final = (
    "Check that the service runs and that a firewall lets this server reach it."
)
CERTIFICATE_ADVICE: Final = (
    "Renew the certificate, correct the host name, or let DBackup trust its authority with "
    "DBACKUP_CA_FILE."
)
NO_ANSWER_ADVICE: Final = (
    "The service is slow, or a device on the way holds answers back. DBackup tries again."
)
BLOCKED_ADVICE: Final = "Use an address of the service that this server may call."
USER_AGENT: Final = f"DBackup/{__version__}"


class Reach(StrEnum):
    """Whether a service is somebody's own server (private addresses are normal) or hosted."""

    SELF_HOSTED = "self-hosted"
    HOSTED = "hosted"


@dataclass(frozen=True)
class Way:
    """What a channel adds to the way out for itself."""

    ca_file: Path | None = None
    """Certificate authorities trusted beside the usual ones."""
    client_certificate: Path | None = None
    """A certificate and its key, by which the service knows us."""
    proxy: str = ""
    """Address of an HTTP proxy."""

    @property
    def files(self) -> tuple["_Pem | None", "_Pem | None"]:
        """Return both files as they are now: renewed ones are used at once."""
        return _pem(self.ca_file), _pem(self.client_certificate)


DIRECT: Final = Way()
_Pem = tuple[Path, int]
"""A file and when it was changed (nanoseconds)."""


def _pem(path: Path | None) -> _Pem | None:
    if path is None:
        return None
    with contextlib.suppress(OSError):
        return path, path.stat().st_mtime_ns
    return path, 0


@dataclass(frozen=True)
class Answer:
    """What a server answered over HTTP; `body` holds its first 64 KB.

    A body that broke off is cut there: the status line already said what became of the call.
    """

    status: int
    headers: Mapping[str, str]
    """Without regard to case."""
    body: bytes


class Call:
    """One conversation with a peer, which the watchdog ends when it lasts too long."""

    def __init__(self, deadline: float, *, allow_private: bool) -> None:
        self.deadline = deadline
        self.expired = False
        self.connected = False
        """True from the moment on which a part of the message may have reached the peer."""
        self._allow_private = allow_private
        self._handle: int | None = None
        self._lock = threading.Lock()

    def connect(self, host: str, port: int) -> socket.socket:
        """Open a connection to a judged address of the host; reads wait 15 s at most.

        Raises:
            PermanentError: the address may not be called.
            TransientError: unknown host, or no connection to any of its addresses.
        """
        until = time.monotonic() + CONNECT_SECONDS
        targets = self.resolve(host, port)
        problem: OSError = TimeoutError()
        for left, (family, address) in zip(range(len(targets), 0, -1), targets, strict=True):
            remaining = until - time.monotonic()
            if remaining <= 0:
                break
            try:
                sock = socket.socket(family, socket.SOCK_STREAM)
            except OSError as error:
                problem = error
                continue
            try:
                sock.settimeout(remaining / left)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.attach(sock)
                sock.connect(address)
            except OSError as error:
                sock.close()
                problem = error
                continue
            sock.settimeout(READ_SECONDS)
            return sock
        raise TransientError(
            f"No connection to {host}: {_why_not(problem)}.",
            advice=NO_CONNECTION_ADVICE,
        ) from problem

    def resolve(self, host: str, port: int) -> list[network.Target]:
        """Return the judged addresses of the host; see `connect` for what it raises."""
        try:
            return network.resolve(
                host, port, allow_private=self._allow_private, seconds=CONNECT_SECONDS
            )
        except network.BlockedError as error:
            raise PermanentError(
                f"{host} may not be called. {error}",
                advice=BLOCKED_ADVICE,
                breaks_channel=True,
            ) from error
        except network.UnknownHostError as error:
            raise TransientError(
                f"Unknown host. {error}",
                advice=UNKNOWN_HOST_ADVICE,
                needs_you=error.is_final,
            ) from error

    def attach(self, sock: socket.socket) -> None:
        """Let the watchdog end this connection, also after TLS was laid over it.

        The own descriptor survives the closing of the socket by its library and cannot be reused
        for another connection meanwhile.
        """
        with self._lock:
            if self.expired:
                raise TimeoutError("the time of this call is over")
            if self._handle is not None:
                os.close(self._handle)
            self._handle = os.dup(sock.fileno())

    def expire(self) -> None:
        """End the conversation; the thread that waits for the peer gets an error at once."""
        with self._lock:
            self.expired = True
            if self._handle is not None:
                with contextlib.suppress(OSError), socket.socket(fileno=self._handle) as sock:
                    sock.shutdown(socket.SHUT_RDWR)
                self._handle = None

    def finish(self) -> None:
        """Give up the descriptor."""
        with self._lock:
            if self._handle is not None:
                os.close(self._handle)
                self._handle = None


@dataclass
class Loan:
    """Our way out in the hands of a library that calls by `requests` itself."""

    call: Call
    context: ssl.SSLContext
    seconds: float
    proxy: str = ""
    judge_beyond: Callable[[str], None] = lambda _url: None
    answered: bool = False
    """True when a service has answered anything; a part of the message may have arrived."""
    problem: ChannelError | None = None
    """What the latest request failed of."""

    def failed_of(self, error: ChannelError) -> ChannelError:
        """Remember and return it."""
        if isinstance(error, TransientError):
            error.maybe_sent = error.maybe_sent or self.answered
        self.problem = error
        return error


class _Stop(BaseException):
    """Leaves a library that goes on after errors: what it would try next fails as well."""


class Watchdog:
    """One thread that ends every call that lasts longer than the limit.

    All calls have the same limit, so the oldest is always the next, and a thread that found none
    may sleep for the whole limit without missing one. It ends when it finds none to watch.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._calls: dict[int, Call] = {}
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, call: Call) -> int:
        """Watch a call from now on; return the number to remove it by."""
        number = next(self._numbers)
        with self._lock:
            self._calls[number] = call
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
                thread.start()  # where that fails, the next call tries it again
                self._thread = thread
        return number

    def remove(self, number: int) -> None:
        """Stop watching a call."""
        with self._lock:
            self._calls.pop(number, None)

    def _run(self) -> None:
        pause = self.seconds
        while True:
            time.sleep(pause)
            with self._lock:
                now = time.monotonic()
                late = [(n, call) for n, call in self._calls.items() if call.deadline <= now]
                for number, _ in late:
                    del self._calls[number]
                if not self._calls and not late:
                    self._thread = None
                    return
                oldest = next(iter(self._calls.values()), None)
                pause = max(oldest.deadline - now, 0.001) if oldest else self.seconds
            for _, call in late:
                call.expire()


class Outbound:
    """Makes calls within limits: 5 s to connect, 15 s between bytes, 30 s in all."""

    def __init__(
        self,
        *,
        allow_private_networks: PrivateNetworks,
        ca_file: Path | None,
        total_seconds: float = TOTAL_SECONDS,
    ) -> None:
        self._allow_private_networks = allow_private_networks
        self._ca_file = ca_file
        self._watchdog = Watchdog(total_seconds)
        self._adapters: dict[tuple[Reach, Way], tuple[object, _Adapter]] = {}
        """With the files that each was made from."""
        self._lock = threading.Lock()

    def request(
        self,
        method: str,
        url: str,
        *,
        reach: Reach,
        headers: Mapping[str, str],
        body: bytes,
        way: Way = DIRECT,
    ) -> Answer:
        """Call and return the answer, whatever its status (a redirect is an answer, too).

        Behind a proxy, the address that is called in the end is the proxy's to find: the name is
        judged as far as this server knows it, and the proxy itself as a self-hosted service.

        Raises:
            PermanentError: the address may not be called, or is no address.
            TransientError: no connection, no answer in time, a certificate that does not verify.
        """
        request = _prepared(method, url, headers, body)
        if reach is Reach.HOSTED and not str(request.url).startswith("https://"):
            raise PermanentError("This service is only called over https.", breaks_channel=True)
        adapter = self._adapter(reach, way)
        with self.call(Reach.SELF_HOSTED if way.proxy else reach) as call:
            _current.call = call
            try:
                if way.proxy:
                    self._judge_beyond(str(request.url), reach)
                return _answer(adapter.open(request, way.proxy))
            except (RequestException, HTTPError, OSError, UnicodeError, ValueError) as error:
                raise _sorted_error(error, call, self._watchdog.seconds) from error
            finally:
                _current.call = None

    @contextlib.contextmanager
    def call(self, reach: Reach) -> Iterator[Call]:
        """Watch one conversation over a socket that `Call.connect` opens (SMTP)."""
        call = Call(
            time.monotonic() + self._watchdog.seconds, allow_private=self._allows_private(reach)
        )
        number = self._watchdog.add(call)
        try:
            yield call
        finally:
            self._watchdog.remove(number)
            call.finish()

    def _judge_beyond(self, url: str, reach: Reach) -> None:
        """Judge what lies behind a proxy, as far as this server can look it up."""
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        with contextlib.suppress(TransientError), self.call(reach) as call:
            call.resolve(parts.hostname or "", port)

    @contextlib.contextmanager
    def lend(self, reach: Reach, way: Way = DIRECT) -> Iterator[Loan]:
        """Let `requests` in this thread call within our limits, whoever uses it.

        Every connection goes to a judged address and verifies certificates, an answer is read to
        its limit, and neither proxies nor credentials (netrc) of the environment are used. All that
        happens inside has the time of one call; then it is left, in the middle of a library if need
        be.

        Raises:
            PermanentError: an address may not be called.
            TransientError: the time is over.
        """
        sessions.HTTPAdapter = _adapter_of_thread  # type: ignore[assignment]  # the only hook
        sessions.get_netrc_auth = _netrc_of_thread
        with self.call(Reach.SELF_HOSTED if way.proxy else reach) as call:
            loan = Loan(call, self.ssl_context(way), self._watchdog.seconds, way.proxy)
            loan.judge_beyond = lambda url: self._judge_beyond(url, reach)
            _current.loan = loan
            try:
                yield loan
            except _Stop as stop:
                raise loan.problem or RuntimeError("a loan ended without a reason") from stop
            finally:
                _current.loan = None

    @property
    def total_seconds(self) -> float:
        """Return the limit of a whole call."""
        return self._watchdog.seconds

    def ssl_context(self, way: Way = DIRECT) -> ssl.SSLContext:
        """Return a context that verifies names and certificates, with TLS 1.2 at least.

        Raises:
            PermanentError: the file with additional authorities, or with our own certificate,
                cannot be used.
        """
        authorities, own = way.files
        known = (_pem(self._ca_file), authorities)
        return _context(tuple(file for file in known if file is not None), own)

    def close(self) -> None:
        """Close the connections that are kept for reuse."""
        with self._lock:
            for _, adapter in self._adapters.values():
                adapter.close()
            self._adapters.clear()

    def _allows_private(self, reach: Reach) -> bool:
        allowed = self._allow_private_networks
        return allowed == "all" or (allowed == "self-hosted" and reach is Reach.SELF_HOSTED)

    def _adapter(self, reach: Reach, way: Way) -> "_Adapter":
        """Return the connections for this reach and these certificates, never shared with others.

        Those through a proxy are apart, too: they are judged otherwise. When a file was renewed,
        new connections take the place of the old ones.
        """
        key, files = (reach, way), (_pem(self._ca_file), *way.files)
        known = self._adapters.get(key)
        if known is not None and known[0] == files:
            return known[1]
        made = _Adapter(self.ssl_context(way))
        with self._lock:
            known = self._adapters.get(key)
            if known is not None and known[0] == files:  # another thread was faster
                return known[1]
            self._adapters[key] = files, made
        if known is not None:
            known[1].close()
        return made


@lru_cache(maxsize=16)
def _context(ca_files: tuple[_Pem, ...], own: _Pem | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not context.cert_store_stats()["x509_ca"]:  # a slim container without ca-certificates
        context.load_verify_locations(certifi.where())
    for path, _ in ca_files:
        try:
            context.load_verify_locations(path)
        except OSError as error:
            if shortage.words(error):
                raise
            raise PermanentError(
                f"The file with certificate authorities {path} cannot be used "
                f"({type(error).__name__}).",
                advice="Check that it exists, that the server may read it, and that it is PEM.",
                breaks_channel=True,
            ) from error
    if own is not None:
        try:
            context.load_cert_chain(own[0], password=_no_passphrase)
        except OSError as error:
            if shortage.words(error):
                raise
            raise PermanentError(
                f"The file with the client certificate {own[0]} cannot be used "
                f"({type(error).__name__}).",
                advice="Check that it exists, that the server may read it, and that it is PEM with "
                "the certificate and its key, without a passphrase.",
                breaks_channel=True,
            ) from error
    return context


def _no_passphrase() -> str:
    """Answer in place of a person at a terminal, whom OpenSSL would ask."""
    return ""


def _proxies(address: str) -> dict[str, str]:
    return {"http": address, "https": address} if address else {}


_SECONDS: Final = (CONNECT_SECONDS, READ_SECONDS)
_TIMEOUT: Final = urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS)


class _Current(threading.local):
    """The call that this thread is making, and the loan that it calls by."""

    call: Call | None = None
    loan: Loan | None = None
    meanwhile: Callable[[], None] | None = None
    """What the thread does once while the service thinks about its next request."""


_current = _Current()


@contextlib.contextmanager
def meanwhile(act: Callable[[], None] | None) -> Iterator[None]:
    """Let this thread do something short while it waits for an answer over HTTP, once at most."""
    _current.meanwhile = act
    try:
        yield
    finally:
        _current.meanwhile = None


def _call() -> Call:
    if _current.call is None:
        raise RuntimeError("connections are opened by Outbound.request only")
    return _current.call


class _Pinned(HTTPConnection):
    """Connects to an address that was judged; Host, SNI and certificate keep the name."""

    response_class = Reply
    _used_at: float = 0.0
    _gathered: list[bytes] | None = None

    @property
    def is_connected(self) -> bool:
        """Say whether the connection may be used again."""
        return super().is_connected and time.monotonic() - self._used_at < IDLE_SECONDS

    def _new_conn(self) -> socket.socket:
        sock = _call().connect(self._dns_host, self.port)
        # TLS is negotiated on it next, within the time to connect; urllib3 sets the time to read
        sock.settimeout(CONNECT_SECONDS)
        return sock

    def connect(self) -> None:
        """Connect; from then on the peer may have received something."""
        super().connect()
        _call().connected = True

    def request(self, *args: Any, **kwargs: Any) -> None:
        """Send a request, over a kept connection under the eyes of the watchdog, too."""
        if self.sock is not None and not _call().connected:
            _call().attach(self.sock)
            _call().connected = True
        gathered: list[bytes] = []
        self._gathered = gathered
        try:
            super().request(*args, **kwargs)
        finally:
            self._gathered = None
        self.send(b"".join(gathered))
        self._used_at = time.monotonic()
        act, _current.meanwhile = _current.meanwhile, None
        if act is not None:
            act()

    def send(self, data: Any) -> None:
        """Send; the head waits for the body, so that a message leaves as one piece."""
        if self._gathered is None:
            super().send(data)
        else:
            self._gathered.append(data)


class _PinnedTLS(_Pinned, HTTPSConnection):
    """The same with TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Pinned


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _PinnedTLS


class _Adapter(HTTPAdapter):
    """Keeps connections for reuse; its certificates are those of the given context only."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__(pool_connections=KEPT_TARGETS, pool_maxsize=KEPT_PER_TARGET)
        self._pool = lru_cache(KEPT_TARGETS)(self._new_pool)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pools with our kinds of connection."""
        super().init_poolmanager(*args, **kwargs, ssl_context=self._context)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}

    def open(self, request: PreparedRequest, proxy: str) -> BaseHTTPResponse:
        """Send a request once and return its answer, whose body is still to be read.

        What `send` does besides, apart from proxies (cookies, an object for each answer), takes as
        long as the call itself.
        """
        if proxy:
            through = self.send(request, stream=True, timeout=_SECONDS, proxies=_proxies(proxy))
            relayed: BaseHTTPResponse = through.raw
            return relayed
        answer: BaseHTTPResponse = self._pool(*_target(str(request.url))).urlopen(
            str(request.method),
            request.path_url,
            body=request.body,
            headers=request.headers,
            retries=False,
            redirect=False,
            assert_same_host=False,
            preload_content=False,
            decode_content=False,
            timeout=_TIMEOUT,
        )
        return answer

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        """Return the connections through a proxy: to its judged address, with our context."""
        manager = super().proxy_manager_for(*args, **kwargs, ssl_context=self._context)
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}
        return manager

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Leave the context alone: it verifies already, and holds what is trusted."""

    def close(self) -> None:
        """Close the connections that are kept."""
        self._pool.cache_clear()  # urllib3 closes those of a pool that nobody uses any more
        super().close()

    def _new_pool(self, scheme: str, host: str, port: int) -> HTTPConnectionPool:
        if scheme == "https":
            return _TLSPool(host, port, maxsize=KEPT_PER_TARGET, ssl_context=self._context)
        return _Pool(host, port, maxsize=KEPT_PER_TARGET)


@lru_cache(maxsize=128)  # the addresses of the channels, again and again
def _target(url: str) -> tuple[str, str, int]:
    parts = urllib3.util.parse_url(url)
    scheme = parts.scheme or "http"
    return scheme, parts.host or "", parts.port or (443 if scheme == "https" else 80)


class _LentAdapter(_Adapter):
    """Serves a library's own sessions: pinned, watched, and read to the limit only."""

    def __init__(self, loan: Loan) -> None:
        self._loan = loan
        super().__init__(loan.context)

    def send(self, request: PreparedRequest, *_: Any, **__: Any) -> Response:
        """Call with our limits, whatever the library asked for."""
        loan = self._loan
        _current.call, loan.call.connected = loan.call, False
        try:
            if loan.call.expired:
                raise TimeoutError
            if loan.proxy:
                loan.judge_beyond(str(request.url))
            proxies = _proxies(loan.proxy)
            response = super().send(request, stream=True, timeout=_SECONDS, proxies=proxies)
            response._content = _read(response.raw)
            response._content_consumed = True  # type: ignore[attr-defined]  # as its own reading does
        except PermanentError as error:
            loan.failed_of(error)
            raise _Stop from error
        except (TransientError, RequestException, HTTPError, OSError, ValueError) as error:
            if isinstance(error, TransientError) and not loan.call.expired:
                problem = loan.failed_of(error)
            else:
                problem = loan.failed_of(_sorted_error(error, loan.call, loan.seconds))
            if loan.call.expired:
                raise _Stop from error
            raise LibraryError(str(problem), request=request) from error
        finally:
            _current.call = None
        loan.answered = True
        return response


def _adapter_of_thread() -> HTTPAdapter:
    """Return what a new session of `requests` calls through: ours where our way out is lent."""
    loan = _current.loan
    return HTTPAdapter() if loan is None else _LentAdapter(loan)


def _netrc_of_thread(url: str | bytes, raise_errors: bool = False) -> tuple[str, str] | None:
    """Return what the server's user has noted for a host; nothing where our way out is lent."""
    return get_netrc_auth(url, raise_errors) if _current.loan is None else None


def _prepared(method: str, url: str, headers: Mapping[str, str], body: bytes) -> PreparedRequest:
    request = PreparedRequest()
    try:
        request.prepare_method(method)
        request.url = _prepared_url(url)
        request.prepare_headers(
            {"User-Agent": USER_AGENT, "Accept-Encoding": "identity"} | dict(headers)
        )
    except (InvalidURL, MissingSchema, InvalidSchema, UnicodeError, ValueError) as error:
        if isinstance(error, InvalidHeader):
            raise _bad_header() from error
        raise PermanentError(
            "The address of this channel is no address that can be called.",
            advice="Enter an address such as https://example.org/path.",
            breaks_channel=True,
        ) from error
    if body or method not in {"GET", "HEAD"}:
        request.body = body
        request.headers["Content-Length"] = str(len(body))
    return request


@lru_cache(maxsize=128)  # the addresses of the channels, again and again
def _prepared_url(url: str) -> str:
    request = PreparedRequest()
    request.prepare_url(url, None)
    if not str(request.url).startswith(("http://", "https://")):
        raise InvalidSchema
    if "@" in urlsplit(str(request.url)).netloc:  # user and password would stand in every log
        raise InvalidURL
    return str(request.url)


def _answer(raw: BaseHTTPResponse) -> Answer:
    body = _read(raw)
    return Answer(raw.status, raw.headers, body)


def _read(raw: Any) -> bytes:
    """Return the beginning of a body, and let go of the connection."""
    body = b""
    with contextlib.suppress(HTTPError, OSError):  # the status line was there: see Answer
        while len(body) < REPLY_LIMIT:
            more = raw.read(REPLY_LIMIT - len(body), decode_content=True)
            if not more:
                break
            body += more
    if raw.closed:  # to its end
        raw.release_conn()
    else:
        raw.close()
    return body


def _bad_header() -> PermanentError:
    return PermanentError(
        "A header of this channel has signs that HTTP does not allow.",
        advice="Use letters, digits and signs of ASCII in headers, without line breaks.",
        breaks_channel=True,
    )


def _sorted_error(error: Exception, call: Call, seconds: float) -> PermanentError | TransientError:
    """Return what this error means for the delivery. Its own text may hold the address: unused."""
    if call.expired:
        return TransientError(
            f"No complete answer within {seconds:g} s.",
            advice=NO_ANSWER_ADVICE,
            maybe_sent=call.connected,
        )
    if isinstance(error, ValueError) and not isinstance(error, (HTTPError, RequestException)):
        return _bad_header()
    if isinstance(error, ProxyError):
        return TransientError(
            "The proxy did not let the call through.",
            advice="Check the proxy's address in this channel, and that it allows this service.",
            needs_you=True,
        )
    if isinstance(error, (SSLError, LibrarySSLError)):
        return tls_error(error, maybe_sent=call.connected)
    if isinstance(error, (PoolTimeoutError, Timeout, TimeoutError)):
        return TransientError(
            f"No answer within {READ_SECONDS if call.connected else CONNECT_SECONDS:g} s.",
            advice=NO_ANSWER_ADVICE,
            maybe_sent=call.connected,
        )
    return TransientError(
        "The service closed the connection without an answer.",
        advice="The service restarted, or a device on the way cut the connection.",
        maybe_sent=call.connected,
    )


def tls_error(error: BaseException, *, maybe_sent: bool = False) -> TransientError:
    """Return what a failed TLS handshake means; it seldom heals without a person."""
    cause = _cause(error, ssl.SSLCertVerificationError)
    if cause is not None:
        return TransientError(
            f"The certificate of the service was not accepted: {cause.verify_message}.",
            advice=CERTIFICATE_ADVICE,
            needs_you=True,
        )
    return TransientError(
        "The encrypted connection could not be set up.",
        advice="Check that this port speaks TLS (version 1.2 or newer) and not plain text.",
        needs_you=True,
        maybe_sent=maybe_sent,
    )


def _cause(
    error: BaseException | None, kind: type[ssl.SSLCertVerificationError]
) -> ssl.SSLCertVerificationError | None:
    """Return the error of this kind that the libraries wrapped."""
    seen: set[int] = set()
    pending = [error]
    while pending:
        current = pending.pop()
        if current is None or id(current) in seen:
            continue
        if isinstance(current, kind):
            return current
        seen.add(id(current))
        pending += [current.__cause__, current.__context__]
        pending += [arg for arg in current.args if isinstance(arg, BaseException)]
        pending.append(getattr(current, "reason", None) if isinstance(current, HTTPError) else None)
    return None


def _why_not(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return f"nothing answered within {CONNECT_SECONDS:g} s"
    if isinstance(error, ConnectionRefusedError):
        return "it was refused, so nothing listens at this port"
    return (error.strerror or type(error).__name__).lower()
