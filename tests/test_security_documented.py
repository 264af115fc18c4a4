"""docs/security.md names tests that exist."""

import ast
import re

import pytest

from webapp.core.settings import PROJECT_ROOT

TEXT = (PROJECT_ROOT / "docs" / "security.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", TEXT)))


def test_it_names_many() -> None:
    assert len(NAMED) > 50


@pytest.mark.parametrize("path", sorted({path for path, _ in NAMED}))
def test_each_named_test_exists(path: str) -> None:
    tree = ast.parse((PROJECT_ROOT / path).read_text(encoding="utf-8"))
    there = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    assert {name for named, name in NAMED if named == path} - there == set()


def test_every_row_of_a_measure_names_its_test() -> None:
    measures = TEXT[TEXT.index("## Measures") :]
    rows = [line for line in measures.splitlines() if line.startswith("| ")]
    plain = [row for row in rows if "::test_" not in row and row != "| Measure | Test |"]
    assert plain == []
