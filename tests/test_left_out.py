"""A test run names what it left out, and on request leaves out nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

from webapp.core.settings import PROJECT_ROOT

INNER = """
import pytest

def test_runs():
    pass

@pytest.mark.skip(reason="no moon here")
def test_left_out():
    pass

@pytest.mark.xfail(reason="known")
def test_expected_to_fail():
    raise AssertionError
"""


def run(folder: Path, source: str, require_all: str) -> tuple[int, str]:
    (folder / "test_inner.py").write_text(source)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.left_out", "-p", "no:cacheprovider", "."],
        cwd=folder,
        env={"PYTHONPATH": str(PROJECT_ROOT), "DBACKUP_TEST_REQUIRE_ALL": require_all},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def test_what_was_left_out_is_named_at_the_end(tmp_path: Path) -> None:
    status, said = run(tmp_path, INNER, "")
    assert status == 0
    assert "Left out: 1 test: no moon here" in said.splitlines()[-3:]
    assert "1 passed, 1 skipped, 1 xfailed" in said.splitlines()[-1]


@pytest.mark.parametrize(
    "source",
    [INNER, "import pytest\npytest.skip('no moon here', allow_module_level=True)\n"],
    ids=["one test", "a whole file"],
)
def test_when_all_is_required_a_skip_is_a_failure(tmp_path: Path, source: str) -> None:
    status, said = run(tmp_path, source, "1")
    assert status != 0
    assert "allows no skips" in said
    assert "no moon here" in said
    assert "skipped" not in said.splitlines()[-1]
