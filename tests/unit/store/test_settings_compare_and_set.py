"""A setting is replaced only if it is still what was read, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.errors import Conflict
from gateway.store import settings
from gateway.store.migrate import migrate
from gateway.store.store import Store
from gateway.store.unit import Unit

NOW = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    url = f"sqlite:///{tmp_path / 'test.sqlite3'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql_server").new_database()
    migrate(url)
    with Store(url) as opened:
        yield opened


async def _replace(store: Store, before: str | None, value: str) -> str:
    """Commit one replacement; gives what stands there then."""
    unit = Unit()
    settings.replace(unit, "a", before, value, NOW)
    await store.recorder.commit(unit)
    found = await store.reader.read(lambda connection: settings.get(connection, "a"))
    assert found is not None
    return found


async def test_setting_is_set_once_and_replaced_by_who_read_it_last(store: Store) -> None:
    assert await _replace(store, None, "first") == "first"
    with pytest.raises(Conflict):
        await _replace(store, None, "second")
    assert await _replace(store, "first", "second") == "second"
    with pytest.raises(Conflict):
        await _replace(store, "first", "third")
    assert await store.reader.read(lambda connection: settings.get(connection, "a")) == "second"
    assert await store.reader.read(lambda connection: settings.get(connection, "b")) is None
