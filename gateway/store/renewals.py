"""Renewals that wait for confirmation: while one does, no other of the same certificate begins."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    TextClause,
    bindparam,
    exists,
    select,
    text,
    update,
)

from gateway.clock import from_epoch_s, to_epoch_s
from gateway.store.schema import REQUEST
from gateway.store.statement import Statement
from gateway.store.unit import Unit


def unconfirmed(connection: Connection, renews_sha256: str, now: datetime) -> datetime | None:
    """Until when an issued renewal of this certificate may be confirmed; None: none waits for that."""
    row = _UNCONFIRMED.first(connection, renews_sha256=renews_sha256, now_s=to_epoch_s(now))
    return None if row is None else from_epoch_s(row[0])


def demand_no_other(unit: Unit, request_id: str, renews_sha256: str, now: datetime) -> None:
    """Write the unit only if no other renewal of this certificate than the request that it inserts waits.

    Commit raises Conflict where one was recorded since ``unconfirmed`` was asked.
    """
    unit.move(_NO_OTHER, {"request_id": request_id, "renews_sha256": renews_sha256, "now_s": to_epoch_s(now)})


def _waiting(table: FromClause) -> tuple[ColumnElement[bool] | TextClause, ...]:
    """In the words of the partial index, or SQLite does not see that it serves."""
    return (
        table.c.renews_sha256 == bindparam("renews_sha256"),
        text("state = 'unconfirmed'"),
        table.c.confirm_by >= bindparam("now_s"),
    )


_OTHER = REQUEST.alias("other")
_UNCONFIRMED = Statement(
    select(REQUEST.c.confirm_by).where(*_waiting(REQUEST)).limit(1), ("renews_sha256", "now_s")
)
# It comes after the inserts of its batch, so that two renewals of one batch meet here too.
_NO_OTHER = Statement(
    update(REQUEST)
    .where(
        REQUEST.c.id == bindparam("request_id"),
        ~exists(select(_OTHER.c.pk).where(*_waiting(_OTHER), _OTHER.c.id != bindparam("request_id"))),
    )
    .values(version=REQUEST.c.version),
    ("request_id", "renews_sha256", "now_s"),
)
