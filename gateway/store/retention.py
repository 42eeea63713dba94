"""Removal of rows that nobody needs any more, some at a time.

A sweep goes through a table by its primary key and begins again at the end: it needs no index of its own,
what stays costs a look per round, and no transaction is long. docs/operations.md says what is kept how long.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TypeVar

from sqlalchemy import BigInteger, ColumnElement, Connection, Table, and_, bindparam, delete, or_, select

from gateway.clock import to_epoch_s
from gateway.model.evidence import SCEP_CHALLENGE
from gateway.store.schema import CREDENTIAL, JOB, LIMIT_HOLD, LIMIT_WINDOW
from gateway.store.statement import Statement
from gateway.store.store import Store
from gateway.store.unit import Unit

T = TypeVar("T")
BATCH_ROWS = 1000
BATCHES = 20  # of one table, each time
JOBS_KEPT = timedelta(days=7)
CHALLENGES_KEPT = timedelta(days=365)
LIMITS_KEPT = timedelta(hours=1)  # after nothing counts them: clocks of several hosts may differ

Read = Callable[[Callable[[Connection], int | None]], Awaitable[int | None]]
Commit = Callable[[Unit], Awaitable[None]]


class Sweep:
    """``may_go`` is the condition on a row, with the bind ``before_s``. Each process has one, which knows how
    far it has come."""

    def __init__(self, table: Table, may_go: ColumnElement[bool]) -> None:
        pk = table.c.pk
        self._after = 0
        self._last = Statement(
            select(pk).where(pk > bindparam("after")).order_by(pk).limit(1).offset(bindparam("rows")),
            ("after", "rows"),
        )
        self._rest = Statement(
            select(pk).where(pk > bindparam("after")).order_by(pk.desc()).limit(1), ("after",)
        )
        self._remove = Statement(
            delete(table).where(pk > bindparam("after"), pk <= bindparam("last"), may_go),
            ("after", "last", "before_s"),
            exact=False,
        )

    async def run(self, read: Read, commit: Commit, before: datetime) -> None:
        """Go on from where the last run ended. Raises StoreUnavailable and Overloaded."""
        for _ in range(BATCHES):
            last = await read(self._window_end)
            if last is None:
                self._after = 0
                return
            unit = Unit()
            unit.move(self._remove, {"after": self._after, "last": last, "before_s": to_epoch_s(before)})
            await commit(unit)
            self._after = last

    def _window_end(self, connection: Connection) -> int | None:
        """The key of the last row of the next batch; None: no row is left in this round."""
        row = self._last.first(connection, after=self._after, rows=BATCH_ROWS - 1)
        if row is None:
            row = self._rest.first(connection, after=self._after)
        return None if row is None else int(row[0])


class JobRetention:
    """Finished jobs, done or given up, are kept for a week after they were due."""

    def __init__(self, store: Store) -> None:
        self._store = store
        over = or_(JOB.c.state == "done", JOB.c.state == "failed")
        due = JOB.c.run_at < bindparam("before_s", type_=BigInteger)
        self._sweep = Sweep(JOB, and_(over, due))

    async def prune(self, now: datetime) -> None:
        """Remove some of what is older. Raises StoreUnavailable and Overloaded."""
        await self._sweep.run(self._store.reader.read, self._store.recorder.commit, now - JOBS_KEPT)


class LimitRetention:
    """Windows that have gone by, and active certificates that have expired: nothing counts them any more."""

    def __init__(self, store: Store) -> None:
        self._store = store
        before = bindparam("before_s", type_=BigInteger)
        self._sweeps = (
            Sweep(LIMIT_WINDOW, LIMIT_WINDOW.c.until < before),
            Sweep(LIMIT_HOLD, LIMIT_HOLD.c.until < before),
        )

    async def prune(self, now: datetime) -> None:
        """Remove some of them. Raises StoreUnavailable and Overloaded."""
        for sweep in self._sweeps:
            await sweep.run(self._store.reader.read, self._store.recorder.commit, now - LIMITS_KEPT)


class ChallengeRetention:
    """One-time and counted challenge passwords are kept for a year after they expired, used up or not: until
    then a request that they began may wait for approval, and the record names them. The audit log stays."""

    def __init__(self, store: Store) -> None:
        self._store = store
        c = CREDENTIAL.c
        counted = and_(c.kind == str(SCEP_CHALLENGE), c.uses_left.is_not(None))
        # Without an end a row is never over: NULL is less than nothing.
        self._sweep = Sweep(CREDENTIAL, and_(counted, c.expires_at < bindparam("before_s", type_=BigInteger)))

    async def prune(self, now: datetime) -> None:
        """Remove some of what is older. Raises StoreUnavailable and Overloaded."""
        await self._sweep.run(self._store.reader.read, self._store.recorder.commit, now - CHALLENGES_KEPT)
