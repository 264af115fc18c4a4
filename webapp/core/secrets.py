"""Sealing of secrets at rest, references to secrets kept elsewhere, and masking in texts."""

import base64
import html
import json
import os
import re
import shlex
import stat
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, quote_plus

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from webapp.core.errors import SecretError

MASK: Final = "***"
ENV_REFERENCE: Final = "env:"
FILE_REFERENCE: Final = "file:"
LONGEST_FILE: Final = 64 * 1024  # bytes
OWN_VARIABLES: Final = frozenset(
    f"DBACKUP_{name}"
    for name in (
        *("DATABASE_URL", "ENCRYPTION_KEYS", "METRICS_TOKEN", "OIDC_CLIENT_SECRET", "SECRET_KEY"),
    )
)
SHORTEST_MASKED: Final = 4  # shorter values would blacken ordinary words
SHORTEST_CUT: Final = 8  # so many characters of a secret are no coincidence
LONG_LINE: Final = 20
SHORTEST_INSIDE: Final = 6  # bytes; the base64 of fewer has too few letters that stay the same

_kept_back: Final[set[Path]] = set()


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
        except (InvalidToken, UnicodeEncodeError) as error:  # of another key, or damaged
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
        except (InvalidToken, UnicodeEncodeError) as error:
            raise SecretError("A stored secret cannot be opened with the present keys.") from error


def keep_back(files: Iterable[Path]) -> None:
    """Let no reference lead to these files: the keys and the database of this installation."""
    _kept_back.update(file.resolve() for file in files)


def is_reference(value: object) -> bool:
    """Say whether the value names a secret kept elsewhere instead of being one."""
    return isinstance(value, str) and value.startswith((ENV_REFERENCE, FILE_REFERENCE))


def resolve(value: str) -> str:
    """Return the secret that `env:NAME` or `file:/path` refers to; other text is returned as is.

    A file is read anew each time, so a rotated secret is used at once; one trailing line break is
    dropped. What a reference names is sent to whom a form names, so it may not be what protects
    everything else: own keys, the own database, what the system tells of processes.

    Raises:
        SecretError: the variable is not set, or the file cannot be read, is empty or too large, or
            neither may be sent anywhere.
    """
    if value.startswith(ENV_REFERENCE):
        name = value.removeprefix(ENV_REFERENCE)
        if name in OWN_VARIABLES:
            raise SecretError(f"{name} is a secret of DBackup itself and is sent nowhere.")
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
            content = _content(Path(path)).removesuffix("\n").removesuffix("\r")
        except (OSError, ValueError) as error:  # not text, or a path with a NUL
            raise SecretError(
                f"The secret file {path} cannot be read ({type(error).__name__}). "
                "Check that it exists and that the server's user may read it."
            ) from error
        if not content:
            raise SecretError(f"The secret file {path} is empty.")
        return content
    return value


def _content(path: Path) -> str:
    """Return what a file holds that may be sent to somebody.

    The file that was judged is the one that is opened: a link put in its place meanwhile, or one to
    what was deleted and is still open here, leads nowhere.
    """
    real = path.resolve()
    kept = _kept_back | {
        Path(found).resolve() for name in OWN_VARIABLES if (found := os.environ.get(f"{name}_FILE"))
    }
    if real in kept or real.is_relative_to("/proc") or real.is_relative_to("/sys"):
        raise _belongs_to_us(path)
    if not stat.S_ISREG(real.stat().st_mode):  # a device has no end, a pipe perhaps no beginning
        raise SecretError(f"{path} is no ordinary file.")
    with open(real, "rb", opener=_without_links) as file:
        status = os.fstat(file.fileno())
        if any(one.exists() and os.path.samestat(one.stat(), status) for one in kept):
            raise _belongs_to_us(path)
        content = file.read(LONGEST_FILE + 1)
    if len(content) > LONGEST_FILE:
        raise SecretError(f"The secret file {path} is larger than 64 KB: that is no secret.")
    return content.decode()


def _belongs_to_us(path: Path) -> SecretError:
    return SecretError(f"The file {path} belongs to DBackup or to the system: it is sent nowhere.")


def _without_links(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def mask(text: str, secrets: Iterable[str]) -> str:
    """Return the text with every given secret replaced, in each form in which it may stand there.

    That is as it is, encoded for addresses, JSON, HTML, shells and Python, in base64 (also within
    that of "user:password"), wrapped over lines, cut off at the end of a line, and of a secret of
    several lines each long one.
    """
    for secret in _parts(frozenset(secrets)):
        for form in _forms(secret):
            text = text.replace(form, MASK)
        if len(secret) >= SHORTEST_CUT:
            if "\n" in text:
                text = _wrapped(secret).sub(MASK, text)
            text = _without_start(text, secret)
    return text


@lru_cache(maxsize=256)
def _parts(secrets: frozenset[str]) -> tuple[str, ...]:
    """Return what to look for, longest first. Cached, as what follows: each message is masked."""
    found = {*secrets, *_long_lines(secrets)}
    long_enough = (secret for secret in found if len(secret) >= SHORTEST_MASKED)
    return tuple(sorted(long_enough, key=len, reverse=True))


def _long_lines(secrets: Iterable[str]) -> Iterator[str]:
    for secret in secrets:
        if "\n" in secret:
            yield from (line for line in secret.splitlines() if len(line) >= LONG_LINE)


def _without_start(text: str, secret: str) -> str:
    """Drop the first characters of a secret at the end of a line, where it was cut."""
    start = secret[:SHORTEST_CUT]
    if start not in text:
        return text
    lines = text.split("\n")
    for number, line in enumerate(lines):
        at = line.rfind(start)
        if at >= 0 and secret.startswith(line[at:]):
            lines[number] = line[:at] + MASK
    return "\n".join(lines)


@lru_cache(maxsize=512)
def _forms(secret: str) -> tuple[str, ...]:
    """Return how a secret may stand in a text, longest first."""
    quoted = {quote(secret, safe=""), quote_plus(secret), quote(secret)}
    lower = {re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), form) for form in quoted}
    escaped = {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    escaped |= {json.dumps(form)[1:-1] for form in escaped} | {repr(secret)[1:-1]}
    escaped |= {html.escape(secret), html.escape(secret, quote=False)}
    escaped |= {secret.replace("'", "'\\''"), shlex.quote(secret), secret.replace("'", "''")}
    encoded = {form for form in _base64_forms(secret.encode()) if len(form) >= SHORTEST_MASKED}
    forms = {secret} | quoted | lower | escaped | encoded
    return tuple(sorted(forms, key=len, reverse=True))


def _base64_forms(clear: bytes) -> Iterator[str]:
    """Yield what stays the same wherever the secret stands in what is encoded."""
    yield base64.b64encode(clear).decode().rstrip("=")
    yield base64.urlsafe_b64encode(clear).decode().rstrip("=")
    if len(clear) >= SHORTEST_INSIDE:
        yield clear.hex()
        for before in range(3):
            whole = base64.b64encode(bytes(before) + clear).decode()
            first = (0, 2, 3)[before]
            last = (before + len(clear)) * 8 // 6
            yield whole[first:last]
            yield whole[first:last].replace("+", "-").replace("/", "_")


@lru_cache(maxsize=512)
def _wrapped(secret: str) -> re.Pattern[str]:
    """Return what finds a secret that is wrapped over lines, plain or in base64."""
    encoded = base64.b64encode(secret.encode()).decode().rstrip("=")
    gap = r"(?:\\?\r?\n[ \t]*|=\r?\n)?"
    return re.compile("|".join(gap.join(map(re.escape, form)) for form in (secret, encoded)))
