"""dbackup db: Flask-Migrate's commands, loaded when they are used."""

from importlib import import_module
from typing import Any

import click


class _Late(click.Command):
    """Alembic costs every start 0.09 s and 11 MB if it is imported with the others."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Let the real group take over."""
        real: click.Group = import_module("flask_migrate.cli").db
        return real.make_context(info_name, args, parent, **extra)


db = _Late(name="db", help="Migrations, as Flask-Migrate has them.")
