"""Work that is done at least once: taken under a lease, given back with a back-off, given up in the end.

Shared by ``job`` and ``outbox``, whose tables have the same lease columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Table, and_, bindparam, or_, select, text, update

from gateway.store.statement import Statement

FIRST_BACKOFF_S = 5
LONGEST_BACKOFF_S = 3600
_LAST_ERROR_CHARS = 500


class LeasedTable:
    """The statements of one table with lease columns; ``columns`` are what a claim gives back."""

    def __init__(self, table: Table, columns: Sequence[str]) -> None:
        self._table = table
        self._columns = [table.c[name] for name in columns]
        c = table.c
        held = and_(
            c.id == bindparam("row_id"), c.lease_owner == bindparam("owner"), text("state = 'running'")
        )
        self.finish = Statement(
            update(table).where(held).values(state="done", lease_owner=None, lease_until=None),
            ("row_id", "owner"),
        )
        self.put_back = Statement(
            update(table)
            .where(held)
            .values(
                state=bindparam("new_state"),
                run_at=bindparam("new_run_at"),
                last_error=bindparam("error"),
                lease_owner=None,
                lease_until=None,
            ),
            ("row_id", "owner", "new_state", "new_run_at", "error"),
        )
        # Whoever gives a row back of its own will has survived it: nothing was attempted in vain.
        self.wait = Statement(
            update(table)
            .where(held)
            .values(
                state="ready",
                run_at=bindparam("new_run_at"),
                attempts=0,
                last_error=bindparam("error"),
                lease_owner=None,
                lease_until=None,
            ),
            ("row_id", "owner", "new_run_at", "error"),
        )

    def due(self, connection: Connection, *, kinds: Sequence[str], now_s: int) -> bool:
        """Whether something could be claimed now."""
        c = self._table.c
        free = or_(c.state == "ready", c.lease_until < now_s)
        query = (
            select(c.pk)
            .where(text("state IN ('ready', 'running')"), c.run_at <= now_s, c.kind.in_(kinds), free)
            .limit(1)
        )
        return connection.execute(query).first() is not None

    def claim(
        self,
        connection: Connection,
        *,
        kinds: Sequence[str],
        owner: str,
        now_s: int,
        lease_s: int,
        limit: int,
    ) -> list[Any]:
        """Take what is due, or whose lease ran out, in one statement, so that nobody else takes it too."""
        self._give_up(connection, kinds, now_s)
        c = self._table.c
        free = or_(
            and_(text("state IN ('ready', 'running')"), c.state == "ready"),
            and_(text("state IN ('ready', 'running')"), c.lease_until < now_s),
        )
        # SQLite knows no row locks and needs none: this transaction is its only writer.
        due = (
            select(c.pk)
            .where(c.kind.in_(kinds), c.run_at <= now_s, free)
            .order_by(c.run_at, c.pk)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        taken = (
            update(self._table)
            .where(c.pk.in_(due))
            .values(state="running", attempts=c.attempts + 1, lease_owner=owner, lease_until=now_s + lease_s)
            .returning(*self._columns)
        )
        return list(connection.execute(taken).all())

    def _give_up(self, connection: Connection, kinds: Sequence[str], now_s: int) -> None:
        """Close what its last worker did not survive, else it would kill one worker after the other."""
        c = self._table.c
        connection.execute(
            update(self._table)
            .where(
                text("state IN ('ready', 'running')"),
                c.kind.in_(kinds),
                c.state == "running",
                c.lease_until < now_s,
                c.attempts >= c.max_attempts,
            )
            .values(state="failed", lease_owner=None, lease_until=None, last_error="the worker was lost")
        )


def after_failure(attempts: int, max_attempts: int, now_s: int) -> tuple[str, int]:
    """The next state and time: again after 5 s, 10 s, 20 s ... an hour, or given up."""
    if attempts >= max_attempts:
        return "failed", now_s
    return "ready", now_s + min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2 ** (attempts - 1))


def error_text(error: str) -> str:
    return error[:_LAST_ERROR_CHARS]
