"""dbackup secrets."""

import click

from webapp.cli.base import Commands, in_app
from webapp.services import key_rotation


@click.group(cls=Commands)
def secrets() -> None:
    """Secrets at rest."""


@secrets.command()
@in_app
def rotate() -> None:
    """Seal all stored configurations with the newest encryption key.

    Put the new key first (DBACKUP_ENCRYPTION_KEYS, or first line of encryption_keys), restart the
    server, run this, then remove the old key.
    """
    count = key_rotation.reseal()
    click.echo(f"Sealed {count} {'configuration' if count == 1 else 'configurations'} anew.")
