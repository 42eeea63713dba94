"""Reads by key and by page, on connections of their own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import Connection, Engine

from gateway.store.faults import Fault, driver_errors, error_for, fault_of

T = TypeVar("T")
READ_THREADS = 4


class Reader:
    """Runs a query function on a kept connection: one per thread that reads.

    On SQLite it runs inline, since a lookup by key takes less than handing it to a thread would; on
    PostgreSQL in a few threads.
    """

    def __init__(self, engine: Engine, *, threads: int = READ_THREADS) -> None:
        self._engine = engine
        self._inline = engine.dialect.name == "sqlite"
        self._errors = driver_errors(engine)
        self._own = threading.local()
        self._lock = threading.Lock()
        self._connections: set[Connection] = set()
        self._pool = None if self._inline else ThreadPoolExecutor(threads, "pkigate-read")

    async def read(self, query: Callable[[Connection], T]) -> T:
        """Run ``query``. Raises StoreUnavailable where the database is out of reach."""
        if self._pool is None:
            return self.read_blocking(query)
        return await asyncio.get_running_loop().run_in_executor(self._pool, self.read_blocking, query)

    def read_blocking(self, query: Callable[[Connection], T]) -> T:
        """Run ``query`` in this thread. Raises StoreUnavailable."""
        try:
            return query(self._connection())
        except self._errors as exc:
            if fault_of(exc) not in {Fault.UNAVAILABLE, Fault.RETRY}:
                raise
            self._drop()
        # The server may have gone and come back since the last read; reading twice harms nobody.
        try:
            return query(self._connection())
        except self._errors as exc:
            fault = fault_of(exc)
            if fault not in {Fault.UNAVAILABLE, Fault.RETRY}:
                raise
            self._drop()
            raise error_for(fault, exc) from exc

    def close(self) -> None:
        """Close every connection. No read may be under way."""
        if self._pool is not None:
            self._pool.shutdown(wait=True)
        with self._lock:
            connections, self._connections = self._connections, set()
        for connection in connections:
            connection.close()

    def _connection(self) -> Connection:
        connection: Connection | None = getattr(self._own, "connection", None)
        if connection is None or connection.closed:
            connection = self._engine.connect()
            self._own.connection = connection
            with self._lock:
                self._connections.add(connection)
        return connection

    def _drop(self) -> None:
        connection: Connection | None = getattr(self._own, "connection", None)
        self._own.connection = None
        if connection is None:
            return
        with self._lock:
            self._connections.discard(connection)
        connection.invalidate()
        connection.close()
