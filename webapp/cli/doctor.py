"""dbackup doctor."""

import json
from dataclasses import asdict

import click
from flask.cli import with_appcontext

from webapp.cli.base import as_json_option, one_line_errors
from webapp.services import doctor as service


class _Doctor(click.Command):
    def invoke(self, ctx: click.Context) -> None:
        with one_line_errors():
            super().invoke(ctx)


@click.command(cls=_Doctor)
@as_json_option
@with_appcontext
def doctor(as_json: bool) -> None:
    """Look for what keeps DBackup from working, and say what to do. Exit status 1: problems."""
    findings = service.examine()
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            click.echo(f"{finding.level:<7}  {finding.what}: {finding.words}")
            if finding.advice:
                click.echo(f"{'':<7}  → {finding.advice}")
    if any(finding.level == service.Level.PROBLEM for finding in findings):
        click.get_current_context().exit(1)
