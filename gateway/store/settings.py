"""Single values that every replica shares."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, bindparam, select, update

from gateway.clock import to_epoch_s
from gateway.store.schema import SETTING
from gateway.store.statement import Statement
from gateway.store.unit import Unit
from gateway.store.upsert import insert_or_update


def put(unit: Unit, name: str, value: str, at: datetime) -> None:
    unit.move(_PUT, {"name": name, "value": value, "updated_at": to_epoch_s(at)})


def replace(unit: Unit, name: str, before: str | None, value: str, at: datetime) -> None:
    """Set it if it is still ``before`` (None: not there yet), else commit raises Conflict."""
    at_s = to_epoch_s(at)
    if before is None:
        unit.insert(SETTING, {"name": name, "value": value, "updated_at": at_s})
    else:
        unit.move(
            _REPLACE,
            {"setting_name": name, "before": before, "new_value": value, "new_updated_at": at_s},
        )


def get(connection: Connection, name: str) -> str | None:
    row = _GET.first(connection, name=name)
    return None if row is None else str(row[0])


_PUT = insert_or_update(SETTING, "name", "SET value = excluded.value, updated_at = excluded.updated_at")
_REPLACE = Statement(
    update(SETTING)
    .where(SETTING.c.name == bindparam("setting_name"), SETTING.c.value == bindparam("before"))
    .values(value=bindparam("new_value"), updated_at=bindparam("new_updated_at")),
    ("setting_name", "before", "new_value", "new_updated_at"),
)
_GET = Statement(select(SETTING.c.value).where(SETTING.c.name == bindparam("name")), ("name",))
