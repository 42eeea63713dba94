"""Statements that are compiled once per database and then run with positional values.

The text of a Core statement, handed to the driver's cursor, costs a quarter of running the statement through
SQLAlchemy (a status by key: 7 instead of 31 us), and a whole batch goes to the driver in one call. So errors
come from the driver itself; ``faults`` knows both kinds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Dialect, Executable, Table, bindparam, insert
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.sql.elements import ClauseElement

Column = int | str | bytes | None
Values = tuple[Column, ...]
Row = tuple[Any, ...]

INSERT_RANK = 10  # rows come before the statements that may touch them
STATEMENT_RANK = 100


@cache
def _dialect(name: str) -> Dialect:
    """PostgreSQL's dialect is imported where it is used: it takes a tenth of a second."""
    if name == "sqlite":
        return SQLiteDialect_pysqlite(paramstyle="qmark")
    from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

    return PGDialect_psycopg(paramstyle="format")  # type: ignore[no-untyped-call]  # SQLAlchemy's


class Statement:
    """A Core statement with named binds. ``names`` are its binds, in the order of ``bind``'s values.

    ``exact``: every set of values must change exactly one row, else the unit is in conflict. ``rank`` orders
    statements within a batch; ``once``: equal values of a batch are written once.
    """

    __slots__ = ("_compiled", "_pick", "clause", "exact", "names", "once", "rank")

    def __init__(
        self,
        clause: Executable,
        names: Sequence[str],
        *,
        exact: bool = True,
        rank: int = STATEMENT_RANK,
        once: bool = False,
    ) -> None:
        self.clause = clause
        self.names = tuple(names)
        self.exact = exact
        self.rank = rank
        self.once = once
        self._pick: Callable[[Mapping[str, Column]], Any] | None = (
            itemgetter(*self.names) if self.names else None
        )
        self._compiled: dict[str, tuple[str, Callable[[Values], Any] | None]] = {}

    def bind(self, values: Mapping[str, Column]) -> Values:
        """Order named values. Raises TypeError unless the names are exactly those of the statement."""
        if len(values) == len(self.names):
            if self._pick is None:
                return ()
            try:
                picked = self._pick(values)  # as many names, and every one of ours among them
            except KeyError:
                pass
            else:
                return picked if len(self.names) > 1 else (picked,)
        raise TypeError(f"wanted {sorted(self.names)}, got {sorted(values)}")

    def sql(self, dialect_name: str) -> tuple[str, Callable[[Values], Any] | None]:
        """The text for one database, and what brings ``bind``'s values into its order (None: no need)."""
        found = self._compiled.get(dialect_name)
        if found is None:
            found = self._compiled[dialect_name] = _compiled(self.clause, self.names, dialect_name)
        return found

    def run(self, connection: Connection, rows: Sequence[Values]) -> int:
        """Execute for one or many sets of values in one call of the driver; gives the rows that changed.

        Raises the driver's own errors.
        """
        text, order = self.sql(connection.dialect.name)
        ordered = rows if order is None else [order(row) for row in rows]
        cursor = driver_of(connection).cursor()
        try:
            if len(ordered) == 1:
                cursor.execute(text, ordered[0])
            else:
                cursor.executemany(text, ordered)
            changed: int = cursor.rowcount
        finally:
            cursor.close()
        return changed

    def all(self, connection: Connection, **values: Column) -> list[Row]:
        """Every row of a query. Raises the driver's own errors."""
        return self.rows(connection, self.bind(values))

    def rows(self, connection: Connection, bound: Values) -> list[Row]:
        """As ``all``, with values in the order of ``names``."""
        text, order = self.sql(connection.dialect.name)
        cursor = driver_of(connection).cursor()
        try:
            cursor.execute(text, bound if order is None else order(bound))
            rows: list[Row] = cursor.fetchall()
        finally:
            cursor.close()
        return rows

    def first(self, connection: Connection, **values: Column) -> Row | None:
        """The first row of a query, None where there is none. Raises the driver's own errors."""
        rows = self.all(connection, **values)
        return rows[0] if rows else None


def driver_of(connection: Connection) -> Any:
    """The driver's connection under SQLAlchemy's: sqlite3's or psycopg's."""
    return connection.connection.dbapi_connection


@cache
def insert_into(table: Table) -> Statement:
    """Insert one whole row; a generated ``pk`` is left to the database."""
    columns = [column for column in table.c if column.name != "pk" or column.autoincrement is False]
    values = {column.name: bindparam(column.name, type_=column.type) for column in columns}
    # inline: without it PostgreSQL's text ends in RETURNING, which executemany cannot have.
    return Statement(insert(table).values(values).inline(), list(values), rank=INSERT_RANK)


def _compiled(
    clause: Executable, names: tuple[str, ...], dialect_name: str
) -> tuple[str, Callable[[Values], Any] | None]:
    assert isinstance(clause, ClauseElement)
    compiled: Any = clause.compile(dialect=_dialect(dialect_name))
    wanted: list[str] = list(compiled.positiontup or ())
    # A constant of the clause (LIMIT 1, status <> 'good') is a bind with a value of its own.
    constants = [name for name in wanted if name not in names]
    values = tuple(compiled.params[name] for name in constants)
    places = [(*names, *constants).index(name) for name in wanted]
    if places == list(range(len(names))):
        return str(compiled), None
    if len(places) == 1:
        place = places[0]
        return str(compiled), lambda row: ((row + values)[place],)
    pick = itemgetter(*places)
    return str(compiled), lambda row: pick(row + values)
