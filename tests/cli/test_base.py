"""What all commands share."""

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from webapp.cli.base import Commands, ask_secret, show
from webapp.core.errors import NotFoundError
from webapp.core.settings import PROJECT_ROOT


@click.group(cls=Commands)
def group() -> None: ...


@group.command()
def expected() -> None:
    raise NotFoundError("There is no such thing.")


@group.command()
def unexpected() -> None:
    raise ZeroDivisionError("first line\nsecond line")


@group.command()
def foreign() -> None:
    raise NotFoundError("failed to resolve host 'nut77x@db.example.org'")


@group.command()
def strange() -> None:
    raise ValueError("no service at https://mara:nut77x@db.example.org")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("expected", "Error: There is no such thing.\n"),
        ("foreign", "Error: failed to resolve host '***@db.example.org'\n"),
        ("strange", "Error: ValueError: no service at https://mara:***@db.example.org\n"),
        ("unexpected", "Error: ZeroDivisionError: first line second line\n"),
    ],
)
def test_an_error_is_one_line_on_standard_error(command: str, words: str) -> None:
    result = CliRunner().invoke(group, [command])
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", words)


def test_a_list_has_columns_under_the_names_of_its_keys(capsys: pytest.CaptureFixture[str]) -> None:
    show([{"name": "Ops", "last_error": None, "on": True}], as_json=False, nothing="")
    assert capsys.readouterr().out == "name  last error  on\nOps   –           yes\n"


def test_an_empty_list_says_so_in_words_and_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    show([], as_json=False, nothing="Nothing here.")
    show([], as_json=True, nothing="Nothing here.")
    assert capsys.readouterr().out == "Nothing here.\n[]\n"


def test_a_password_is_asked_for_twice_and_not_shown() -> None:
    @click.command()
    def ask() -> None:
        typed = ask_secret("Password", from_stdin=False)
        click.echo(f"[{typed}]")

    result = CliRunner().invoke(ask, input="a b c\na b c\n")
    assert result.stdout == "[a b c]\n"
    assert "a b c" not in result.stderr


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m webapp events list --json | true"],
        cwd=PROJECT_ROOT,
        env=os.environ | {"DBACKUP_INSTANCE_PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
