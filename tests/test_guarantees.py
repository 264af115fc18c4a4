"""docs/guarantees.md claims nothing that no test proves."""

import ast
import re
from functools import cache

from webapp.core.settings import PROJECT_ROOT

TEXT = (PROJECT_ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TEXT.splitlines()
    if line.startswith("| ") and not line.startswith("| Promise")
]


@cache
def functions_of(path: str) -> frozenset[str]:
    file = PROJECT_ROOT / path
    if not file.is_file():
        return frozenset()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def test_every_promise_says_what_it_costs_and_names_its_proof() -> None:
    assert len(ROWS) >= 30
    for row in ROWS:
        assert len(row) == 3, row
        assert all(row), row
        assert re.search(r"`tests/[\w/]+\.py::test_\w+`", row[2]), row[0]


def test_every_test_that_is_named_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", TEXT)
    assert [f"{path}::{test}" for path, test in named if test not in functions_of(path)] == []
