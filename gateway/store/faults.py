"""What a database error means: repeat the batch, blame the unit, or wait until the database is back."""

from __future__ import annotations

import sqlite3
from enum import Enum, auto

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from gateway.errors import Conflict, GatewayError, StoreUnavailable


class Fault(Enum):
    """CONFLICT and STATEMENT are a unit's own; RETRY passes at once; UNAVAILABLE concerns everybody."""

    CONFLICT = auto()
    STATEMENT = auto()
    RETRY = auto()
    UNAVAILABLE = auto()


# Serialization failure and deadlock (PostgreSQL appendix A, class 40).
_RETRY_STATES = frozenset({"40001", "40P01"})
# Connection, resources (disk full 53100), operator intervention, system error, invalid authorization; then
# read-only transaction, lock timeout, idle transaction ended.
_UNAVAILABLE_CLASSES = frozenset({"08", "53", "57", "58", "28"})
_UNAVAILABLE_STATES = frozenset({"25006", "55P03", "25P03", "3D000"})

_SQLITE_UNAVAILABLE = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_PERM,
    }
)


def fault_of(error: Exception) -> Fault:
    """Classify an error of SQLAlchemy, of a driver or of binding values."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return Fault.UNAVAILABLE
    if isinstance(cause, sqlite3.Error):
        return _sqlite_fault(cause)
    if cause is not None and hasattr(cause, "sqlstate"):
        return _postgresql_fault(cause, cause.sqlstate)
    # A value that the driver cannot bind (too large an integer, a lone surrogate) is the unit's own fault.
    return Fault.STATEMENT


def _sqlite_fault(cause: sqlite3.Error) -> Fault:
    code = getattr(cause, "sqlite_errorcode", None)
    if code is None:
        return Fault.STATEMENT
    primary = code & 0xFF
    if primary == sqlite3.SQLITE_CONSTRAINT:
        return Fault.CONFLICT
    return Fault.UNAVAILABLE if primary in _SQLITE_UNAVAILABLE else Fault.STATEMENT


def _postgresql_fault(cause: BaseException, sqlstate: str | None) -> Fault:
    if sqlstate is None:
        # psycopg gives no state where the connection itself failed; its DataError is a value it cannot send.
        names = {kind.__name__ for kind in type(cause).__mro__}
        return Fault.UNAVAILABLE if names & {"OperationalError", "InterfaceError"} else Fault.STATEMENT
    if sqlstate in _RETRY_STATES:
        return Fault.RETRY
    if sqlstate[:2] in _UNAVAILABLE_CLASSES or sqlstate in _UNAVAILABLE_STATES:
        return Fault.UNAVAILABLE
    return Fault.CONFLICT if sqlstate[:2] == "23" else Fault.STATEMENT


def driver_errors(engine: Engine) -> tuple[type[Exception], ...]:
    """What a database may raise: SQLAlchemy's wrapped errors and the driver's own."""
    own: type[Exception] = engine.dialect.loaded_dbapi.Error
    return (DBAPIError, own)


def error_for(fault: Fault, error: Exception) -> GatewayError:
    """The error of our tree that callers of the store see."""
    detail = f"{type(error).__name__}: {error}"[:500]
    match fault:
        case Fault.CONFLICT:
            return Conflict("somebody else was first", detail=detail)
        case Fault.STATEMENT:
            return GatewayError("this could not be recorded", detail=detail)
        case Fault.RETRY | Fault.UNAVAILABLE:
            # The driver's own words are for people; SQLAlchemy's add the statement and the address of a page.
            cause = getattr(error, "orig", None) or error
            said = " ".join(str(cause).split())[:500] or type(cause).__name__
            return StoreUnavailable("the database is out of reach, read-only or full", detail=said)
