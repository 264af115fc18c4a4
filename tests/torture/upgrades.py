"""Next versions of the product, as far as the database sees them: its migrations and more.

The product's own migrations are copied to a folder; each call of `add` puts a revision on top, as a
next version would. It changes the two tables that hold the queue by making them anew (SQLite's way
for most changes), fills a column of every row, and builds an index; the next one undoes that.
"""

import shutil
from pathlib import Path
from typing import Final

from webapp.core.settings import PROJECT_ROOT

STATEMENTS: Final = 7
"""So many statements are run by one revision, on SQLite three times as many."""
STATEMENTS_OF_SQLITE: Final = 23

_REVISION: Final = '''"""A revision that only the tests know."""

import sqlalchemy as sa
from alembic import op

revision = {revision!r}
down_revision = {down_revision!r}
branch_labels = None
depends_on = None


def upgrade() -> None:
    recreate = "always" if op.get_bind().dialect.name == "sqlite" else "never"
    for table in ("event", "delivery"):
{steps}'''
_ADDS: Final = """\
        with op.batch_alter_table(table, recreate=recreate) as batch:
            batch.add_column(sa.Column("again", sa.String(36)))
        op.execute(f"UPDATE {table} SET again = id")
        op.create_index(f"ix_{table}_again", table, ["again"])
"""
_DROPS: Final = """\
        op.drop_index(f"ix_{table}_again", table_name=table)
        op.execute(f"UPDATE {table} SET again = NULL")
        with op.batch_alter_table(table, recreate=recreate) as batch:
            batch.drop_column("again")
"""


def copied_to(folder: Path) -> Path:
    """Copy the product's migrations; return where their revisions are."""
    ours = PROJECT_ROOT / "migrations"
    shutil.copytree(ours, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder / "versions"


def add(revisions: Path) -> str:
    """Put one more revision on top; return its number."""
    known = sorted(path.stem.partition("_")[0] for path in revisions.glob("[0-9]*_*.py"))
    number = max(int(known[-1]) + 1, 9000)
    body = _REVISION.format(
        revision=str(number),
        down_revision=known[-1],
        steps=_ADDS if number % 2 == 0 else _DROPS,
    )
    (revisions / f"{number}_again.py").write_text(body, encoding="utf-8")
    return str(number)
