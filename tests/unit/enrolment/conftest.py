"""A house of the one path for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.store.migrate import migrate
from gateway.store.store import Store
from tests.unit.enrolment.house import ForeignCa, House, SetClock
from tests.unit.enrolment.orders import OrderHouse
from tests.unit.enrolment.transactions import TransactionHouse


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def foreign(tmp_path: Path) -> ForeignCa:
    return ForeignCa(tmp_path / "foreign")


@pytest.fixture
def house(tmp_path: Path, clock: SetClock, foreign: ForeignCa) -> Iterator[House]:
    """Migrated database, two CAs and the service; its jobs run when a test lets them."""
    url = f"sqlite:///{tmp_path}/gateway.db"
    migrate(url)
    with Store(url, clock=clock) as store:
        yield House(tmp_path, store, clock, foreign)


@pytest.fixture(params=["sqlite", "postgresql"])
def each_database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a migrated database, of one kind after the other."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/gateway.db"
    else:
        url = request.getfixturevalue("postgresql_server").new_database()
    migrate(url)
    return url


@pytest.fixture
def order_house(
    each_database: str, tmp_path: Path, clock: SetClock, foreign: ForeignCa
) -> Iterator[OrderHouse]:
    """As ``house``, on each kind of database, with endpoints for ACME's orders."""
    with Store(each_database, clock=clock) as store:
        yield OrderHouse(tmp_path, store, clock, foreign)


@pytest.fixture
def transactions(
    each_database: str, tmp_path: Path, clock: SetClock, foreign: ForeignCa
) -> Iterator[TransactionHouse]:
    """As ``house``, on each kind of database, with endpoints for transactions and confirmation."""
    with Store(each_database, clock=clock) as store:
        yield TransactionHouse(tmp_path, store, clock, foreign)
