"""The tables, alike on SQLite and PostgreSQL.

Integer primary keys (``pk``), time-ordered UUIDv7 texts as ids, times as seconds since 1970 (``*_at`` and
``*_until``), JSON as text, DER as binary. Changes come by ``migrations``; a test holds both equal.
No foreign keys: rows of one unit are written together or not at all, and a check per row would lock the
shared chain rows on PostgreSQL.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)
from sqlalchemy.types import TypeEngine

METADATA = MetaData()

# SQLite gives a rowid alias only to INTEGER PRIMARY KEY, never to BIGINT.
KEY = BigInteger().with_variant(Integer(), "sqlite")


def _pk() -> Column[int]:
    return Column("pk", KEY, primary_key=True, autoincrement=True)


def _column(name: str, kind: TypeEngine[Any] | type[TypeEngine[Any]], *, null: bool = False) -> Column[Any]:
    return Column(name, kind, nullable=null)


REQUEST = Table(
    "request",
    METADATA,
    _pk(),
    _column("id", String(36)),
    _column("reason_id", String(16), null=True),
    _column("correlation", String(64), null=True),
    _column("state", String(24)),
    _column("version", Integer),
    _column("protocol", Text),
    _column("endpoint", Text),
    _column("operation", Text),
    _column("identity", Text),
    _column("identity_label", Text),
    _column("subject", Text),
    _column("sans", Text),
    _column("spki_sha256", String(64), null=True),
    _column("csr_der", LargeBinary, null=True),
    _column("renews_sha256", String(64), null=True),
    _column("policy", Text, null=True),
    _column("bundle_sha256", String(64), null=True),
    _column("backend", Text, null=True),
    _column("profile", Text, null=True),
    _column("plan", Text, null=True),
    _column("decision", Text, null=True),
    _column("remote", Text),
    _column("ca_handle", Text, null=True),
    _column("approvals", Text),
    _column("approvals_required", Integer),
    _column("expires_at", BigInteger, null=True),
    _column("retry_after_s", Integer, null=True),
    _column("certificate_sha256", String(64), null=True),
    _column("received_at", BigInteger),
    _column("updated_at", BigInteger),
    _column("closed_at", BigInteger, null=True),
    _column("answers_until", BigInteger, null=True),
    _column("transaction_id", Text, null=True),
    _column("content_sha256", String(64), null=True),
    _column("confirm_within_s", Integer, null=True),
    _column("confirm_by", BigInteger, null=True),
    _column("confirmed_by_sha256", String(64), null=True),
)
_REFUSED = text("reason_id IS NOT NULL")
_OPEN = text("closed_at IS NULL")
_UNCONFIRMED = text("state = 'unconfirmed'")
_IN_TRANSACTION = text("transaction_id IS NOT NULL")
Index("request_id_key", REQUEST.c.id, unique=True)
Index("request_reason_id", REQUEST.c.reason_id, sqlite_where=_REFUSED, postgresql_where=_REFUSED)
# A request keeps its correlation to itself until it is retired, closed ones too, so that two copies of a
# message that come at once to a CA in this process end with one certificate.
Index("request_correlation_key", REQUEST.c.correlation, unique=True)
Index("request_open_state", REQUEST.c.state, sqlite_where=_OPEN, postgresql_where=_OPEN)
Index(
    "request_transaction_id",
    REQUEST.c.transaction_id,
    sqlite_where=_IN_TRANSACTION,
    postgresql_where=_IN_TRANSACTION,
)

Index(
    "request_unconfirmed_renewal",
    REQUEST.c.renews_sha256,
    sqlite_where=_UNCONFIRMED,
    postgresql_where=_UNCONFIRMED,
)

CERTIFICATE = Table(
    "certificate",
    METADATA,
    _pk(),
    _column("sha256", String(64)),
    _column("issuer_key_sha256", String(64)),
    _column("serial_hex", String(40)),
    _column("subject", Text),
    _column("sans", Text),
    _column("spki_sha256", String(64)),
    _column("not_before", BigInteger),
    _column("not_after", BigInteger),
    _column("certificate_der", LargeBinary),
    _column("chain_sha256", String(64)),
    _column("request_id", String(36)),
    _column("protocol", Text),
    _column("endpoint", Text),
    _column("identity", Text),
    _column("policy", Text),
    _column("bundle_sha256", String(64)),
    _column("backend", Text),
    _column("status", String(8)),
    _column("revoked_at", BigInteger, null=True),
    _column("revocation_reason", Text, null=True),
    _column("predecessor_sha256", String(64), null=True),
)
_NOT_GOOD = text("status <> 'good'")
Index("certificate_sha256_key", CERTIFICATE.c.sha256, unique=True)
# The serial number comes first, so that a look-up without the issuer is served too.
Index("certificate_serial_key", CERTIFICATE.c.serial_hex, CERTIFICATE.c.issuer_key_sha256, unique=True)
Index("certificate_not_after", CERTIFICATE.c.not_after)
Index("certificate_spki_sha256", CERTIFICATE.c.spki_sha256)
Index("certificate_request_id", CERTIFICATE.c.request_id)
Index(
    "certificate_revoked",
    CERTIFICATE.c.issuer_key_sha256,
    sqlite_where=_NOT_GOOD,
    postgresql_where=_NOT_GOOD,
)

# The issuer certificates of many leaves, stored once: their DER one after the other, issuer first.
CHAIN = Table(
    "chain",
    METADATA,
    Column("sha256", String(64), primary_key=True),
    _column("chain_der", LargeBinary),
)

CREDENTIAL = Table(
    "credential",
    METADATA,
    _pk(),
    _column("id", String(36)),
    _column("kind", Text),
    _column("protocol", Text, null=True),
    _column("endpoints", Text, null=True),
    _column("name", Text),
    _column("verifier", Text, null=True),
    _column("sealed", LargeBinary, null=True),
    _column("names", Text, null=True),
    _column("created_at", BigInteger),
    _column("expires_at", BigInteger, null=True),
    _column("uses_left", Integer, null=True),
    _column("revoked_at", BigInteger, null=True),
    _column("source", Text),
    _column("profiles", Text, null=True),
    _column("prevalidated", Text, null=True),
    _column("permissions", Text, null=True),
    _column("groups", Text, null=True),
    _column("labels", Text, null=True),
)
_UNREVOKED = text("revoked_at IS NULL")
Index("credential_id_key", CREDENTIAL.c.id, unique=True)
Index(
    "credential_name_key",
    CREDENTIAL.c.kind,
    CREDENTIAL.c.name,
    unique=True,
    sqlite_where=_UNREVOKED,
    postgresql_where=_UNREVOKED,
)
# Revoked ones are looked up for the operator's eyes, whenever somebody guesses: never by a scan.
_REVOKED = text("revoked_at IS NOT NULL")
Index(
    "credential_revoked_name",
    CREDENTIAL.c.kind,
    CREDENTIAL.c.name,
    sqlite_where=_REVOKED,
    postgresql_where=_REVOKED,
)
# The verifier first: by its kind alone a planner without statistics would look for names in here.
Index("credential_verifier", CREDENTIAL.c.verifier, CREDENTIAL.c.kind)

# What an Idempotency-Key of the REST API was answered with, by the token that sent it. The answer holds a
# secret: sealed, and forgotten long before the row.
API_ANSWER = Table(
    "api_answer",
    METADATA,
    _pk(),
    _column("token_id", String(36)),
    _column("key_sha256", String(64)),
    _column("content_sha256", String(64)),
    _column("credential_id", String(36)),
    _column("made_at", BigInteger),
    _column("sealed", LargeBinary, null=True),
)
_SEALED = text("sealed IS NOT NULL")
Index("api_answer_key", API_ANSWER.c.token_id, API_ANSWER.c.key_sha256, unique=True)
Index("api_answer_sealed", API_ANSWER.c.made_at, sqlite_where=_SEALED, postgresql_where=_SEALED)


def _lease_columns() -> tuple[Column[Any], ...]:
    """What work that is done at least once needs: when, how often, by whom until when."""
    return (
        _column("state", String(8)),  # ready, running, done, failed
        _column("run_at", BigInteger),
        _column("attempts", Integer),
        _column("max_attempts", Integer),
        _column("lease_owner", Text, null=True),
        _column("lease_until", BigInteger, null=True),
        _column("last_error", Text, null=True),
    )


_ACTIVE = text("state IN ('ready', 'running')")
JOB = Table(
    "job",
    METADATA,
    _pk(),
    _column("id", String(36)),
    _column("kind", Text),
    _column("dedup_key", Text),
    _column("args", Text),
    *_lease_columns(),
)
Index("job_id_key", JOB.c.id, unique=True)
Index(
    "job_active_key",
    JOB.c.kind,
    JOB.c.dedup_key,
    unique=True,
    sqlite_where=_ACTIVE,
    postgresql_where=_ACTIVE,
)
Index("job_run_at", JOB.c.run_at, sqlite_where=_ACTIVE, postgresql_where=_ACTIVE)

OUTBOX = Table(
    "outbox",
    METADATA,
    _pk(),
    _column("id", String(36)),
    _column("kind", Text),
    _column("payload", Text),
    _column("created_at", BigInteger),
    *_lease_columns(),
)
Index("outbox_id_key", OUTBOX.c.id, unique=True)
Index("outbox_run_at", OUTBOX.c.run_at, sqlite_where=_ACTIVE, postgresql_where=_ACTIVE)

AUDIT = Table(
    "audit",
    METADATA,
    Column("seq", KEY, primary_key=True, autoincrement=False),
    _column("at", BigInteger),
    _column("actor", Text),
    _column("action", Text),
    _column("object_id", Text),
    _column("outcome", Text),
    _column("details", Text),
    _column("prev_hash", String(64)),
    _column("hash", String(64)),
)
Index("audit_object_id", AUDIT.c.object_id)

AUDIT_HEAD = Table(
    "audit_head",
    METADATA,
    Column("pk", Integer, primary_key=True, autoincrement=False),  # always 1
    _column("seq", BigInteger),
    _column("hash", String(64)),
)

BUNDLE = Table(
    "bundle",
    METADATA,
    _pk(),
    _column("sha256", String(64)),
    _column("documents", Text),
    _column("source", Text),
    _column("created_at", BigInteger),
    _column("texts", Text, null=True),
)
Index("bundle_sha256_key", BUNDLE.c.sha256, unique=True)

BUNDLE_ACTIVATION = Table(
    "bundle_activation",
    METADATA,
    _pk(),
    _column("sha256", String(64)),
    _column("activated_at", BigInteger),
    _column("actor", Text),
    _column("how", String(20)),
    _column("note", Text),
    _column("revision", Text),
)

CRL_STATE = Table(
    "crl_state",
    METADATA,
    Column("issuer_key_sha256", String(64), primary_key=True),
    _column("revocation_count", BigInteger),
    _column("built_count", BigInteger),
    _column("number", BigInteger),
    _column("crl_der", LargeBinary, null=True),
    _column("this_update", BigInteger, null=True),
    _column("next_update", BigInteger, null=True),
)

LEASE = Table(
    "lease",
    METADATA,
    Column("name", String(120), primary_key=True),
    _column("owner", Text),
    _column("until", BigInteger),
)

SETTING = Table(
    "setting",
    METADATA,
    Column("name", String(120), primary_key=True),
    _column("value", Text),
    _column("updated_at", BigInteger),
)

# Uses of limits in a sliding window: one row for each part of a window in which something was granted.
# ``scope`` is the SHA-256 of what is counted.
LIMIT_WINDOW = Table(
    "limit_window",
    METADATA,
    _pk(),
    _column("scope", String(64)),
    _column("bucket", BigInteger),
    _column("used", Integer),
    _column("until", BigInteger),
)
Index("limit_window_key", LIMIT_WINDOW.c.scope, LIMIT_WINDOW.c.bucket, unique=True)

# Granted requests by what a limit on active certificates counts; whether one is active still, the request and
# its certificate say.
LIMIT_HOLD = Table(
    "limit_hold",
    METADATA,
    _pk(),
    _column("scope", String(64)),
    _column("request_id", String(36)),
    _column("until", BigInteger),
)
Index("limit_hold_key", LIMIT_HOLD.c.scope, LIMIT_HOLD.c.request_id, unique=True)

# Entries of single-use lists that served a request. Kept for ever: none may serve another.
LIST_USE = Table(
    "list_use",
    METADATA,
    _pk(),
    _column("list_name", String(40)),
    _column("key_sha256", String(64)),
    _column("request_id", String(36)),
    _column("used_at", BigInteger),
)
Index("list_use_key", LIST_USE.c.list_name, LIST_USE.c.key_sha256, unique=True)

# The last good content of every list that is fetched, so that a start without network knows it.
LIST_CONTENT = Table(
    "list_content",
    METADATA,
    Column("name", String(40), primary_key=True),
    _column("url", Text),
    _column("sha256", String(64), null=True),
    _column("content", LargeBinary, null=True),  # zlib
    _column("etag", Text, null=True),
    _column("last_modified", Text, null=True),
    _column("good_at", BigInteger, null=True),
    _column("asked_at", BigInteger),
    _column("problem", Text),
)
