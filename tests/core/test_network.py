"""Which addresses may be called."""

import socket
import threading
import time

import pytest

from webapp.core import network


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "0.0.0.0",
        "0.1.2.3",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd00:42::42",
        "fd00:a9fe:a9fe::1",
        "fd00:c1::a9fe:a9fe",
        "ff02::1",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "::169.254.169.254",
        "::ffff:0:169.254.169.254",
        "64:ff9b:1::169.254.169.254",
        "64:ff9b:1:a9fe:a9:fe00:1:1",
        "64:ff9b:1:64:64:6464:c801:1",
        "64:ff9b:1:2:a9:fea9:fe01:1",
        "2a00:db8::5efe:169.254.169.254",
        "fd12:3456::200:5efe:169.254.169.254",
    ],
)
def test_some_addresses_are_never_called(address: str) -> None:
    with pytest.raises(network.BlockedError, match="never called"):
        network.judge(address, allow_private=True)


@pytest.mark.parametrize("address", ["64:ff9b:1::8.8.8.8", "64:ff9b:1:fffe::8.8.8.8"])
def test_a_translator_of_ones_own_network_may_be_called_where_it_is_allowed(address: str) -> None:
    network.judge(address, allow_private=True)
    with pytest.raises(network.BlockedError, match="private network"):
        network.judge(address, allow_private=False)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.31.255.255",
        "192.168.178.2",
        "100.64.0.1",
        "::1",
        "fd12:3456::1",
        "fec0::1",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2001:0:808:808:0:0:f5ff:fffe",
    ],
)
def test_private_addresses_are_called_when_that_is_allowed(address: str) -> None:
    network.judge(address, allow_private=True)
    with pytest.raises(network.BlockedError, match="private network"):
        network.judge(address, allow_private=False)


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "64:ff9b::808:808"]
)
def test_public_addresses_are_called(address: str) -> None:
    network.judge(address, allow_private=False)


@pytest.mark.parametrize(
    "name", ["metadata", "metadata.google.internal", "Metadata.Google.Internal."]
)
def test_names_of_metadata_services_are_refused_unresolved(name: str) -> None:
    with pytest.raises(network.BlockedError, match="metadata"):
        network.resolve(name, 80, allow_private=True, seconds=1)


@pytest.mark.parametrize(
    "host",
    [
        *("169.254.169.254.", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518"),
        *("169.16689662.", "fe80::a9fe:a9fe%nowhere", "::ffff:a9fe:a9fe", "0", "0x0."),
    ],
)
def test_an_address_is_judged_also_where_it_leads_nowhere_from_here(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    def ask(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", ask)
    with pytest.raises(network.BlockedError, match="never called"):
        network.resolve(host, 80, allow_private=True, seconds=1)


def test_a_resolver_that_hangs_does_not_hold_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    end = threading.Event()

    def hang(*args: object, **kwargs: object) -> list[object]:
        end.wait(5)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    began = time.monotonic()
    with pytest.raises(network.UnknownHostError, match="in time") as caught:
        network.resolve("slow.example.org", 80, allow_private=True, seconds=0.1)
    end.set()
    assert time.monotonic() - began < 1
    assert not caught.value.is_final


def test_a_name_that_is_no_name_is_unknown() -> None:
    with pytest.raises(network.UnknownHostError):
        network.resolve("a" * 70 + ".example.org", 80, allow_private=True, seconds=1)
