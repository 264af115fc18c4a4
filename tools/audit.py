"""Asks a public service whether anything that is locked has a known vulnerability."""

import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
LOCKS: Final = ("requirements-dev.lock", "requirements-oidc.lock")
OUT_OF_REACH: Final = (
    "ConnectionError",
    "Connection refused",
    "Max retries exceeded",
    "NameResolutionError",
    "ProxyError",
    "Tunnel connection failed",
    "timed out",
    "service unavailable",
    "ServiceError",
)


def main() -> int:
    """Return 0 when nothing is known, or when the service cannot be asked, which is said."""
    return max(_look(name) for name in LOCKS)


def _look(name: str) -> int:
    command = [
        *(sys.executable, "-m", "pip_audit", "--require-hashes", "--disable-pip"),
        *("--progress-spinner", "off", "--timeout", "20", "-r", name),
    ]
    done = subprocess.run(  # noqa: S603 - our own command
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )
    words = done.stdout + done.stderr
    if done.returncode and any(sign in words for sign in OUT_OF_REACH):
        last = words.strip().splitlines()[-1][:200]
        print(f"{name}: NOT CHECKED, the vulnerability service is out of reach ({last})")
        return 0
    print(f"{name}: {words.strip()}")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
