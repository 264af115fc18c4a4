"""Signatures of webhooks: https://github.com/standard-webhooks/standard-webhooks (1.0.0)."""

import base64
import binascii
import hashlib
import hmac
from datetime import datetime
from typing import Final

PREFIX: Final = "whsec_"
SHORTEST: Final = 24
LONGEST: Final = 64


def key_of(secret: str) -> bytes:
    """Return the key of a secret `whsec_…`.

    Raises:
        ValueError: the rest is no base64 of 24 to 64 bytes.
    """
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError("no base64") from error
    if not SHORTEST <= len(key) <= LONGEST:
        raise ValueError("wrong length")
    return key


def headers(
    secret: str, identifier: str, body: bytes, at: datetime, *, previous: str = ""
) -> dict[str, str]:
    """Return the headers that sign these bytes for this attempt.

    With `previous`, a secret that is being replaced, there are two signatures, of which a receiver
    needs to know one.
    """
    timestamp = str(int(at.timestamp()))
    signed = b".".join((identifier.encode(), timestamp.encode(), body))
    secrets = filter(None, (secret, previous))
    return {
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(_signature(one, signed) for one in secrets),
    }


def _signature(secret: str, signed: bytes) -> str:
    digest = hmac.new(key_of(secret), signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"
