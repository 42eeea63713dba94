"""Accounts as an operator looks for them: across endpoints, or by what they are bound to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, select

from gateway.acme.tables import accounts
from gateway.acme.tables.accounts import AccountRow
from gateway.acme.tables.schema import ACCOUNT


@dataclass(frozen=True, slots=True)
class AccountPage:
    """Newest first; ``next_before`` continues, None at the end."""

    rows: tuple[AccountRow, ...]
    next_before: int | None


def search(
    connection: Connection,
    *,
    endpoint: str | None = None,
    credential_id: str | None = None,
    limit: int = 200,
    before: int | None = None,
) -> AccountPage:
    """Pages of accounts; every filter that is given must hold."""
    query: Select[Any] = (
        select(ACCOUNT.c.pk, ACCOUNT.c.endpoint, ACCOUNT.c.id).order_by(ACCOUNT.c.pk.desc()).limit(limit + 1)
    )
    if endpoint is not None:
        query = query.where(ACCOUNT.c.endpoint == endpoint)
    if credential_id is not None:
        query = query.where(ACCOUNT.c.credential_id == credential_id)
    if before is not None:
        query = query.where(ACCOUNT.c.pk < before)
    found = connection.execute(query).all()
    rows = (accounts.get(connection, where, account_id) for _, where, account_id in found[:limit])
    return AccountPage(
        tuple(row for row in rows if row is not None), found[limit - 1][0] if len(found) > limit else None
    )


def find(connection: Connection, account_id: str) -> AccountRow | None:
    """By id alone, for the operator; what clients ask for always names its endpoint."""
    query = select(ACCOUNT.c.endpoint).where(ACCOUNT.c.id == account_id)
    endpoint = connection.execute(query).scalar()
    return None if endpoint is None else accounts.get(connection, endpoint, account_id)
