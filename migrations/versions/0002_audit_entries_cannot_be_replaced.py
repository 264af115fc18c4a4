"""audit entries cannot be replaced.

Revision ID: 0002
Revises: 0001
"""

revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing: after migrations env.py makes every guard of the audit log that is missing."""


def downgrade() -> None:
    """Nothing: the guard does no harm."""
