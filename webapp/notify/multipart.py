"""A body of two parts: JSON and one file, as Discord takes attachments."""

import re
from hashlib import sha256
from typing import Final

_JSON: Final = "payload_json"
_FILE: Final = "files[0]"


def build(payload: bytes, name: str, content: bytes, *, seed: str) -> tuple[bytes, str]:
    """Return the body and its content type; the same seed gives the same bytes."""
    boundary = sha256(seed.encode()).hexdigest()[:32]
    while boundary.encode() in payload or boundary.encode() in content:
        boundary = sha256(boundary.encode()).hexdigest()[:32]
    mark = f"--{boundary}\r\n".encode()
    body = b"".join(
        (
            mark,
            f'Content-Disposition: form-data; name="{_JSON}"\r\n'.encode(),
            b"Content-Type: application/json\r\n\r\n",
            payload,
            b"\r\n",
            mark,
            f'Content-Disposition: form-data; name="{_FILE}"; filename="{name}"\r\n'.encode(),
            b"Content-Type: text/plain; charset=utf-8\r\n\r\n",
            content,
            f"\r\n--{boundary}--\r\n".encode(),
        )
    )
    return body, f"multipart/form-data; boundary={boundary}"


def parts(body: str, content_type: str) -> tuple[str, dict[str, str | int]]:
    """Return the JSON of a body made by `build`, and name and length of its file."""
    boundary = content_type.partition("boundary=")[2]
    _, first, second, _ = body.split(f"--{boundary}")
    named = re.search(r'filename="([^"]*)"', second)
    return _content(first), {
        "name": named[1] if named else "file",
        "size": len(_content(second).encode()),
    }


def _content(part: str) -> str:
    return part.partition("\r\n\r\n")[2].removesuffix("\r\n")
