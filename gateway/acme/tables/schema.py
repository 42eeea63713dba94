"""The tables of ACME, in the style of ``gateway.store.schema``; migration 0002 makes them.

Neither orders nor accounts hold what follows from other rows: an order's status comes from its
authorizations and from the enrolment request of its finalization (``gateway.acme.order_state``), so that no
crash can leave the two apart.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, String, Table, Text, text

from gateway.store.schema import KEY

METADATA = MetaData()

ACCOUNT = Table(
    "acme_account",
    METADATA,
    Column("pk", KEY, primary_key=True, autoincrement=True),
    Column("id", String(44), nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("thumbprint", String(43), nullable=False),
    Column("jwk", Text, nullable=False),
    Column("status", String(12), nullable=False),  # valid, deactivated, revoked
    Column("contacts", Text, nullable=False),
    Column("terms_of_service", Text, nullable=True),  # the URL that was agreed to
    Column("credential_id", String(36), nullable=True),
    Column("external_account", Text, nullable=True),  # the binding as it was sent (RFC 8555 section 7.1.2)
    Column("created_at", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
)
Index("acme_account_id_key", ACCOUNT.c.id, unique=True)
Index("acme_account_thumbprint_key", ACCOUNT.c.thumbprint, ACCOUNT.c.endpoint, unique=True)
_BOUND = text("credential_id IS NOT NULL")
Index("acme_account_credential", ACCOUNT.c.credential_id, sqlite_where=_BOUND, postgresql_where=_BOUND)

ORDER = Table(
    "acme_order",
    METADATA,
    Column("pk", KEY, primary_key=True, autoincrement=True),
    Column("id", String(44), nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("account_id", String(44), nullable=False),
    Column("identifiers", Text, nullable=False),
    Column("authorizations", Text, nullable=False),
    Column("profile", Text, nullable=True),
    Column("not_before", BigInteger, nullable=True),
    Column("not_after", BigInteger, nullable=True),
    Column("replaces", Text, nullable=True),  # as the client wrote it (RFC 9773 section 5)
    Column("replaces_sha256", String(64), nullable=True),  # of the certificate, while this order claims it
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
)
_REPLACING = text("replaces_sha256 IS NOT NULL")
Index("acme_order_id_key", ORDER.c.id, unique=True)
Index("acme_order_account", ORDER.c.account_id, ORDER.c.id)
Index(
    "acme_order_replaces_key",
    ORDER.c.replaces_sha256,
    unique=True,
    sqlite_where=_REPLACING,
    postgresql_where=_REPLACING,
)

AUTHORIZATION = Table(
    "acme_authorization",
    METADATA,
    Column("pk", KEY, primary_key=True, autoincrement=True),
    Column("id", String(44), nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("account_id", String(44), nullable=False),
    Column("kind", String(4), nullable=False),  # dns or ip
    Column("name", Text, nullable=False),  # without "*."
    Column("wildcard", Integer, nullable=False),
    Column("status", String(12), nullable=False),  # pending, processing, valid, invalid, deactivated
    Column("token", String(43), nullable=False),
    Column("challenges", Text, nullable=False),
    Column("method", Text, nullable=True),  # the challenge type that was answered, or prevalidated
    Column("attempt", Text, nullable=True),  # names the answer that is being validated
    Column("key_authorization", Text, nullable=True),
    Column("error", Text, nullable=True),
    Column("evidence", Text, nullable=True),
    Column("validated_at", BigInteger, nullable=True),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
)
_OPEN = text("status IN ('pending', 'processing')")
_USABLE = text("status IN ('pending', 'processing', 'valid')")
Index("acme_authorization_id_key", AUTHORIZATION.c.id, unique=True)
Index(
    "acme_authorization_open",
    AUTHORIZATION.c.account_id,
    AUTHORIZATION.c.expires_at,
    sqlite_where=_OPEN,
    postgresql_where=_OPEN,
)
Index(
    "acme_authorization_usable",
    AUTHORIZATION.c.account_id,
    AUTHORIZATION.c.name,
    AUTHORIZATION.c.expires_at,
    sqlite_where=_USABLE,
    postgresql_where=_USABLE,
)

# One row per limited thing: when its allowance will be whole again (generic cell rate algorithm).
LIMIT = Table(
    "acme_limit",
    METADATA,
    Column("key", String(64), primary_key=True),  # SHA-256 of limit, endpoint and subject
    Column("whole_at_ms", BigInteger, nullable=False),
)

# Former keys of accounts, which open none again.
RETIRED_KEY = Table(
    "acme_retired_key",
    METADATA,
    Column("thumbprint", String(43), primary_key=True),
    Column("endpoint", Text, primary_key=True),
)
