"""Rows of rate limits: one number per limited thing, exact whatever the number of processes.

The generic cell rate algorithm: ``whole_at`` is when the whole allowance is there again. With an allowance
of N per T, each use moves it on by T / N, and a use is allowed while it lies less than T - T / N ahead.
"""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, delete, select

from gateway.acme.tables.schema import LIMIT
from gateway.store.statement import Statement
from gateway.store.unit import Unit
from gateway.store.upsert import insert_or_update


def whole_at_ms(connection: Connection, key: str) -> int:
    """When the allowance is whole, in milliseconds since 1970; 0 where nothing is known."""
    row = _GET.first(connection, key_is=key)
    return 0 if row is None else int(row[0])


def use(unit: Unit, key: str, now_ms: int, step_ms: int) -> None:
    """Take one use: the moment moves on by ``step_ms``, from now at the earliest."""
    unit.move(_USE, {"key": key, "whole_at_ms": now_ms + step_ms, "now_ms": now_ms, "step_ms": step_ms})


def forget(unit: Unit, before_ms: int) -> None:
    """Remove the rows whose allowance is whole."""
    unit.move(_FORGET, {"before_ms": before_ms})


_GET = Statement(select(LIMIT.c.whole_at_ms).where(LIMIT.c.key == bindparam("key_is")), ("key_is",))
_USE = insert_or_update(
    LIMIT,
    "key",
    "SET whole_at_ms = :step_ms + "
    "CASE WHEN acme_limit.whole_at_ms > :now_ms THEN acme_limit.whole_at_ms ELSE :now_ms END",
    extra=("now_ms", "step_ms"),
)
_FORGET = Statement(
    delete(LIMIT).where(LIMIT.c.whole_at_ms < bindparam("before_ms")), ("before_ms",), exact=False
)
