"""One batch of units in one transaction: set-wise first, unit by unit if somebody in it is to blame."""

from __future__ import annotations

import copy
import random
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import InvalidRequestError

from gateway.clock import Clock, to_epoch_s
from gateway.errors import Conflict, GatewayError, StoreUnavailable
from gateway.store import audit
from gateway.store.faults import Fault, driver_errors, error_for, fault_of
from gateway.store.statement import Statement, Values, driver_of
from gateway.store.unit import Unit

T = TypeVar("T")
Verdict = GatewayError | None
_ATTEMPTS = 6
_IDLE, _IN_TRANSACTION, _IN_ERROR = 0, 2, 3  # libpq's PQTRANS_IDLE, _INTRANS and _INERROR
# What binding a value raises besides the driver's own errors: a lone surrogate, too large an integer.
_BINDING_ERRORS = (ValueError, OverflowError, TypeError)


@dataclass(slots=True)
class BatchCounts:
    """What was done since the start; read by metrics and tests."""

    transactions: int = 0
    statements: int = 0
    units: int = 0
    replays: int = 0
    failures: int = 0


class _UnitToBlameError(Exception):
    """A statement failed or hit other than the expected rows, so the batch must be taken apart."""


class _TransactionGoneError(Exception):
    """The database ended the transaction by itself; a COMMIT would report success for nothing."""


class BatchWriter:
    """Owns the writing connection. Used by one thread only."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._database_errors = driver_errors(engine)
        self._statement_errors: tuple[type[Exception], ...] = (*self._database_errors, *_BINDING_ERRORS)
        self._unit_errors: tuple[type[Exception], ...] = (_UnitToBlameError, *self._statement_errors)
        self._roll_back_errors: tuple[type[Exception], ...] = (*self._database_errors, InvalidRequestError)
        self._kept: Connection | None = None
        self.counts = BatchCounts()

    def write(self, units: Sequence[Unit]) -> list[Verdict]:
        """Record units; one verdict for each, None where it is durable. Never raises for the database."""
        try:
            try:
                verdicts = self._committed(lambda connection: self._write_set(connection, units))
            except _UnitToBlameError:
                self.counts.replays += 1
                verdicts = self._committed(lambda connection: self._write_each(connection, units))
        except GatewayError as exc:
            self.counts.failures += 1
            # Each caller raises its own, so that tracebacks do not grow into each other.
            return [copy.copy(exc) for _ in units]
        self.counts.units += sum(verdict is None for verdict in verdicts)
        return verdicts

    def run(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in a transaction of its own. Raises Conflict, StoreUnavailable or GatewayError."""
        return self._committed(work)

    def close(self) -> None:
        connection, self._kept = self._kept, None
        if connection is not None:
            connection.close()

    def _committed(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` and COMMIT; repeat what passes by itself while nothing can be recorded."""
        reconnected = False
        for attempt in range(_ATTEMPTS):
            was_connected = self._kept is not None
            try:
                return self._transaction(work)
            except _TransactionGoneError as exc:
                self._drop()
                raise error_for(Fault.UNAVAILABLE, exc) from exc
            except self._statement_errors as exc:
                fault = fault_of(exc)
                if fault is Fault.RETRY:
                    time.sleep(random.uniform(0, 0.005 * 2**attempt))  # noqa: S311  # not a secret
                    continue
                if fault is not Fault.UNAVAILABLE:
                    raise error_for(fault, exc) from exc
                lost = was_connected and (self._kept is None or _is_lost(self._kept))
                self._drop()
                if not lost or reconnected:
                    raise error_for(fault, exc) from exc
                # The server went away while we were idle. COMMIT was not sent, so nothing is in doubt.
                reconnected = True
        raise StoreUnavailable("the database is too busy")

    def _transaction(self, work: Callable[[Connection], T]) -> T:
        connection = self._connection()
        self.counts.transactions += 1
        transaction = connection.begin()
        try:
            result = work(connection)
            if not _is_open(connection):
                raise _TransactionGoneError("the transaction ended before COMMIT")
        except BaseException:
            self._roll_back(connection)
            raise
        try:
            transaction.commit()
        except self._database_errors as exc:
            fault = fault_of(exc)
            self._drop()
            if fault is Fault.RETRY:
                raise
            # Whether the server recorded the batch is not known; asking again finds out.
            raise error_for(Fault.UNAVAILABLE, exc) from exc
        return result

    def _write_set(self, connection: Connection, units: Sequence[Unit]) -> list[Verdict]:
        head = audit.lock_head(connection)
        try:
            for statement, rows in _grouped(units):
                self._run(connection, statement, rows)
            events = [event for unit in units for event in unit.events]
            if events:
                audit.move_head(connection, audit.append(connection, head, events, self._now_s()))
        except self._statement_errors as exc:
            if fault_of(exc) in {Fault.CONFLICT, Fault.STATEMENT} and _is_known_open(connection):
                raise _UnitToBlameError from exc
            raise
        return [None] * len(units)

    def _write_each(self, connection: Connection, units: Sequence[Unit]) -> list[Verdict]:
        start = head = audit.lock_head(connection)
        verdicts: list[Verdict] = []
        for unit in units:
            savepoint = connection.begin_nested()
            try:
                # In the order of a set, so that it makes no difference how a batch is written.
                for statement, values in sorted(unit.operations, key=_rank):
                    self._run(connection, statement, (values,))
                next_head = audit.append(connection, head, unit.events, self._now_s())
                savepoint.commit()
                head = next_head
                verdicts.append(None)
            except self._unit_errors as exc:
                if isinstance(exc, _UnitToBlameError):
                    verdict: Verdict = Conflict("somebody else was first", detail=str(exc))
                else:
                    fault = fault_of(exc)
                    if fault in {Fault.RETRY, Fault.UNAVAILABLE}:
                        raise
                    verdict = error_for(fault, exc)
                if not _is_known_open(connection):
                    raise _TransactionGoneError("the transaction ended after an error") from exc
                savepoint.rollback()
                verdicts.append(verdict)
        if head != start:
            audit.move_head(connection, head)
        return verdicts

    def _roll_back(self, connection: Connection) -> None:
        try:
            connection.rollback()
        except self._roll_back_errors:
            # The connection is lost, or SQLite has rolled back already; the first error is what counts.
            self._drop()

    def _run(self, connection: Connection, statement: Statement, rows: Sequence[Values]) -> None:
        self.counts.statements += 1
        changed = statement.run(connection, rows)
        if statement.exact and changed != len(rows):
            raise _UnitToBlameError(f"{changed} rows of {len(rows)} were as expected")

    def _now_s(self) -> int:
        return to_epoch_s(self._clock.now())

    def _connection(self) -> Connection:
        if self._kept is None or self._kept.closed or self._kept.invalidated:
            self._drop()
            self._kept = self._engine.connect()
        return self._kept

    def _drop(self) -> None:
        connection, self._kept = self._kept, None
        if connection is not None:
            if not connection.invalidated and not connection.closed:
                connection.invalidate()
            connection.close()


def _grouped(units: Sequence[Unit]) -> list[tuple[Statement, Sequence[Values]]]:
    """The operations of all units by statement, rows before the statements that touch them."""
    groups: dict[Statement, list[Values]] = {}
    for unit in units:
        for statement, values in unit.operations:
            found = groups.get(statement)
            if found is None:
                groups[statement] = [values]
            elif not (statement.once and values in found):
                found.append(values)
    return sorted(groups.items(), key=_rank)


def _rank(operation: tuple[Statement, object]) -> int:
    return operation[0].rank


def _is_open(connection: Connection) -> bool:
    """Whether a COMMIT would commit: SQLITE_FULL ends a transaction silently, PostgreSQL spoils it."""
    driver = driver_of(connection)
    if isinstance(driver, sqlite3.Connection):
        return driver.in_transaction
    return bool(driver.info.transaction_status in {_IDLE, _IN_TRANSACTION})  # idle: nothing was sent yet


def _is_known_open(connection: Connection) -> bool:
    """Whether the transaction goes on after an error: on PostgreSQL a rollback to a savepoint mends it."""
    if connection.invalidated:
        return False
    driver = driver_of(connection)
    if isinstance(driver, sqlite3.Connection):
        return driver.in_transaction
    return bool(driver.info.transaction_status in {_IN_TRANSACTION, _IN_ERROR})


def _is_lost(connection: Connection) -> bool:
    """Whether the server has ended the session; SQLite has none that could end."""
    return connection.invalidated or bool(getattr(driver_of(connection), "closed", False))
