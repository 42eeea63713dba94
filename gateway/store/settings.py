"""Single values that every replica shares."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, bindparam, select

from gateway.clock import to_epoch_s
from gateway.store.schema import SETTING
from gateway.store.statement import Statement
from gateway.store.unit import Unit
from gateway.store.upsert import insert_or_update


def put(unit: Unit, name: str, value: str, at: datetime) -> None:
    unit.move(_PUT, {"name": name, "value": value, "updated_at": to_epoch_s(at)})


def get(connection: Connection, name: str) -> str | None:
    row = _GET.first(connection, name=name)
    return None if row is None else str(row[0])


_PUT = insert_or_update(SETTING, "name", "SET value = excluded.value, updated_at = excluded.updated_at")
_GET = Statement(select(SETTING.c.value).where(SETTING.c.name == bindparam("name")), ("name",))
