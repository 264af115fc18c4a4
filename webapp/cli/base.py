"""What all commands share: the application, errors of one line, lists as text or JSON."""

import getpass
import json
import logging
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from functools import wraps
from typing import Any, NoReturn, ParamSpec, TypeVar

import click
from flask.cli import with_appcontext

from webapp.core.errors import AppError
from webapp.core.scrub import scrub

P = ParamSpec("P")
R = TypeVar("R")
logger = logging.getLogger(__name__)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn errors into one line on standard error and exit status 1."""
    try:
        yield
    except AppError as error:
        raise click.ClickException(scrub(str(error))) from error
    except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
        raise
    except Exception as error:
        logger.debug("command failed", exc_info=True)
        text = scrub(" ".join(str(error).split()))
        raise click.ClickException(f"{type(error).__name__}: {text}"[:400]) from error


class Commands(click.Group):
    """A group of commands that run in the application, with errors of one line."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with one_line_errors():
            return super().invoke(ctx)


def in_app(function: Callable[P, R]) -> Callable[P, R]:
    """Give a command the application's context and tables that fit."""

    @with_appcontext
    @wraps(function)
    def inside(*args: P.args, **kwargs: P.kwargs) -> R:
        from webapp.services import audit, schema

        schema.require_current()
        with audit.acting(audit.Actor(f"cli:{getpass.getuser()}")):
            return function(*args, **kwargs)

    return inside


as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def show(rows: Sequence[Mapping[str, Any]], *, as_json: bool, nothing: str) -> None:
    """Print a list: JSON, or columns named after the keys."""
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False, indent=2, default=_jsonable))
        return
    if not rows:
        click.echo(nothing)
        return
    table = [[key.replace("_", " ") for key in rows[0]]]
    table += [[_cell(value) for value in row.values()] for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(padded).rstrip())


def fail(text: str) -> NoReturn:
    """End with one line on standard error and exit status 1."""
    raise click.ClickException(text)


def ask_secret(name: str, from_stdin: bool, *, confirm: bool = True) -> str:
    """Return a password or passphrase: the first line of standard input, or typed unseen."""
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    again = "Again" if confirm else False
    with warnings.catch_warnings():
        warnings.simplefilter("error", getpass.GetPassWarning)  # it would be seen, or wait for ever
        try:
            typed: str = click.prompt(name, hide_input=True, confirmation_prompt=again, err=True)
        except getpass.GetPassWarning:
            option = f"--{name.lower()}-stdin"
            fail(f"There is no terminal to type the {name.lower()} at. Pipe it in with {option}.")
    return typed


def _cell(value: object) -> str:
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, date):
        return f"{value:%Y-%m-%d %H:%M:%S %Z}"
    return " ".join(str(value).split())


def _jsonable(value: object) -> Any:
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    raise TypeError(f"{type(value).__name__} in a list of the command line")
