"""Limits (what was granted within a window, who holds active certificates) and lists (entries that were used
up, content that was fetched).

Written out, as every migration is; ``gateway.store.schema`` goes on, this one stands.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "limit_window",
        sa.Column("pk", _KEY, primary_key=True, autoincrement=True),
        sa.Column("scope", sa.String(length=64), nullable=False),
        sa.Column("bucket", sa.BigInteger(), nullable=False),
        sa.Column("used", sa.Integer(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
    )
    op.create_index("limit_window_key", "limit_window", ["scope", "bucket"], unique=True)
    op.create_table(
        "limit_hold",
        sa.Column("pk", _KEY, primary_key=True, autoincrement=True),
        sa.Column("scope", sa.String(length=64), nullable=False),
        sa.Column("request_id", sa.String(length=36), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
    )
    op.create_index("limit_hold_key", "limit_hold", ["scope", "request_id"], unique=True)
    op.create_table(
        "list_use",
        sa.Column("pk", _KEY, primary_key=True, autoincrement=True),
        sa.Column("list_name", sa.String(length=40), nullable=False),
        sa.Column("key_sha256", sa.String(length=64), nullable=False),
        sa.Column("request_id", sa.String(length=36), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=False),
    )
    op.create_index("list_use_key", "list_use", ["list_name", "key_sha256"], unique=True)
    op.create_table(
        "list_content",
        sa.Column("name", sa.String(length=40), primary_key=True),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("content", sa.LargeBinary(), nullable=True),
        sa.Column("etag", sa.Text(), nullable=True),
        sa.Column("last_modified", sa.Text(), nullable=True),
        sa.Column("good_at", sa.BigInteger(), nullable=True),
        sa.Column("asked_at", sa.BigInteger(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("list_content")
    op.drop_index("list_use_key", "list_use")
    op.drop_table("list_use")
    op.drop_index("limit_hold_key", "limit_hold")
    op.drop_table("limit_hold")
    op.drop_index("limit_window_key", "limit_window")
    op.drop_table("limit_window")
