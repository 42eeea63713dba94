"""Rows of limits that nothing counts any more are removed, and no others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, Table, func, select

from gateway.store import limits
from gateway.store.retention import LIMITS_KEPT, LimitRetention
from gateway.store.schema import LIMIT_HOLD, LIMIT_WINDOW
from gateway.store.store import Store
from gateway.store.unit import Unit

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SCOPES = ["a" * 64, "b" * 64]


async def _count(store: Store, table: Table) -> int:
    def read(connection: Connection) -> int:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())

    return await store.reader.read(read)


async def test_windows_and_holders_go_once_they_are_over(store: Store) -> None:
    unit = Unit()
    limits.take(unit, SCOPES[0], 3600, 5, NOW)
    limits.take(unit, SCOPES[1], 86_400, 5, NOW)
    for days, scope in enumerate(SCOPES, 1):
        until = NOW + timedelta(days=days)
        limits.hold(unit, scope, f"request-{days}", until, most=1, renewed="", now=NOW)
    await store.recorder.commit(unit)
    retention = LimitRetention(store)
    await retention.prune(NOW + timedelta(hours=1))
    assert (await _count(store, LIMIT_WINDOW), await _count(store, LIMIT_HOLD)) == (2, 2)
    await retention.prune(NOW + timedelta(hours=1, minutes=2) + LIMITS_KEPT)
    assert (await _count(store, LIMIT_WINDOW), await _count(store, LIMIT_HOLD)) == (1, 2)
    await retention.prune(NOW + timedelta(days=1, minutes=30) + LIMITS_KEPT)
    assert (await _count(store, LIMIT_WINDOW), await _count(store, LIMIT_HOLD)) == (0, 1)


async def test_what_is_given_back_may_be_taken_again_and_never_goes_below_nothing(store: Store) -> None:
    unit = Unit()
    part = limits.take(unit, SCOPES[0], 3600, 1, NOW)
    await store.recorder.commit(unit)
    for _ in range(2):
        unit = Unit()
        limits.give_back(unit, SCOPES[0], part)
        await store.recorder.commit(unit)
    unit = Unit()
    limits.take(unit, SCOPES[0], 3600, 1, NOW)
    await store.recorder.commit(unit)
    windows = await store.reader.read(lambda connection: limits.windows(connection, {SCOPES[0]: 3600}))
    assert windows[SCOPES[0]].used(int(NOW.timestamp())) == 1
