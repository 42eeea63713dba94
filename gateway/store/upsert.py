"""INSERT ... ON CONFLICT, which both databases know in the same words but SQLAlchemy only per database."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BindParameter, Table, bindparam, text

from gateway.store.statement import Statement


def insert_or_keep(table: Table, *, once: bool = False, rank: int = 10) -> Statement:
    """Insert a whole row, or leave the one that holds a unique key of it already."""
    names = _names(table)
    return Statement(
        text(f"{_insert(table, names)} ON CONFLICT DO NOTHING").bindparams(*_binds(table, names)),
        names,
        exact=False,
        rank=rank,
        once=once,
    )


def insert_or_update(table: Table, key: str, update: str, *, extra: tuple[str, ...] = ()) -> Statement:
    """Insert a whole row, or run ``update`` (the words after DO UPDATE) on the one with the same ``key``.

    ``update`` may name the new row's columns as ``excluded.NAME`` and further binds listed in ``extra``.
    """
    names = _names(table)
    clause = text(f"{_insert(table, names)} ON CONFLICT ({key}) DO UPDATE {update}")
    return Statement(clause.bindparams(*_binds(table, names)), (*names, *extra))


def _names(table: Table) -> list[str]:
    return [column.name for column in table.c if column.name != "pk"]


def _insert(table: Table, names: list[str]) -> str:
    places = ", ".join(f":{name}" for name in names)
    return f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({places})"  # noqa: S608  # our own names


def _binds(table: Table, names: list[str]) -> list[BindParameter[Any]]:
    return [bindparam(name, type_=table.c[name].type) for name in names]
