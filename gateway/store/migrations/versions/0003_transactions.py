"""SCEP and CMP: what tells a repeat from another message, confirmation by the requester, secrets found by
their verifier.

Written out, as every migration is; ``gateway.store.schema`` goes on, this one stands.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_COLUMNS = (
    ("content_sha256", sa.String(length=64)),
    ("confirm_within_s", sa.Integer()),
    ("confirm_by", sa.BigInteger()),
    ("confirmed_by_sha256", sa.String(length=64)),
)


def upgrade() -> None:
    for name, kind in _COLUMNS:
        op.add_column("request", sa.Column(name, kind, nullable=True))
    _partial_index("request_unconfirmed_renewal", "request", ["renews_sha256"], "state = 'unconfirmed'")
    op.create_index("credential_verifier", "credential", ["verifier", "kind"])
    _partial_index("credential_revoked_name", "credential", ["kind", "name"], "revoked_at IS NOT NULL")


def downgrade() -> None:
    op.drop_index("credential_revoked_name", "credential")
    op.drop_index("credential_verifier", "credential")
    op.drop_index("request_unconfirmed_renewal", "request")
    for name, _ in reversed(_COLUMNS):
        op.drop_column("request", name)


def _partial_index(name: str, table: str, columns: list[str], where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, sqlite_where=condition, postgresql_where=condition)
