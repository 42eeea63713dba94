"""Engines for both databases. They are made after the fork, never before."""

from __future__ import annotations

import sqlite3

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.pool import NullPool

from gateway.errors import ConfigurationError
from gateway.store.statement import driver_of

BUSY_TIMEOUT_MS = 10_000
_POSTGRESQL_NAMES = frozenset({"postgresql", "postgres", "postgresql+psycopg"})


def open_engine(url: str) -> Engine:
    """The writing engine. Raises ConfigurationError for a URL that we cannot serve.

    On SQLite every transaction begins with BEGIN IMMEDIATE and COMMIT has reached the disk when it returns
    (WAL, synchronous=FULL).
    """
    address = database_address(url)
    if address.get_backend_name() == "postgresql":
        return _postgresql_engine(address, isolation_level="READ COMMITTED")
    engine = create_engine(address, poolclass=NullPool, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000})
    event.listen(engine, "connect", _prepare_sqlite_writer)
    event.listen(engine, "begin", _begin_immediate)
    return engine


def open_migration_engine(url: str) -> Engine:
    """As ``open_engine``, but a statement may take its time: a large table takes minutes to change."""
    address = database_address(url)
    if address.get_backend_name() == "postgresql":
        return _postgresql_engine(address, isolation_level="READ COMMITTED", bounded=False)
    return open_engine(url)


def open_read_engine(url: str) -> Engine:
    """The reading engine: every statement is a transaction of its own, and SQLite refuses writes on it."""
    address = database_address(url)
    if address.get_backend_name() == "postgresql":
        return _postgresql_engine(address, isolation_level="AUTOCOMMIT")
    engine = create_engine(
        address,
        poolclass=NullPool,
        connect_args={"timeout": BUSY_TIMEOUT_MS / 1000, "check_same_thread": False},
    )
    event.listen(engine, "connect", _prepare_sqlite_reader)
    return engine


def database_address(url: str) -> URL:
    """Parse ``sqlite:////absolute/path`` or ``postgresql://user@host/name``. Raises ConfigurationError."""
    try:
        address = make_url(url)
    except ArgumentError as exc:
        raise ConfigurationError(
            "the database URL cannot be read; sqlite:////path/to/file or postgresql://user@host/name"
        ) from exc
    if address.drivername in _POSTGRESQL_NAMES:
        return address.set(drivername="postgresql+psycopg")
    if address.drivername == "sqlite" and address.database and address.database != ":memory:":
        return address
    raise ConfigurationError(
        f"the database URL begins with {address.drivername!r} or names no file; "
        "sqlite:////path/to/file and postgresql://user@host/name are served"
    )


def _postgresql_engine(address: URL, isolation_level: str, *, bounded: bool = True) -> Engine:
    try:
        # Only where it is used: psycopg is an extra, and its dialect takes a tenth of a second to import.
        from gateway.store.postgresql import postgresql_engine

        return postgresql_engine(address, isolation_level, bounded=bounded)
    except (ImportError, NoSuchModuleError) as exc:
        raise ConfigurationError("PostgreSQL needs psycopg: pip install pkigate[postgresql]") from exc


def _prepare_sqlite_writer(dbapi_connection: sqlite3.Connection, _record: object) -> None:
    # The module's own BEGIN would come late and DEFERRED; ours is sent by the begin event.
    dbapi_connection.isolation_level = None
    # busy_timeout stands first (connect's timeout): two processes may switch to WAL at the same time.
    dbapi_connection.execute("PRAGMA journal_mode=WAL")
    dbapi_connection.execute("PRAGMA synchronous=FULL")
    dbapi_connection.execute("PRAGMA foreign_keys=ON")


def _prepare_sqlite_reader(dbapi_connection: sqlite3.Connection, _record: object) -> None:
    dbapi_connection.isolation_level = None
    # Never mapped: after every commit of the writer SQLite would map the file anew, which stops the threads
    # on all CPUs and takes a page fault for each page (first look-up after a commit: 72 us, without 40 us).
    dbapi_connection.execute("PRAGMA mmap_size=0")
    dbapi_connection.execute("PRAGMA query_only=ON")
    dbapi_connection.execute("PRAGMA foreign_keys=ON")


def _begin_immediate(connection: Connection) -> None:
    driver_of(connection).execute("BEGIN IMMEDIATE")
