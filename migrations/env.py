"""Runs migrations with the models of the application as the truth."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from alembic import context
from flask import current_app
from sqlalchemy import Connection, inspect

from webapp.models import Base
from webapp.models.audit import guard
from webapp.models.base import UtcDateTime

db = current_app.extensions["migrate"].db


def render_item(kind: str, item: Any, _autogen_context: Any) -> str | Literal[False]:
    """Write our time column as a plain one, so that old revisions never import the application."""
    return "sa.DateTime()" if kind == "type" and isinstance(item, UtcDateTime) else False


@contextmanager
def references_left_alone(connection: Connection) -> Iterator[None]:
    """Let tables be made anew without deleting what refers to their rows.

    SQLite changes a table by copying and dropping it, and to drop means to delete its rows first:
    with references enforced, all deliveries would go with the old table of the events.
    """
    if connection.dialect.name != "sqlite":
        yield
        return
    driver: Any = connection.connection  # the switch is ignored within a transaction
    driver.execute("PRAGMA foreign_keys=OFF")
    try:
        yield
    finally:
        connection.rollback()
        driver.execute("PRAGMA foreign_keys=ON")


def before_a_revision_is_committed(ctx: Any, **_known: Any) -> None:
    """Leave no moment, for a kill, at which a revision is there and what must hold is not."""
    connection: Connection = ctx.connection
    if connection.dialect.name == "sqlite":
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
        if broken is not None:
            raise RuntimeError(
                f"a row of {broken[0]} would refer to a row of {broken[2]} that is gone"
            )
    if inspect(connection).has_table("audit_entry"):
        guard(connection)  # the table may have been made anew, without its triggers


def run_migrations_online() -> None:
    options = current_app.extensions["migrate"].configure_args
    with db.engine.connect() as connection, references_left_alone(connection):
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            render_item=render_item,
            transaction_per_migration=True,
            on_version_apply=before_a_revision_is_committed,
            **options,
        )
        with context.begin_transaction():
            context.run_migrations()


if context.is_offline_mode():
    raise SystemExit("Migrations need a database; --sql is not supported.")
run_migrations_online()
