"""Rows by many keys in one query, with statements that are compiled once per size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Column, Connection, Select, bindparam

from gateway.store.statement import Row, Statement

LARGEST = 256  # keys of one query; more take several


class ByKeys:
    """``query`` narrowed to rows whose ``key`` is one of many; ``names`` are the query's own binds."""

    def __init__(self, query: Select[Any], key: Column[Any], names: Sequence[str] = ()) -> None:
        self._query = query
        self._key = key
        self._names = tuple(names)
        self._statements: dict[int, Statement] = {}

    def all(self, connection: Connection, keys: Sequence[str], values: Mapping[str, str | int]) -> list[Row]:
        """The rows that are there, in no order. Raises the driver's own errors."""
        found: list[Row] = []
        for start in range(0, len(keys), LARGEST):
            some = keys[start : start + LARGEST]
            size = _size(len(some))
            # The last key fills up: a repeat finds nothing more.
            padding = [some[-1]] * (size - len(some))
            bound = (*(values[name] for name in self._names), *some, *padding)
            found += self._statement(size).rows(connection, bound)
        return found

    def _statement(self, size: int) -> Statement:
        found = self._statements.get(size)
        if found is None:
            names = tuple(f"key_{place}" for place in range(size))
            binds = [bindparam(name, type_=self._key.type) for name in names]
            clause = self._query.where(self._key.in_(binds))
            found = self._statements[size] = Statement(clause, (*self._names, *names))
        return found


def _size(count: int) -> int:
    """The next power of two: nine statements serve every number of keys."""
    return 1 << (count - 1).bit_length()
