"""several databases of a source.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table('run', schema=None) as batch_op:
        batch_op.add_column(
            sa.Column('databases', sa.JSON(none_as_null=True), server_default='[]', nullable=False)
        )
    for table in ('artifact', 'restore'):
        with op.batch_alter_table(table, schema=None) as batch_op:
            batch_op.add_column(
                sa.Column('database', sa.String(length=64), server_default='', nullable=False)
            )


def downgrade() -> None:
    for table in ('restore', 'artifact'):
        with op.batch_alter_table(table, schema=None) as batch_op:
            batch_op.drop_column('database')
    with op.batch_alter_table('run', schema=None) as batch_op:
        batch_op.drop_column('databases')
