"""Rows of rate limits: one number per limited thing.

The generic cell rate algorithm: ``whole_at`` is when the whole allowance is there again. With an allowance
of N per T, each use moves it on by T / N, and a use is allowed while it lies no more than T - T / N ahead.
``take`` looks and moves in one statement, so it is exact whatever the number of processes.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, delete, select

from gateway.acme.tables.schema import LIMIT
from gateway.store.many import ByKeys
from gateway.store.statement import Statement
from gateway.store.unit import Unit
from gateway.store.upsert import insert_or_update


def whole_at_ms(connection: Connection, keys: Sequence[str]) -> dict[str, int]:
    """When allowances are whole, by key, in milliseconds since 1970; those that nobody used are left out."""
    return {str(key): int(moment) for key, moment in _GET.all(connection, keys, {})}


def take(unit: Unit, key: str, now_ms: int, step_ms: int, burst_ms: int) -> None:
    """Take one use: the moment moves on by ``step_ms``, from now at the earliest.

    Commit raises Conflict where it lies more than ``burst_ms`` ahead already.
    """
    unit.move(_TAKE, {**_moved(key, now_ms, step_ms), "burst_ms": burst_ms})


def charge(unit: Unit, key: str, now_ms: int, step_ms: int) -> None:
    """As ``take``, but of what has happened already: whether there was a use left or not."""
    unit.move(_CHARGE, _moved(key, now_ms, step_ms))


def forget(unit: Unit, before_ms: int) -> None:
    """Remove the rows whose allowance is whole."""
    unit.move(_FORGET, {"before_ms": before_ms})


def _moved(key: str, now_ms: int, step_ms: int) -> dict[str, str | int | bytes | None]:
    return {"key": key, "whole_at_ms": now_ms + step_ms, "now_ms": now_ms, "step_ms": step_ms}


_MOVED = (
    "SET whole_at_ms = :step_ms + "
    "CASE WHEN acme_limit.whole_at_ms > :now_ms THEN acme_limit.whole_at_ms ELSE :now_ms END"
)
_GET = ByKeys(select(LIMIT.c.key, LIMIT.c.whole_at_ms), LIMIT.c.key)
_CHARGE = insert_or_update(LIMIT, "key", _MOVED, extra=("now_ms", "step_ms"))
_TAKE = insert_or_update(
    LIMIT,
    "key",
    f"{_MOVED} WHERE acme_limit.whole_at_ms - :now_ms <= :burst_ms",
    extra=("now_ms", "step_ms", "burst_ms"),
)
_FORGET = Statement(
    delete(LIMIT).where(LIMIT.c.whole_at_ms < bindparam("before_ms")), ("before_ms",), exact=False
)
