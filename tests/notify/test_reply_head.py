"""Reads heads of replies as the standard library does, without its parser of mail."""

import http.client
import io
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.notify.reply_head import Reply, read_fields


def reply_to(sent: bytes, method: str = "POST") -> Reply:
    """Return what our end reads when the peer sends these bytes and closes."""
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(sent)
    with ours:
        found = Reply(ours, method=method)
        found.begin()
    return found


def fields_of(text: bytes) -> list[tuple[str, str]]:
    return read_fields(io.BytesIO(text)).items()


def test_names_values_and_repeated_fields_are_kept() -> None:
    sent = b"X-Id:7\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\nX-Empty:\r\nX-T:  a: b\t\r\n\r\nbody"
    assert fields_of(sent) == [
        ("X-Id", "7"),
        ("Set-Cookie", "a=1"),
        ("set-cookie", "b=2"),
        ("X-Empty", ""),
        ("X-T", "a: b"),
    ]


def test_a_length_of_thousands_of_digits_is_none() -> None:
    sent = b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\nbody"
    found = reply_to(sent)
    assert (found.length, found.will_close) == (None, True)
    assert found.read() == b"body"


def test_a_folded_field_is_one_and_a_line_without_colon_none() -> None:
    assert fields_of(b" odd\r\nA: 1\r\n 2\r\n\t3\r\nnonsense\r\nB: 4\n\n") == [
        ("A", "1 2 3"),
        ("B", "4"),
    ]


@pytest.mark.parametrize(
    ("head", "what"), [(b"A: " + b"x" * 70_000, "header line"), (b"A: 1\r\n" * 101, "100 headers")]
)
def test_a_head_without_end_is_refused(head: bytes, what: str) -> None:
    with pytest.raises(http.client.HTTPException, match=what):
        read_fields(io.BytesIO(head))


@pytest.mark.parametrize(
    ("sent", "body", "closes"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokrest", b"ok", False),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            b"ok",
            False,
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nok", b"ok", True),
        (b"HTTP/1.1 200 OK\r\n\r\nok", b"ok", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: Close\r\n\r\nok", b"ok", True),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok", True),
        (b"HTTP/1.1 204 No Content\r\n\r\nok", b"", False),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok", b"", True),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", b"", False),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nok", b"", True),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\nContent-Length: 0\r\n\r\nok",
            b"",
            True,
        ),
        (
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n"
            b"Content-Length: 0\r\n\r\nok"),
            b"",
            True,
        ),
        (
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"2\r\nok\r\n0\r\n\r\n"
            ),
            b"ok",
            True,
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\nok", b"ok", True),
        (b"HTTP/1.1 100 Continue\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
         b"ok", False),
        (b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
         b"ok", False),
    ],
)  # fmt: skip
def test_the_end_of_the_body_is_found(sent: bytes, body: bytes, *, closes: bool) -> None:
    found = reply_to(sent)
    assert found.will_close is closes
    assert found.read() == body


@pytest.mark.parametrize(
    "sent", [b"", b"garbage\r\n\r\n", b"HTTP/2.0 200 OK\r\n\r\n", b"HTTP/1.1 x"]
)
def test_what_is_no_reply_is_refused(sent: bytes) -> None:
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        reply_to(sent)


@pytest.mark.parametrize("size", [b"-1", b"-2", b"-FFFF"])
def test_a_chunk_of_negative_size_ends_the_body(size: bytes) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    found = reply_to(chunked + b"2\r\nok\r\n" + size + b"\r\n" + b"x" * 9_000)
    with pytest.raises(http.client.IncompleteRead) as caught:
        found.read()
    assert caught.value.partial == b"ok"


@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n" * 21 + b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"A: b\r\n" * 101,
    ],
)
def test_what_surrounds_a_body_has_an_end(sent: bytes) -> None:
    with pytest.raises(http.client.HTTPException, match="got more than"):
        reply_to(sent).read()


_VALUE = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20)
_FIELDS = st.lists(
    st.tuples(
        st.sampled_from(["Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive", "X"]),
        st.sampled_from(["0", "3", "chunked", "close", "keep-alive", "x, close"]) | _VALUE,
    ),
    max_size=5,
)


@given(_FIELDS, st.sampled_from(["1.0", "1.1"]), st.sampled_from([200, 204, 304, 404, 429]))
def test_the_standard_library_finds_the_same(
    fields: list[tuple[str, str]], version: str, status: int
) -> None:
    head = "".join(f"{name}: {value}\r\n" for name, value in fields)
    sent = f"HTTP/{version} {status} Words\r\n{head}\r\n".encode()
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(sent)
    with ours:
        expected = http.client.HTTPResponse(ours, method="POST")
        expected.begin()
    found = reply_to(sent)
    assert found.headers is not None
    assert found.headers.items() == expected.headers.items()
    assert found.chunked == expected.chunked
    assert (found.status, found.reason, found.version) == (status, "Words", expected.version)
    if all(value.isdigit() for name, value in fields if name == "Content-Length"):
        assert found.length == expected.length
        assert found.will_close or not expected.will_close
