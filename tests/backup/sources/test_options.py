"""Options of dump programs: what may be added, and what may not."""

import pytest

from webapp.backup.errors import BackupError
from webapp.backup.sources import options


def test_options_are_split_as_in_a_shell() -> None:
    typed = "--no-comments  --exclude-table-data='audit.*' --table=\"odd name\""
    assert options.parse(typed, options.POSTGRESQL) == (
        "--no-comments",
        "--exclude-table-data=audit.*",
        "--table=odd name",
    )
    assert options.parse("  ", options.MYSQL) == ()


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("--file=/etc/passwd", "--file is not one of"),
        ("-f x", "-f is not one of"),
        ("--table=x --host=evil", "--host is not one of"),
        ("shop", "shop is not one of"),
        ("--no-comments=yes", "takes no value"),
        ("--table", "Write --table with a value"),
        ("--table=a;b", "Write --table with a value"),
        ("--table='a", "quotation mark"),
    ],
)
def test_all_other_options_are_refused(typed: str, words: str) -> None:
    with pytest.raises(BackupError, match=words):
        options.parse(typed, options.POSTGRESQL)


@pytest.mark.parametrize("allowed", [options.POSTGRESQL, options.MYSQL])
def test_nothing_that_is_allowed_leads_elsewhere(allowed: dict[str, str | None]) -> None:
    words = ("host", "port", "user", "password", "file", "dir", "dbname", "plugin", "init", "exec")
    assert not [name for name in allowed if any(word in name.split("-") for word in words)]


def test_the_help_names_them_all() -> None:
    text = options.help_for(options.MYSQL)
    assert all(name in text for name in options.MYSQL)
    assert "--ignore-table=…" in text
