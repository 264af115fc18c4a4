"""Sealing of secrets at rest, references to secrets kept elsewhere, and masking in texts."""

import base64
import json
import os
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, quote_plus

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from webapp.core.errors import SecretError

MASK: Final = "***"
ENV_REFERENCE: Final = "env:"
FILE_REFERENCE: Final = "file:"
SHORTEST_MASKED: Final = 4  # shorter values would blacken ordinary words


class Sealer:
    """Seals and opens configurations with the newest of its keys; older keys still open."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._fernet = MultiFernet([Fernet(key) for key in keys])

    def seal(self, value: Mapping[str, Any]) -> str:
        """Return the mapping, which must be JSON-ready, as one opaque text."""
        clear = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
        return self._fernet.encrypt(clear).decode("ascii")

    def open(self, sealed: str) -> dict[str, Any]:
        """Return what was sealed.

        Raises:
            SecretError: none of the keys fits; the encryption key file is not the one that
                was in use when this was saved.
        """
        try:
            clear = self._fernet.decrypt(sealed.encode("ascii"))
        except InvalidToken as error:
            raise SecretError(
                "The stored secrets cannot be opened with the present encryption keys. "
                "Restore the file encryption_keys that belongs to this database."
            ) from error
        value: dict[str, Any] = json.loads(clear)
        return value

    def reseal(self, sealed: str) -> str:
        """Return the same content sealed with the newest key."""
        try:
            return self._fernet.rotate(sealed.encode("ascii")).decode("ascii")
        except InvalidToken as error:
            raise SecretError("A stored secret cannot be opened with the present keys.") from error


def is_reference(value: object) -> bool:
    """Say whether the value names a secret kept elsewhere instead of being one."""
    return isinstance(value, str) and value.startswith((ENV_REFERENCE, FILE_REFERENCE))


def resolve(value: str) -> str:
    """Return the secret that `env:NAME` or `file:/path` refers to; other text is returned as is.

    A file is read anew each time, so a rotated secret is used at once; one trailing line break is
    dropped.

    Raises:
        SecretError: the variable is not set, or the file cannot be read or is empty.
    """
    if value.startswith(ENV_REFERENCE):
        name = value.removeprefix(ENV_REFERENCE)
        found = os.environ.get(name)
        if not found:
            raise SecretError(
                f"The environment variable {name} is not set. "
                "Set it for the server, or enter the secret here."
            )
        return found
    if value.startswith(FILE_REFERENCE):
        path = value.removeprefix(FILE_REFERENCE)
        try:
            content = Path(path).read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
        except (OSError, UnicodeDecodeError) as error:
            raise SecretError(
                f"The secret file {path} cannot be read ({type(error).__name__}). "
                "Check that it exists and that the server's user may read it."
            ) from error
        if not content:
            raise SecretError(f"The secret file {path} is empty.")
        return content
    return value


def mask(text: str, secrets: Iterable[str]) -> str:
    """Return the text with every given secret replaced, also where it is URL- or base64-encoded."""
    for secret in sorted(set(secrets), key=len, reverse=True):
        if len(secret) < SHORTEST_MASKED:
            continue
        for form in _forms(secret):
            text = text.replace(form, MASK)
    return text


@lru_cache(maxsize=512)
def _forms(secret: str) -> frozenset[str]:
    """Return how a secret may stand in a text. Cached: each message is masked."""
    encoded = base64.b64encode(secret.encode()).decode().rstrip("=")
    quoted = (quote(secret, safe=""), quote_plus(secret), quote(secret))
    return frozenset((secret, *quoted, encoded, json.dumps(secret)[1:-1]))
