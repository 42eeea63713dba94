"""An account with one object of its own, in one read: nearly every signed request needs both."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Table, bindparam, select

from gateway.acme.tables import accounts, authorizations, orders
from gateway.acme.tables.accounts import AccountRow
from gateway.acme.tables.authorizations import AuthorizationRow
from gateway.acme.tables.orders import OrderRow
from gateway.acme.tables.schema import ACCOUNT, AUTHORIZATION, ORDER
from gateway.store.statement import Row, Statement


def with_authorization(
    connection: Connection, endpoint: str, account_id: str, authorization_id: str
) -> tuple[AccountRow | None, AuthorizationRow | None]:
    """The account of this endpoint, and the authorization if it is one of this account."""
    account, found = _read(_WITH_AUTHORIZATION, connection, endpoint, account_id, authorization_id)
    return account, None if found is None else authorizations.row_of(found)


def with_order(
    connection: Connection, endpoint: str, account_id: str, order_id: str
) -> tuple[AccountRow | None, OrderRow | None]:
    """The account of this endpoint, and the order if it is one of this account."""
    account, found = _read(_WITH_ORDER, connection, endpoint, account_id, order_id)
    return account, None if found is None else orders.row_of(found)


def _read(
    statement: Statement, connection: Connection, endpoint: str, account_id: str, object_id: str
) -> tuple[AccountRow | None, Row | None]:
    row = statement.first(connection, endpoint=endpoint, account_id=account_id, object_id=object_id)
    if row is None:
        return None, None
    found = row[_WIDTH:]
    return accounts.row_of(row[:_WIDTH]), found if found[0] is not None else None


_WIDTH = len(accounts.COLUMNS)


def _with(table: Table, columns: tuple[Any, ...]) -> Statement:
    """``columns`` begin with the id, which no row of the table is without."""
    mine = (
        (table.c.id == bindparam("object_id"))
        & (table.c.account_id == ACCOUNT.c.id)
        & (table.c.endpoint == ACCOUNT.c.endpoint)
    )
    return Statement(
        select(*accounts.COLUMNS, *columns)
        .select_from(ACCOUNT.outerjoin(table, mine))
        .where(ACCOUNT.c.id == bindparam("account_id"), ACCOUNT.c.endpoint == bindparam("endpoint")),
        ("endpoint", "account_id", "object_id"),
    )


_WITH_AUTHORIZATION = _with(AUTHORIZATION, authorizations.COLUMNS)
_WITH_ORDER = _with(ORDER, orders.COLUMNS)
