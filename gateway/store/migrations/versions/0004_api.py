"""The REST API: what a token may do, and what an Idempotency-Key was answered with.

Written out, as every migration is; ``gateway.store.schema`` goes on, this one stands.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("credential", sa.Column("permissions", sa.Text(), nullable=True))
    op.create_table(
        "api_answer",
        sa.Column("pk", _KEY, primary_key=True, autoincrement=True),
        sa.Column("token_id", sa.String(length=36), nullable=False),
        sa.Column("key_sha256", sa.String(length=64), nullable=False),
        sa.Column("content_sha256", sa.String(length=64), nullable=False),
        sa.Column("credential_id", sa.String(length=36), nullable=False),
        sa.Column("made_at", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
    )
    op.create_index("api_answer_key", "api_answer", ["token_id", "key_sha256"], unique=True)
    sealed = sa.text("sealed IS NOT NULL")
    op.create_index(
        "api_answer_sealed", "api_answer", ["made_at"], sqlite_where=sealed, postgresql_where=sealed
    )


def downgrade() -> None:
    op.drop_index("api_answer_sealed", "api_answer")
    op.drop_index("api_answer_key", "api_answer")
    op.drop_table("api_answer")
    op.drop_column("credential", "permissions")
