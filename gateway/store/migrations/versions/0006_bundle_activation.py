"""The texts that a bundle is compiled from, and a line for every time that one became active.

Written out, as every migration is; ``gateway.store.schema`` goes on, this one stands.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("bundle", sa.Column("texts", sa.Text(), nullable=True))
    op.create_table(
        "bundle_activation",
        sa.Column("pk", _KEY, primary_key=True, autoincrement=True),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("activated_at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("how", sa.String(length=20), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("revision", sa.Text(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("bundle_activation")
    op.drop_column("bundle", "texts")
