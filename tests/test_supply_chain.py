"""What is installed is pinned by its hash, and each runtime dependency has its reason."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
LOCKS = sorted(ROOT.glob("requirements*.lock"))
DECISION = ROOT / "docs/decisions/0005-runtime-dependencies.md"


def project() -> dict[str, Any]:
    loaded: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return loaded


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=!;~ ]", each)[0].lower() for each in requirements}


def imported() -> set[str]:
    """Return the packages whose modules the product imports."""
    found = set()
    for path in (ROOT / "webapp").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add(str(node.module).partition(".")[0])
    packages = packages_distributions()
    foreign = found - sys.stdlib_module_names - {"webapp"}
    return {packages[name][0].lower().replace("_", "-") for name in foreign}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_locked_package_has_one_version_and_hashes(lock: Path) -> None:
    entries = re.split(r"\n(?=\S)", lock.read_text(encoding="utf-8").strip())
    pinned = [entry for entry in entries if not entry.startswith("#")]
    assert len(pinned) > 20
    for entry in pinned:
        assert re.match(r"[\w.-]+==[\w.!+]+(?: ; .+?)? \\\n", entry), entry[:80]
        assert re.findall(r"--hash=sha256:[0-9a-f]{64}", entry), entry[:80]


def test_each_runtime_dependency_has_its_reason_and_no_other_is_named() -> None:
    rows = re.findall(r"^\| ([^|]+) \| [^|]{3,} \|", DECISION.read_text(encoding="utf-8"), re.M)
    told = [
        re.sub(r"[^\w-]", "", name).lower()
        for row in rows
        for name in re.sub(r"\(.*?\)", "", row).split(", ")
    ]
    named = [name for name in told if name not in {"package"}]
    described = project()["project"]
    extras = [each for extra in described["optional-dependencies"].values() for each in extra]
    wanted = names(described["dependencies"]) | names(extras)
    assert sorted(named) == sorted(set(named)), "a package stands twice"
    assert wanted <= set(named)
    # these come with others, and are named because the code imports them
    assert set(named) - wanted - {"setuptools"} <= imported()


def test_each_import_has_its_reason() -> None:
    """Also what comes with another package: that one may do without it some day."""
    told = DECISION.read_text(encoding="utf-8")
    for name in imported():
        assert re.search(rf"^\|[^|]*\b{re.escape(name)}\b[^|]*\|", told, re.MULTILINE), name


def test_each_runtime_dependency_is_used() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "webapp").rglob("*.py"))
    modules = {"argon2-cffi": "argon2", "bootstrap-flask": "flask_bootstrap"}
    for name in names(project()["project"]["dependencies"]) - {"tzdata", "alembic"}:
        module = modules.get(name, name.replace("-", "_"))
        assert re.search(rf"^\s*(?:import|from) {module}\b", code, re.M), name


def test_no_rule_of_bandit_is_off_for_the_product() -> None:
    lint = project()["tool"]["ruff"]["lint"]
    assert "S" in lint["select"]
    assert not any(rule.startswith("S") for rule in lint["ignore"])
    places = {
        place
        for place, rules in lint["per-file-ignores"].items()
        if any(re.fullmatch(r"S\d*", rule) for rule in rules)
    }
    assert places == {"tests/**", "tools/bench/**"}
    for path in [*(ROOT / "webapp").rglob("*.py"), *(ROOT / "tools").rglob("*.py")]:
        for line in path.read_text(encoding="utf-8").splitlines():
            if re.search(r"noqa: S\d", line):
                assert re.search(r"noqa: S\d+(?:, \w+)* - \w", line), f"{path}: {line}"
