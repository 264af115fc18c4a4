"""Puts htmx, its hash checked, into static/vendor/ for networks without access to the CDN."""

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Final
from urllib.request import urlopen

from webapp.core.settings import HTMX_INTEGRITY, HTMX_URL, HTMX_VERSION, PROJECT_ROOT

TARGET: Final = PROJECT_ROOT / "static" / "vendor" / "htmx.min.js"
SECONDS: Final = 60


def fetch() -> bytes:
    """Return the file: from the npm package when npm is here, else from the CDN.

    Raises:
        OSError, subprocess.SubprocessError: it cannot be had.
    """
    npm = shutil.which("npm")
    return _from_npm(npm) if npm else _from_cdn()


def store(content: bytes, target: Path = TARGET) -> None:
    """Write the file if it is the very one that the pages name; else leave none behind.

    Raises:
        ValueError: the hash is wrong.
    """
    algorithm, _, expected = HTMX_INTEGRITY.partition("-")
    found = digest(algorithm, content)
    if found != expected:
        target.unlink(missing_ok=True)
        raise ValueError(f"the file has the hash {found}, not {expected}")
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_suffix(".draft")
    draft.write_bytes(content)
    os.replace(draft, target)


def digest(algorithm: str, content: bytes) -> str:
    """Return the hash as browsers compare it."""
    return base64.b64encode(hashlib.new(algorithm, content).digest()).decode()


def main() -> int:
    """Return 0 when the file is there."""
    try:
        store(fetch())
    except (OSError, ValueError, KeyError, tarfile.TarError, subprocess.SubprocessError) as error:
        print(f"htmx {HTMX_VERSION} was not put into static/vendor/: {error}", file=sys.stderr)
        return 1
    print(f"htmx {HTMX_VERSION} is in static/vendor/. Restart the server; pages use it from then.")
    return 0


def _from_npm(npm: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(  # noqa: S603 - npm from the PATH
            [npm, "pack", f"htmx.org@{HTMX_VERSION}", "--silent"],
            cwd=folder,
            check=True,
            timeout=SECONDS,
            stdout=subprocess.DEVNULL,
        )
        (archive,) = Path(folder).glob("*.tgz")
        with tarfile.open(archive) as package:
            member = package.extractfile("package/dist/htmx.min.js")
            if member is None:
                raise KeyError("the package has no dist/htmx.min.js")
            return member.read()


def _from_cdn() -> bytes:
    with urlopen(HTMX_URL, timeout=SECONDS) as answer:  # noqa: S310 - a constant https address
        content: bytes = answer.read()
        return content


if __name__ == "__main__":
    sys.exit(main())
