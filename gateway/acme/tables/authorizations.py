"""Rows of authorizations (RFC 8555 section 7.1.4).

All challenges of an authorization share its token, and one of them at most is ever answered: when that one
fails, the authorization is invalid. So a challenge needs no row of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from sqlalchemy import Connection, bindparam, exists, func, select, text, update

from gateway.acme.tables.schema import ACCOUNT, AUTHORIZATION
from gateway.clock import from_epoch_s, to_epoch_s
from gateway.store.columns import json_object, json_text, optional_time, texts, texts_column, time_column
from gateway.store.many import ByKeys
from gateway.store.statement import Row, Statement
from gateway.store.unit import Unit

PENDING, PROCESSING, VALID, INVALID, DEACTIVATED = "pending", "processing", "valid", "invalid", "deactivated"
Name = tuple[str, bool]  # a name without "*.", and whether it is a wildcard's


@dataclass(frozen=True, slots=True)
class AuthorizationRow:
    """``status`` is the authorization's, but for ``processing``: pending, with a challenge being validated.

    ``challenges`` are the types on offer, ``method`` the one that was answered (or ``prevalidated``),
    ``attempt`` an id of that answer, ``key_authorization`` the one of the account's key at that time.
    ``error`` is a problem document (without status): of the last look while processing, the final one when
    invalid. ``evidence`` tells what was seen, for the record. Whether it has expired is for
    ``gateway.acme.order_state`` to judge.
    """

    id: str
    endpoint: str
    account_id: str
    kind: str  # "dns" or "ip"
    name: str  # canonical, without "*."
    wildcard: bool
    status: str
    token: str
    challenges: tuple[str, ...]
    created_at: datetime
    expires_at: datetime
    method: str | None = None
    attempt: str | None = None
    key_authorization: str | None = None
    error: Mapping[str, object] | None = None
    evidence: Mapping[str, object] | None = None
    validated_at: datetime | None = None
    version: int = 1

    @property
    def identifier(self) -> str:
        """As in ``OrderRow.identifiers``."""
        return f"{self.kind}:{'*.' if self.wildcard else ''}{self.name}"


def insert(unit: Unit, row: AuthorizationRow) -> None:
    unit.insert(
        AUTHORIZATION,
        {
            "id": row.id,
            "endpoint": row.endpoint,
            "account_id": row.account_id,
            "kind": row.kind,
            "name": row.name,
            "wildcard": int(row.wildcard),
            "token": row.token,
            "challenges": texts_column(row.challenges),
            "created_at": to_epoch_s(row.created_at),
            **_changing(row),
            "version": row.version,
        },
    )


def change(unit: Unit, before: AuthorizationRow, after: AuthorizationRow) -> None:
    """Write everything that may change. Commit raises Conflict if the row has moved on since ``before``."""
    values = {f"new_{name}": value for name, value in _changing(after).items()}
    unit.move(_CHANGE, {"row_id": before.id, "version_was": before.version, **values})


def conclude(unit: Unit, before: AuthorizationRow, after: AuthorizationRow) -> None:
    """As ``change``, for what the gateway found out by itself: Conflict too unless the account is valid."""
    values = {f"new_{name}": value for name, value in _changing(after).items()}
    unit.move(_CONCLUDE, {"row_id": before.id, "version_was": before.version, **values})


def get(
    connection: Connection, endpoint: str, account_id: str, authorization_id: str
) -> AuthorizationRow | None:
    row = _BY_ID.first(
        connection, endpoint=endpoint, account_id=account_id, authorization_id=authorization_id
    )
    return None if row is None else row_of(row)


def row_of(columns: Row) -> AuthorizationRow:
    """The row that these values of COLUMNS are."""
    id_, endpoint, account_id, kind, name, wildcard, status, token, challenges, *rest = columns
    created_at, expires_at, method, attempt, key_authorization, error, evidence, validated_at, version = rest
    return AuthorizationRow(
        id_,
        endpoint,
        account_id,
        kind,
        name,
        bool(wildcard),
        status,
        token,
        _challenges(challenges),
        from_epoch_s(created_at),
        from_epoch_s(expires_at),
        method,
        attempt,
        key_authorization,
        None if error is None else json_object(error),
        None if evidence is None else json_object(evidence),
        optional_time(validated_at),
        version,
    )


def of_order(
    connection: Connection, endpoint: str, account_id: str, authorization_ids: Sequence[str]
) -> tuple[AuthorizationRow, ...]:
    """Those of one order, in its order."""
    found = of_orders(connection, endpoint, account_id, authorization_ids)
    return tuple([found[one] for one in authorization_ids if one in found])


def of_orders(
    connection: Connection, endpoint: str, account_id: str, authorization_ids: Sequence[str]
) -> dict[str, AuthorizationRow]:
    """Those of several orders of one account, by id, in one query."""
    rows = _BY_IDS.all(connection, authorization_ids, {"endpoint": endpoint, "account_id": account_id})
    return {row.id: row for row in map(row_of, rows)}


def valid_for(
    connection: Connection, endpoint: str, account_id: str, names: Iterable[Name], after: datetime
) -> tuple[AuthorizationRow, ...]:
    """Valid authorizations of this account for these names that expire after ``after``, newest first."""
    return _named(_VALID_FOR, connection, endpoint, account_id, names, after)


def pending_for(
    connection: Connection, endpoint: str, account_id: str, names: Iterable[Name], after: datetime
) -> tuple[AuthorizationRow, ...]:
    """Unanswered authorizations of this account for these names that expire after ``after``, newest first."""
    return _named(_PENDING_FOR, connection, endpoint, account_id, names, after)


def count_open(connection: Connection, account_id: str, now: datetime) -> int:
    """How many unexpired authorizations of this account wait for an answer or are being validated."""
    row = _COUNT_OPEN.first(connection, account_id=account_id, now_s=to_epoch_s(now))
    return int(row[0]) if row is not None else 0


def _named(
    statement: Statement,
    connection: Connection,
    endpoint: str,
    account_id: str,
    names: Iterable[Name],
    after: datetime,
) -> tuple[AuthorizationRow, ...]:
    found: list[AuthorizationRow] = []
    for name, wildcard in dict.fromkeys(names):
        rows = statement.all(
            connection,
            endpoint=endpoint,
            account_id=account_id,
            name_is=name,
            wildcard_is=int(wildcard),
            after_s=to_epoch_s(after),
        )
        found += [row_of(row) for row in rows]
    return tuple(found)


@lru_cache(maxsize=64)
def _challenges(column: str) -> tuple[str, ...]:
    """There are only so many sets of them."""
    return texts(column)


def _changing(row: AuthorizationRow) -> dict[str, int | str | None]:
    return {
        "status": row.status,
        "method": row.method,
        "attempt": row.attempt,
        "key_authorization": row.key_authorization,
        "error": None if row.error is None else json_text(row.error),
        "evidence": None if row.evidence is None else json_text(row.evidence),
        "validated_at": time_column(row.validated_at),
        "expires_at": to_epoch_s(row.expires_at),
    }


_CHANGING = (
    "status",
    "method",
    "attempt",
    "key_authorization",
    "error",
    "evidence",
    "validated_at",
    "expires_at",
)
COLUMNS = tuple(AUTHORIZATION.c[name] for name in AuthorizationRow.__slots__)
_BY_ID = Statement(
    select(*COLUMNS).where(
        AUTHORIZATION.c.id == bindparam("authorization_id"),
        AUTHORIZATION.c.account_id == bindparam("account_id"),
        AUTHORIZATION.c.endpoint == bindparam("endpoint"),
    ),
    ("endpoint", "account_id", "authorization_id"),
)
_BY_IDS = ByKeys(
    select(*COLUMNS).where(
        AUTHORIZATION.c.account_id == bindparam("account_id"),
        AUTHORIZATION.c.endpoint == bindparam("endpoint"),
    ),
    AUTHORIZATION.c.id,
    ("endpoint", "account_id"),
)


def _by_name(status: str) -> Statement:
    return Statement(
        select(*COLUMNS)
        .where(
            AUTHORIZATION.c.account_id == bindparam("account_id"),
            AUTHORIZATION.c.name == bindparam("name_is"),
            AUTHORIZATION.c.endpoint == bindparam("endpoint"),
            AUTHORIZATION.c.wildcard == bindparam("wildcard_is"),
            text("status IN ('pending', 'processing', 'valid')"),  # the words of the index
            text(f"status = '{status}'"),
            AUTHORIZATION.c.expires_at > bindparam("after_s"),
        )
        .order_by(AUTHORIZATION.c.pk.desc())
        .limit(20),
        ("endpoint", "account_id", "name_is", "wildcard_is", "after_s"),
    )


_VALID_FOR, _PENDING_FOR = _by_name(VALID), _by_name(PENDING)
_COUNT_OPEN = Statement(
    select(func.count())
    .select_from(AUTHORIZATION)
    .where(
        AUTHORIZATION.c.account_id == bindparam("account_id"),
        text("status IN ('pending', 'processing')"),
        AUTHORIZATION.c.expires_at > bindparam("now_s"),
    ),
    ("account_id", "now_s"),
)
_UPDATE = (
    update(AUTHORIZATION)
    .where(AUTHORIZATION.c.id == bindparam("row_id"), AUTHORIZATION.c.version == bindparam("version_was"))
    .values(**{name: bindparam(f"new_{name}") for name in _CHANGING}, version=AUTHORIZATION.c.version + 1)
)
_UPDATED = ("row_id", "version_was", *(f"new_{name}" for name in _CHANGING))
_CHANGE = Statement(_UPDATE, _UPDATED)
_CONCLUDE = Statement(
    _UPDATE.where(
        exists().where(ACCOUNT.c.id == AUTHORIZATION.c.account_id, ACCOUNT.c.status == text("'valid'"))
    ),
    _UPDATED,
)
