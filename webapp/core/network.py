"""Which addresses may be called, judged after resolution and never by their text."""

import contextlib
import ipaddress
import socket
import threading
from collections.abc import Iterator
from typing import Final, cast

from webapp.core.errors import AppError

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Target = tuple[socket.AddressFamily, tuple[str | int, ...]]
"""A family and a socket address, ready for `connect`."""

# Nobody's server lives here, but the secrets of a rented machine do: never, whatever is allowed.
_NEVER: Final = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",  # this host
        "169.254.0.0/16",  # link-local: AWS, Google, Azure and others answer at 169.254.169.254
        "100.100.100.200/32",  # Alibaba
        "168.63.129.16/32",  # Azure host
        "192.0.0.192/32",  # Oracle
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
        "::/128",
        "fe80::/10",
        "fd00:42::42/128",  # Scaleway
        "fd00:a9fe:a9fe::1/128",  # Akamai (Linode)
        "fd00:c1::a9fe:a9fe/128",  # Oracle
        "fd00:ec2::/32",  # AWS: metadata, and credentials of pods at ::23
        "fd20:ce::254/128",  # Google
        "ff00::/8",
    )
)
_NEVER_NAMES: Final = frozenset({"metadata", "metadata.google.internal"})
_PRIVATE: Final = tuple(
    ipaddress.ip_network(network)
    for network in (
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",  # carrier-grade NAT, also used by overlay networks
        "192.0.0.0/24",
        "198.18.0.0/15",
        "::1/128",
        "fc00::/7",
        "fec0::/10",
        "64:ff9b:1::/48",
    )
)
_LAST_32_BITS_HOLD_IPV4: Final = tuple(
    ipaddress.IPv6Network(network)
    for network in ("::/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48")
)
_ISATAP: Final = frozenset({0x00005EFE, 0x02005EFE})
"""The third quarter of an address whose last one is an IPv4 address to tunnel to (RFC 5214)."""
_LOCAL_NAT64: Final = ipaddress.IPv6Network("64:ff9b:1::/48")
_METADATA: Final = tuple(
    ipaddress.ip_network(network)
    for network in ("169.254.0.0/16", "100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32")
)


class BlockedError(AppError):
    """The address may not be called; the text says which rule forbids it."""


class UnknownHostError(AppError):
    """The name could not be resolved. `is_final` is false when the resolver itself had trouble."""

    def __init__(self, message: str, *, is_final: bool) -> None:
        super().__init__(message)
        self.is_final = is_final


def resolve(host: str, port: int, *, allow_private: bool, seconds: float) -> list[Target]:
    """Return the addresses of a name after judging every one of them.

    Raises:
        BlockedError: one of them may not be called, or the name itself may not.
        UnknownHostError: there is no such name, or no answer about it within the limit.
    """
    if host.rstrip(".").lower() in _NEVER_NAMES:
        raise BlockedError("This name belongs to the metadata service of a cloud provider.")
    literal = _literal(host)
    if literal:  # also one that leads nowhere from here, but perhaps from a proxy
        judge(literal, allow_private=allow_private)
    targets = _look_up(literal or host, port, seconds)
    for _, address in targets:
        judge(str(address[0]), allow_private=allow_private)
    return targets


def judge(address: str, *, allow_private: bool) -> None:
    """Say nothing when the address may be called.

    Raises:
        BlockedError: it may not; addresses that are wrapped in IPv6 count as what is inside.
    """
    for inner in _unwrapped(ipaddress.ip_address(address.partition("%")[0])):
        if _within(inner, _NEVER):
            raise BlockedError(
                f"The address {inner} is never called: it is link-local, multicast, reserved or "
                "the metadata service of a cloud provider."
            )
        if not allow_private and _within(inner, _PRIVATE):
            raise BlockedError(
                f"The address {inner} is in a private network, which is not allowed here. "
                "The setting DBACKUP_ALLOW_PRIVATE_NETWORKS decides about it."
            )


def _within(address: IPAddress, networks: tuple[ipaddress._BaseNetwork, ...]) -> bool:  # type: ignore[type-arg]
    return any(address.version == network.version and address in network for network in networks)


def _unwrapped(address: IPAddress) -> Iterator[IPAddress]:
    """Yield the address and every IPv4 address that is embedded in it."""
    yield address
    if isinstance(address, ipaddress.IPv4Address) or int(address) <= 1:
        return
    found = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if (
        any(address in network for network in _LAST_32_BITS_HOLD_IPV4)
        or _bits(address, 64) in _ISATAP
    ):
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    if address in _LOCAL_NAT64:
        found += _elsewhere_in(address)
    yield from (inner for inner in found if inner is not None)


def _elsewhere_in(address: ipaddress.IPv6Address) -> list[IPAddress]:
    """Return metadata services that a local translator may find in other bits than the last ones.

    How long the translator's prefix is, the address does not say (RFC 6052, 2.2), so all lengths
    are tried; what looks like any other address is chance.
    """
    possible = [
        _bits(address, 48, 16) << 16 | _bits(address, 72, 16),
        _bits(address, 56, 8) << 24 | _bits(address, 72, 24),
        _bits(address, 72, 32),
    ]
    return [inner for inner in map(ipaddress.IPv4Address, possible) if _within(inner, _METADATA)]


def _bits(address: ipaddress.IPv6Address, start: int, length: int = 32) -> int:
    return int(address) >> (128 - start - length) & (1 << length) - 1


def _look_up(host: str, port: int, seconds: float) -> list[Target]:
    """Resolve with a time limit, which the system's resolver does not have.

    A thread is left to its fate when the resolver does not answer; it is a daemon and ends when
    the resolver gives up.
    """
    if _literal(host):
        return _ask(host, port)
    answer: list[list[Target] | BaseException] = []

    def ask() -> None:
        try:
            answer.append(_ask(host, port))
        except BaseException as error:  # noqa: BLE001 - handed over to the waiting thread
            answer.append(error)

    thread = threading.Thread(target=ask, name="resolver", daemon=True)
    thread.start()
    thread.join(seconds)
    if not answer:
        raise UnknownHostError("The name server did not answer in time.", is_final=False)
    if isinstance(answer[0], BaseException):
        raise answer[0]
    return answer[0]


def _literal(host: str) -> str:
    """Return the address that a host is by its text, "" when it is a name.

    Some programs take an IPv4 address with a dot at its end for one, so a proxy might.
    """
    text = host.rstrip(".")
    try:
        ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        with contextlib.suppress(OSError, ValueError):
            return socket.inet_ntoa(socket.inet_aton(text))  # "0x7f.1" and the like
        return ""
    return text


_NO_SUCH_HOST: Final = frozenset(
    getattr(socket, name, socket.EAI_NONAME)  # not every system has all of them
    for name in ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY")
)
"""Other errors are about the name server or this machine, and pass."""


def _ask(host: str, port: int) -> list[Target]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno not in _NO_SUCH_HOST:
            raise UnknownHostError(
                f"The name {host} cannot be looked up at the moment.", is_final=False
            ) from error
        raise UnknownHostError(f"There is no host called {host}.", is_final=True) from error
    except UnicodeError as error:
        raise UnknownHostError(f"{host!r} is no host name.", is_final=True) from error
    return [(family, cast("tuple[str | int, ...]", address)) for family, *_, address in found]


def looks_local(host: str) -> bool:
    """Say whether a host is of the own network by its text: a private address, or a name that no
    public resolver knows. Nothing is looked up; use it for politeness and never for safety.
    """
    name = host.strip("[]").rstrip(".").lower()
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return "." not in name or name.endswith((".local", ".lan", ".home.arpa", ".internal"))
    return address.is_private or address.is_loopback
