"""Engines for both databases. They are made after the fork, never before."""

from __future__ import annotations

import sqlite3
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.pool import NullPool

from gateway.errors import ConfigurationError
from gateway.store.statement import driver_of

BUSY_TIMEOUT_MS = 10_000
LOCK_TIMEOUT_MS = 10_000
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


def _postgresql_engine(address: URL, isolation_level: Any) -> Engine:
    try:
        engine = create_engine(
            address,
            poolclass=NullPool,
            isolation_level=isolation_level,
            connect_args={
                "connect_timeout": 5,
                "application_name": "pkigate",
                "keepalives_idle": 10,
                "keepalives_interval": 5,
                "keepalives_count": 3,
                # A stopped gateway must not hold the audit head, and with it every other gateway, for ever.
                "options": f"-c lock_timeout={LOCK_TIMEOUT_MS} -c idle_in_transaction_session_timeout=30000",
            },
        )
    except (ImportError, NoSuchModuleError) as exc:
        raise ConfigurationError("PostgreSQL needs psycopg: pip install pkigate[postgresql]") from exc
    return engine


def _prepare_sqlite_writer(dbapi_connection: sqlite3.Connection, _record: object) -> None:
    # The module's own BEGIN would come late and DEFERRED; ours is sent by the begin event.
    dbapi_connection.isolation_level = None
    # busy_timeout stands first (connect's timeout): two processes may switch to WAL at the same time.
    dbapi_connection.execute("PRAGMA journal_mode=WAL")
    dbapi_connection.execute("PRAGMA synchronous=FULL")
    dbapi_connection.execute("PRAGMA foreign_keys=ON")


def _prepare_sqlite_reader(dbapi_connection: sqlite3.Connection, _record: object) -> None:
    dbapi_connection.isolation_level = None
    dbapi_connection.execute("PRAGMA query_only=ON")
    dbapi_connection.execute("PRAGMA foreign_keys=ON")


def _begin_immediate(connection: Connection) -> None:
    driver_of(connection).execute("BEGIN IMMEDIATE")
