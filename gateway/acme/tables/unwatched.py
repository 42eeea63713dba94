"""Authorizations whose validation nobody will end any more: no job waits or runs for them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, exists, select, text

from gateway.acme.tables import accounts, authorizations
from gateway.acme.tables.authorizations import AuthorizationRow
from gateway.acme.tables.schema import ACCOUNT, AUTHORIZATION
from gateway.clock import to_epoch_s
from gateway.store.schema import JOB
from gateway.store.statement import Statement


def find(connection: Connection, kind: str, now: datetime, limit: int) -> tuple[AuthorizationRow, ...]:
    """Those being validated, of accounts that count, without an active job of this kind."""
    rows = _FIND.all(connection, kind_is=kind, now_s=to_epoch_s(now), most=limit)
    found = (authorizations.get(connection, *row) for row in rows)
    return tuple(row for row in found if row is not None)


def has_job(connection: Connection, kind: str, authorization_id: str) -> bool:
    """Whether a job of this kind waits or runs for it."""
    return _ACTIVE.first(connection, kind_is=kind, key_is=authorization_id) is not None


def given_up(connection: Connection, kind: str, authorization_ids: Sequence[str]) -> frozenset[str]:
    """Those for which a job of this kind was given up. Looks through all jobs: for rare occasions only."""
    query = select(JOB.c.dedup_key).where(
        JOB.c.kind == kind, JOB.c.state == "failed", JOB.c.dedup_key.in_(authorization_ids)
    )
    return frozenset(row[0] for row in connection.execute(query)) if authorization_ids else frozenset()


# The words of the partial indexes, which SQLite uses only if it finds them again.
_JOB_IS_ACTIVE = text("job.state IN ('ready', 'running')")
_ACTIVE = Statement(
    select(JOB.c.id).where(
        JOB.c.kind == bindparam("kind_is"), JOB.c.dedup_key == bindparam("key_is"), _JOB_IS_ACTIVE
    ),
    ("kind_is", "key_is"),
)
_watched: Any = exists().where(
    JOB.c.kind == bindparam("kind_is"), JOB.c.dedup_key == AUTHORIZATION.c.id, _JOB_IS_ACTIVE
)
_counts: Any = exists().where(
    ACCOUNT.c.id == AUTHORIZATION.c.account_id,
    ACCOUNT.c.endpoint == AUTHORIZATION.c.endpoint,
    ACCOUNT.c.status == text(f"'{accounts.VALID}'"),
)
_FIND = Statement(
    select(AUTHORIZATION.c.endpoint, AUTHORIZATION.c.account_id, AUTHORIZATION.c.id)
    .where(
        text("acme_authorization.status IN ('pending', 'processing')"),
        text("acme_authorization.status = 'processing'"),
        AUTHORIZATION.c.expires_at > bindparam("now_s"),
        _counts,
        ~_watched,
    )
    .limit(bindparam("most")),
    ("kind_is", "now_s", "most"),
)
