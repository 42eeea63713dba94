"""Rows of orders (RFC 8555 section 7.1.3). Once inserted a row never changes, but for ``release``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, select, text, update

from gateway.acme.tables.schema import ORDER
from gateway.clock import from_epoch_s, to_epoch_s
from gateway.store.columns import optional_time, texts, texts_column, time_column
from gateway.store.statement import INSERT_RANK, Row, Statement
from gateway.store.unit import Unit


@dataclass(frozen=True, slots=True)
class OrderRow:
    """``identifiers`` are written ``dns:*.a.test`` or ``ip:192.0.2.1``, in the order of the request without
    repeats; ``authorizations`` are ids in the same order."""

    id: str
    endpoint: str
    account_id: str
    identifiers: tuple[str, ...]
    authorizations: tuple[str, ...]
    created_at: datetime
    expires_at: datetime
    profile: str | None = None
    not_before: datetime | None = None
    not_after: datetime | None = None
    replaces: str | None = None
    replaces_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class OrderPage:
    """Newest first; ``next_before``, the id of the last one, continues; None at the end."""

    rows: tuple[OrderRow, ...]
    next_before: str | None


def insert(unit: Unit, row: OrderRow) -> None:
    """Add an order. Commit raises Conflict if another order claims to replace the same certificate."""
    unit.insert(
        ORDER,
        {
            "id": row.id,
            "endpoint": row.endpoint,
            "account_id": row.account_id,
            "identifiers": texts_column(row.identifiers),
            "authorizations": texts_column(row.authorizations),
            "profile": row.profile,
            "not_before": time_column(row.not_before),
            "not_after": time_column(row.not_after),
            "replaces": row.replaces,
            "replaces_sha256": row.replaces_sha256,
            "created_at": to_epoch_s(row.created_at),
            "expires_at": to_epoch_s(row.expires_at),
        },
    )


def release(unit: Unit, order_id: str) -> None:
    """Give up an invalid order's claim to replace a certificate (RFC 9773 section 5), so that another order
    of this unit can have it. Commit raises Conflict if it was given up already."""
    unit.move(_RELEASE, {"row_id": order_id})


def row_of(columns: Row) -> OrderRow:
    """The row that these values of COLUMNS are."""
    id_, endpoint, account_id, identifiers, authorizations, created_at, expires_at, *rest = columns
    profile, not_before, not_after, replaces, replaces_sha256 = rest
    return OrderRow(
        id_,
        endpoint,
        account_id,
        texts(identifiers),
        texts(authorizations),
        from_epoch_s(created_at),
        from_epoch_s(expires_at),
        profile,
        optional_time(not_before),
        optional_time(not_after),
        replaces,
        replaces_sha256,
    )


def by_id(connection: Connection, endpoint: str, order_id: str) -> OrderRow | None:
    """For the gateway's own work, never for a client: it names no account."""
    row = _BY_ID.first(connection, endpoint=endpoint, order_id=order_id)
    return None if row is None else row_of(row)


def replacing(connection: Connection, certificate_sha256: str) -> OrderRow | None:
    """The order that claims to replace this certificate, of whatever account."""
    row = _REPLACING.first(connection, sha256=certificate_sha256)
    return None if row is None else row_of(row)


def of_account(
    connection: Connection, endpoint: str, account_id: str, *, limit: int = 100, before: str | None = None
) -> OrderPage:
    """Ids begin with the time, so their order is that of the orders."""
    found = _OF_ACCOUNT.all(
        connection,
        endpoint=endpoint,
        account_id=account_id,
        before=before if before is not None else _BEHIND_ALL,
        most=limit + 1,
    )
    rows = tuple([row_of(row) for row in found[:limit]])
    return OrderPage(rows, rows[-1].id if len(found) > limit else None)


_BEHIND_ALL = "z"  # ids are hexadecimal
COLUMNS = tuple(ORDER.c[name] for name in OrderRow.__slots__)
_BY_ID = Statement(
    select(*COLUMNS).where(ORDER.c.id == bindparam("order_id"), ORDER.c.endpoint == bindparam("endpoint")),
    ("endpoint", "order_id"),
)
_REPLACING = Statement(select(*COLUMNS).where(ORDER.c.replaces_sha256 == bindparam("sha256")), ("sha256",))
_OF_ACCOUNT = Statement(
    select(*COLUMNS)
    .where(
        ORDER.c.account_id == bindparam("account_id"),
        ORDER.c.endpoint == bindparam("endpoint"),
        ORDER.c.id < bindparam("before"),
    )
    .order_by(ORDER.c.id.desc())
    .limit(bindparam("most")),
    ("endpoint", "account_id", "before", "most"),
)
_RELEASE = Statement(
    update(ORDER)
    .where(ORDER.c.id == bindparam("row_id"), text("replaces_sha256 IS NOT NULL"))
    .values(replaces_sha256=None),
    ("row_id",),
    rank=INSERT_RANK - 1,
)
