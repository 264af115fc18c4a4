"""Rules of the house that no single module can keep."""

import ast
import re
import subprocess
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from webapp import cli
from webapp.backup import destinations, sources
from webapp.cli import COMMANDS
from webapp.core.settings import PROJECT_ROOT
from webapp.notify import channels, events
from webapp.web import views
from webapp.web.views import BLUEPRINTS


def classes_with(module: ModuleType, attribute: str) -> set[str]:
    """Return the files of a package in which a class sets the attribute itself."""
    found = set()
    for path in Path(str(module.__file__)).parent.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and any(
                isinstance(line, ast.Assign | ast.AnnAssign)
                and getattr(line, "value", None) is not None
                and attribute in ast.unparse(line).split("=")[0]
                for line in node.body
            ):
                found.add(path.stem)
    return found


def homes(members: tuple[object, ...]) -> set[str]:
    return {getattr(member, "__module__", "").rpartition(".")[2] for member in members}


@pytest.mark.parametrize(
    ("package", "members"),
    [
        (channels, channels.CHANNELS),
        (events, events.EVENTS),
        (sources, sources.SOURCES),
        (destinations, destinations.DESTINATIONS),
    ],
    ids=["channels", "events", "sources", "destinations"],
)
def test_each_registry_holds_what_its_folder_holds(package: ModuleType, members: tuple) -> None:
    assert classes_with(package, "type") - {"base"} == homes(members)


def test_every_page_is_in_the_menu_of_blueprints() -> None:
    modules = (
        import_module(f"{views.__name__}.{path.stem}")
        for path in Path(str(views.__file__)).parent.glob("[!_]*.py")
    )
    found = {module.bp for module in modules if hasattr(module, "bp")}
    assert found == set(BLUEPRINTS)
    assert len(found) == len(BLUEPRINTS)


def test_every_command_file_is_in_the_tuple() -> None:
    files = {path.stem for path in Path(str(cli.__file__)).parent.glob("*.py")}
    assert files - {"__init__", "base"} == {command.name for command in COMMANDS}


def test_only_the_edge_reads_the_environment() -> None:
    readers = {
        str(path.relative_to(PROJECT_ROOT / "webapp"))
        for path in (PROJECT_ROOT / "webapp").rglob("*.py")
        if "os.environ" in path.read_text(encoding="utf-8")
    }
    # secrets.py follows env: references, the programs of backups get an environment of their own
    edges = {"app.py", "server.py", "core/secrets.py"}
    assert {name for name in readers - edges if not name.startswith("backup/")} == set()


def test_only_transaction_py_commits() -> None:
    committers = {
        str(path.relative_to(PROJECT_ROOT / "webapp"))
        for path in (PROJECT_ROOT / "webapp").rglob("*.py")
        if re.search(r"\bsession\.commit\(", path.read_text(encoding="utf-8"))
    }
    assert committers == {"services/transaction.py"}


def test_only_the_clock_reads_the_clock() -> None:
    readers = {
        str(path.relative_to(PROJECT_ROOT / "webapp"))
        for path in (PROJECT_ROOT / "webapp").rglob("*.py")
        if re.search(r"datetime\.(now|utcnow|today)\(", path.read_text(encoding="utf-8"))
    }
    assert readers == {"core/clock.py"}


def test_lock_files_name_no_host_and_hash_everything() -> None:
    names = [path.name for path in PROJECT_ROOT.glob("requirements*.lock")]
    assert {"requirements.lock", "requirements-dev.lock", "requirements-apprise.lock"} <= set(names)
    for name in names:
        text = (PROJECT_ROOT / name).read_text(encoding="utf-8")
        assert not re.search(r"://|^-", text, re.MULTILINE)
        packages = re.findall(r"^[a-z0-9].*==[^\n]*\n(?P<next>[^\n]*)", text, re.MULTILINE)
        assert packages
        assert all(line.strip().startswith("--hash=sha256:") for line in packages)


def test_both_lock_files_agree() -> None:
    def pins(name: str) -> dict[str, str]:
        text = (PROJECT_ROOT / name).read_text(encoding="utf-8")
        return dict(re.findall(r"^([a-z0-9-]+(?:\[[a-z]+\])?)==(\S+)", text, re.MULTILINE))

    runtime = pins("requirements.lock")
    for extra in PROJECT_ROOT.glob("requirements-*.lock"):
        found = pins(extra.name)
        assert {key: found.get(key, pin) for key, pin in runtime.items()} == runtime, extra.name


def test_every_link_in_the_documents_leads_somewhere() -> None:
    broken = []
    for path in [*PROJECT_ROOT.glob("*.md"), *PROJECT_ROOT.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
            if not (path.parent / target).exists():
                broken.append(f"{path.name}: {target}")
    assert broken == []


def test_the_ci_script_and_the_makefile_are_sound() -> None:
    subprocess.run(["bash", "-n", str(PROJECT_ROOT / ".ci" / "run")], check=True)
    for goal in ("run", "demo", "apprise", "test", "check", "e2e", "bench", "lock", "vendor"):
        done = subprocess.run(
            ["make", "--dry-run", goal], cwd=PROJECT_ROOT, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr
