"""Compares the models with what the migrations make, in a scratch database."""

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FLASK = [sys.executable, "-m", "flask", "--app", "webapp.app", "db"]


def main() -> int:
    """Return 0 when there is no difference."""
    with tempfile.TemporaryDirectory() as scratch:
        environ = {"PATH": "/usr/bin:/bin", "DBACKUP_INSTANCE_PATH": scratch}
        for step in ("upgrade", "check"):
            done = subprocess.run(  # noqa: S603 - our own command
                [*FLASK, step], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
            )
            if done.returncode:
                print(f"flask db {step} failed:\n{done.stdout}{done.stderr}", file=sys.stderr)
                return 1
    print("Models and migrations agree.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
