"""several databases of a source, what runs left unfinished, and who cancelled a restore.

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
    with op.batch_alter_table('restore', schema=None) as batch_op:
        batch_op.add_column(sa.Column('stopped_by', sa.String(length=100), nullable=True))
        batch_op.add_column(sa.Column('remains', sa.Text(), nullable=True))
    op.create_table('unfinished',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('run_id', sa.Integer(), nullable=False),
    sa.Column('destination_id', sa.Integer(), nullable=False),
    sa.Column('ref', sa.Text(), nullable=False),
    sa.ForeignKeyConstraint(['destination_id'], ['destination.id'], name=op.f('fk_unfinished_destination_id_destination'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['run_id'], ['run.id'], name=op.f('fk_unfinished_run_id_run'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_unfinished'))
    )
    with op.batch_alter_table('unfinished', schema=None) as batch_op:
        batch_op.create_index('ix_unfinished_run_id_destination_id', ['run_id', 'destination_id'], unique=False)
        batch_op.create_index(batch_op.f('ix_unfinished_destination_id'), ['destination_id'], unique=False)


def downgrade() -> None:
    # not in batches: SQLite would make the tables anew, and forget what refers to them
    op.drop_table('unfinished')
    op.drop_column('restore', 'remains')
    op.drop_column('restore', 'stopped_by')
    op.drop_column('restore', 'database')
    op.drop_column('artifact', 'database')
    op.drop_column('run', 'databases')
