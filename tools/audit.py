"""Asks a public service whether anything that is locked has a known vulnerability.

What the service does not know is "not checked" and never "nothing known": a machine that cannot
reach it would otherwise look clean.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[1]
LOCKS: Final = ("requirements-dev.lock", "requirements-oidc.lock", "requirements-apprise.lock")
NOT_CHECKED: Final = "NOT CHECKED: the vulnerability service cannot be asked from here"


class Verdict(NamedTuple):
    """What became of one lock."""

    text: str
    is_vulnerable: bool


def main() -> int:
    """Return 1 when a vulnerability is known, else 0; what was not checked is said."""
    verdicts = [_look(name) for name in LOCKS]
    for name, verdict in zip(LOCKS, verdicts, strict=True):
        print(f"{name}: {verdict.text}")
    return int(any(verdict.is_vulnerable for verdict in verdicts))


def judge(report: str) -> Verdict:
    """Return what a report in JSON says; anything else is no answer."""
    try:
        found: list[dict[str, Any]] = json.loads(report)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return Verdict(NOT_CHECKED, is_vulnerable=False)
    asked = [each for each in found if "vulns" in each]
    bad = [each for each in asked if each["vulns"]]
    if not asked:
        return Verdict(f"{NOT_CHECKED} (0 of {len(found)} packages)", is_vulnerable=False)
    lines = [f"{len(asked)} of {len(found)} packages checked, {len(bad)} vulnerable"]
    for each in bad:
        ids = ", ".join(str(vulnerability["id"]) for vulnerability in each["vulns"])
        lines.append(f"  {each['name']} {each['version']}: {ids}")
    if len(asked) < len(found):
        lines.append(
            f"  NOT CHECKED: {', '.join(_name(each) for each in found if each not in asked)}"
        )
    return Verdict("\n".join(lines), is_vulnerable=bool(bad))


def _name(each: dict[str, Any]) -> str:
    return str(each.get("name", "unknown"))


def _look(name: str) -> Verdict:
    command = [
        *(sys.executable, "-m", "pip_audit", "--require-hashes", "--disable-pip"),
        *("--progress-spinner", "off", "--timeout", "20", "--format", "json", "-r", name),
    ]
    done = subprocess.run(  # noqa: S603 - our own command
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )
    return judge(done.stdout)


if __name__ == "__main__":
    sys.exit(main())
