"""Seals data under a passphrase that people type: scrypt makes the key, AES-256-GCM seals.

The sealed form is a JSON-ready mapping with every parameter that opening needs; it is described
in docs/configuration-backup.md.
"""

import base64
import binascii
import os
import unicodedata
from collections.abc import Mapping
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from webapp.core.errors import InvalidError

SHORTEST: Final = 12  # characters
CIPHER: Final = "AES-256-GCM"
KDF: Final = "scrypt"
# 64 MB and about a fifth of a second: the second of the settings that OWASP names as equal,
# https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html
N: Final = 2**16
R: Final = 8
P: Final = 2
MOST_N: Final = 2**20  # a file that asks for more memory (1 GB) was not made by us
SALT_BYTES: Final = 16
NONCE_BYTES: Final = 12
KEY_BYTES: Final = 32

WRONG: Final = (
    "The passphrase does not open this file. It is another one, or the file was changed or damaged."
)


def require_strong(passphrase: str) -> None:
    """Refuse a passphrase that could be guessed.

    Raises:
        InvalidError: it is too short.
    """
    if len(passphrase) < SHORTEST:
        raise InvalidError(
            f"Use at least {SHORTEST} characters. A short sentence is easy to remember.",
            "passphrase",
        )


def seal(clear: bytes, passphrase: str, bound_to: bytes) -> dict[str, Any]:
    """Return the sealed form; it opens only together with the very bytes it is bound to."""
    salt, nonce = os.urandom(SALT_BYTES), os.urandom(NONCE_BYTES)
    data = AESGCM(_key(passphrase, salt, N, R, P)).encrypt(nonce, clear, bound_to)
    return {
        "cipher": CIPHER,
        "kdf": KDF,
        "n": N,
        "r": R,
        "p": P,
        "salt": _text(salt),
        "nonce": _text(nonce),
        "data": _text(data),
    }


def open_sealed(sealed: Mapping[str, Any], passphrase: str, bound_to: bytes) -> bytes:
    """Return what was sealed.

    Raises:
        InvalidError: the passphrase is another one, or the file was changed.
    """
    try:
        n, r, p = int(sealed["n"]), int(sealed["r"]), int(sealed["p"])
        known = (sealed["cipher"], sealed["kdf"]) == (CIPHER, KDF)
        salt, nonce, data = (_bytes(sealed[name]) for name in ("salt", "nonce", "data"))
        if not known or n > MOST_N or r > R or p > P * 8:
            raise ValueError
        return AESGCM(_key(passphrase, salt, n, r, p)).decrypt(nonce, data, bound_to)
    except InvalidTag as error:
        raise InvalidError(WRONG, "passphrase") from error
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidError("The sealed part of this file is damaged.") from error


def _key(passphrase: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    # NFC: the same letters typed on another system may arrive composed differently
    typed = unicodedata.normalize("NFC", passphrase).encode()
    return Scrypt(salt=salt, length=KEY_BYTES, n=n, r=r, p=p).derive(typed)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _bytes(text: Any) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error
