"""Runs migrations with the models of the application as the truth."""

from typing import Any, Literal

from alembic import context
from flask import current_app
from sqlalchemy import inspect

from webapp.models import Base
from webapp.models.audit import guard
from webapp.models.base import UtcDateTime

db = current_app.extensions["migrate"].db


def render_item(kind: str, item: Any, _autogen_context: Any) -> str | Literal[False]:
    """Write our time column as a plain one, so that old revisions never import the application."""
    return "sa.DateTime()" if kind == "type" and isinstance(item, UtcDateTime) else False


def run_migrations_online() -> None:
    options = current_app.extensions["migrate"].configure_args
    with db.engine.connect() as connection:
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            render_item=render_item,
            transaction_per_migration=True,
            **options,
        )
        with context.begin_transaction():
            context.run_migrations()
        if inspect(connection).has_table("audit_entry"):
            guard(connection)
            connection.commit()


if context.is_offline_mode():
    raise SystemExit("Migrations need a database; --sql is not supported.")
run_migrations_online()
