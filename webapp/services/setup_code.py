"""The one-time code that whoever makes the first account from elsewhere must have read."""

import contextlib
import hmac
import ipaddress
import os
import secrets
from pathlib import Path
from typing import Final

from webapp.services.installation import installation

ALPHABET: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # no 0, O, 1, I
LENGTH: Final = 10  # 50 bits


def is_loopback(host: str) -> bool:
    """Say whether an address or host name is this machine itself."""
    if host.rstrip(".").lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def current() -> str:
    """Return the code, made at the first call and kept in the instance directory (mode 0600)."""
    path = _path()
    with contextlib.suppress(FileExistsError):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write("".join(secrets.choice(ALPHABET) for _ in range(LENGTH)) + "\n")
    return path.read_text(encoding="ascii").strip()


def is_right(given: str) -> bool:
    """Compare without regard to case and blanks, in constant time."""
    tidy = "".join(given.split()).replace("-", "").upper()
    return hmac.compare_digest(tidy.encode(), current().encode())


def forget() -> None:
    """Remove the code: there is an account now."""
    _path().unlink(missing_ok=True)


def _path() -> Path:
    return installation().settings.instance_path / "setup_code"
