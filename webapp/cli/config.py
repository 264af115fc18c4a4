"""dbackup config."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

import click

from webapp.cli.base import Commands, ask_secret, fail, in_app
from webapp.core.text import plural
from webapp.services import config_backups
from webapp.services.config_backups import Summary

STANDARD_OUTPUT: Final = Path("-")

P = ParamSpec("P")
R = TypeVar("R")


def _secret_options(function: Callable[P, R]) -> Callable[P, R]:
    """Say where the passphrase comes from, or that there is none."""
    bare = click.option(
        "--no-secrets", is_flag=True, help="Without passwords, tokens and webhook addresses."
    )
    piped = click.option(
        "--passphrase-stdin", is_flag=True, help="Read the passphrase from standard input."
    )
    return bare(piped(function))


@click.group(cls=Commands)
def config() -> None:
    """All settings as one file: save them, bring them back."""


@config.command("export")
@click.argument("file", type=click.Path(path_type=Path))
@_secret_options
@in_app
def export_(file: Path, no_secrets: bool, passphrase_stdin: bool) -> None:
    """Write all settings to FILE ("-" is standard output); an existing file is never replaced.

    Configuration Backup is announced as if the file was made in the browser.
    """
    if file != STANDARD_OUTPUT and file.exists():
        fail(f"{file} exists already. Choose another name.")
    typed = None if no_secrets else ask_secret("Passphrase", passphrase_stdin)
    made = config_backups.back_up(
        typed, destination=str(file), store=lambda made: _store(file, made.content)
    )
    if file != STANDARD_OUTPUT:
        click.echo(f"Wrote {file}, {'secrets sealed' if made.encrypted else 'without secrets'}.")


@config.command("import")
@click.argument("file", type=click.File("rb"))
@_secret_options
@in_app
def import_(file: Any, no_secrets: bool, passphrase_stdin: bool) -> None:
    """Bring the settings of FILE into this installation, which must be a fresh one.

    --no-secrets says that the file was made without them.
    """
    content = file.read()
    typed = None if no_secrets else ask_secret("Passphrase", passphrase_stdin, confirm=False)
    _say(config_backups.import_(content, typed))


@config.command()
@in_app
def fingerprint() -> None:
    """Print a hash over all that decides who is told about what.

    Two installations with the same one notify in the same way. It covers secrets: keep it as you
    keep the file.
    """
    click.echo(config_backups.notification_fingerprint())


def _say(summary: Summary) -> None:
    click.echo(
        f"Imported {plural(summary.channels, 'channel')}, {plural(summary.sources, 'source')}, "
        f"{plural(summary.destinations, 'destination')}, {plural(summary.jobs, 'job')} and "
        f"{plural(summary.users, 'user')}."
    )
    for line in summary.incomplete:
        click.echo(f"Incomplete: {line}")
    if summary.identical is False:
        fail("The settings are imported, but notifications are not set exactly as they were.")
    if summary.identical:
        click.echo("Notifications are set exactly as they were.")


def _store(file: Path, content: bytes) -> None:
    """Write a new file that only its owner may read."""
    if file == STANDARD_OUTPUT:
        click.echo(content, nl=False)
        return
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
