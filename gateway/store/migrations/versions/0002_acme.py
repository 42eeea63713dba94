"""ACME: its accounts, orders, authorizations and limits; what the shared tables need for it.

Written out, as every migration is; ``gateway.acme.tables.schema`` goes on, this one stands.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TABLES = ("acme_account", "acme_order", "acme_authorization", "acme_limit", "acme_retired_key")


def upgrade() -> None:
    op.add_column("request", sa.Column("transaction_id", sa.Text(), nullable=True))
    _partial_index("request_transaction_id", "request", ["transaction_id"], "transaction_id IS NOT NULL")
    op.add_column("credential", sa.Column("profiles", sa.Text(), nullable=True))
    op.add_column("credential", sa.Column("prevalidated", sa.Text(), nullable=True))
    # The serial number first: a look-up without the issuer is served too.
    op.drop_index("certificate_serial_key", "certificate")
    op.create_index("certificate_serial_key", "certificate", ["serial_hex", "issuer_key_sha256"], unique=True)
    _create_account()
    _create_order()
    _create_authorization()
    op.create_table(
        "acme_limit",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("whole_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_table(
        "acme_retired_key",
        sa.Column("thumbprint", sa.String(length=43), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("thumbprint", "endpoint"),
    )
    if op.get_bind().dialect.name == "postgresql":
        # Redeemed nonces of all gateways on this database. What a crash of the server loses is refused for
        # its age; on SQLite they lie elsewhere (gateway.store.once).
        op.create_table(
            "once_only",
            sa.Column("token", sa.LargeBinary(), nullable=False),
            sa.Column("until", sa.BigInteger(), nullable=False),
            sa.PrimaryKeyConstraint("token"),
            prefixes=["UNLOGGED"],
        )


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.drop_table("once_only")
    for name in reversed(_TABLES):
        op.drop_table(name)
    op.drop_index("certificate_serial_key", "certificate")
    op.create_index("certificate_serial_key", "certificate", ["issuer_key_sha256", "serial_hex"], unique=True)
    op.drop_column("credential", "prevalidated")
    op.drop_column("credential", "profiles")
    op.drop_index("request_transaction_id", "request")
    op.drop_column("request", "transaction_id")


def _create_account() -> None:
    op.create_table(
        "acme_account",
        sa.Column("pk", _KEY, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=44), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("thumbprint", sa.String(length=43), nullable=False),
        sa.Column("jwk", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=12), nullable=False),
        sa.Column("contacts", sa.Text(), nullable=False),
        sa.Column("terms_of_service", sa.Text(), nullable=True),
        sa.Column("credential_id", sa.String(length=36), nullable=True),
        sa.Column("external_account", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("pk"),
    )
    op.create_index("acme_account_id_key", "acme_account", ["id"], unique=True)
    op.create_index("acme_account_thumbprint_key", "acme_account", ["thumbprint", "endpoint"], unique=True)
    _partial_index("acme_account_credential", "acme_account", ["credential_id"], "credential_id IS NOT NULL")


def _create_order() -> None:
    op.create_table(
        "acme_order",
        sa.Column("pk", _KEY, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=44), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("account_id", sa.String(length=44), nullable=False),
        sa.Column("identifiers", sa.Text(), nullable=False),
        sa.Column("authorizations", sa.Text(), nullable=False),
        sa.Column("profile", sa.Text(), nullable=True),
        sa.Column("not_before", sa.BigInteger(), nullable=True),
        sa.Column("not_after", sa.BigInteger(), nullable=True),
        sa.Column("replaces", sa.Text(), nullable=True),
        sa.Column("replaces_sha256", sa.String(length=64), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("pk"),
    )
    op.create_index("acme_order_id_key", "acme_order", ["id"], unique=True)
    op.create_index("acme_order_account", "acme_order", ["account_id", "id"])
    _partial_index(
        "acme_order_replaces_key",
        "acme_order",
        ["replaces_sha256"],
        "replaces_sha256 IS NOT NULL",
        unique=True,
    )


def _create_authorization() -> None:
    op.create_table(
        "acme_authorization",
        sa.Column("pk", _KEY, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=44), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("account_id", sa.String(length=44), nullable=False),
        sa.Column("kind", sa.String(length=4), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("wildcard", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=12), nullable=False),
        sa.Column("token", sa.String(length=43), nullable=False),
        sa.Column("challenges", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), nullable=True),
        sa.Column("attempt", sa.Text(), nullable=True),
        sa.Column("key_authorization", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("evidence", sa.Text(), nullable=True),
        sa.Column("validated_at", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("pk"),
    )
    op.create_index("acme_authorization_id_key", "acme_authorization", ["id"], unique=True)
    _partial_index(
        "acme_authorization_open",
        "acme_authorization",
        ["account_id", "expires_at"],
        "status IN ('pending', 'processing')",
    )
    _partial_index(
        "acme_authorization_usable",
        "acme_authorization",
        ["account_id", "name", "expires_at"],
        "status IN ('pending', 'processing', 'valid')",
    )


def _partial_index(name: str, table: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    op.create_index(
        name, table, columns, unique=unique, sqlite_where=sa.text(where), postgresql_where=sa.text(where)
    )
