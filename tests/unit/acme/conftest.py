"""A house of ACME for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from gateway.store.migrate import migrate
from gateway.store.store import Store
from tests.unit.acme.house import House, SetClock


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def store(tmp_path: Path, clock: SetClock) -> Iterator[Store]:
    """A migrated database."""
    url = f"sqlite:///{tmp_path}/gateway.db"
    migrate(url)
    with Store(url, clock=clock) as opened:
        yield opened


@pytest_asyncio.fixture
async def house(tmp_path: Path, store: Store, clock: SetClock) -> AsyncIterator[House]:
    """The endpoint ``default`` and an account key at hand."""
    opened = House(tmp_path, store, clock)
    yield opened
    await opened.aclose()
