"""docs/operations.md says everything about every setting."""

import dataclasses
import re

from webapp.core.settings import PREFIX, PROJECT_ROOT, Settings

TEXT = (PROJECT_ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
ROWS = {
    cells[0].strip("` "): [cell.strip() for cell in cells[1:]]
    for cells in (
        line.strip("|").split("|") for line in TEXT.splitlines() if line.startswith(f"| `{PREFIX}")
    )
}
FIELDS = {f"{PREFIX}{field.name.upper()}": field for field in dataclasses.fields(Settings)}
MADE_AT_START = {"instance_path", "secret_key", "encryption_keys", "database_url"}


def test_every_setting_has_its_row_and_every_row_its_setting() -> None:
    assert list(ROWS) == list(FIELDS)


def test_each_row_has_a_meaning_a_unit_a_default_and_an_example() -> None:
    assert {name for name, cells in ROWS.items() if len(cells) != 4 or not all(cells)} == set()


def test_the_defaults_are_those_of_the_code() -> None:
    plain = {
        name: f"`{field.default}`"
        for name, field in FIELDS.items()
        if field.name not in MADE_AT_START | {"htmx_url"} and field.default is not None
    }
    assert {name: ROWS[name][2] for name in plain} == plain


def test_other_documents_name_no_setting_that_does_not_exist() -> None:
    known = {*FIELDS, *(f"{name}_FILE" for name in FIELDS)}
    tests_only = {"DBACKUP_TEST_MARIADB_URL", "DBACKUP_TEST_REQUIRE_ALL"}
    named = {
        found
        for path in [*PROJECT_ROOT.glob("*.md"), *PROJECT_ROOT.glob("docs/**/*.md")]
        for found in re.findall(r"\bDBACKUP_[A-Z_]*[A-Z]\b", path.read_text(encoding="utf-8"))
    }
    assert named - known - tests_only == set()
