"""A house of the CMP front end for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from gateway.store.migrate import migrate
from gateway.store.store import Store
from tests.unit.cmp.cmp_house import CmpHouse
from tests.unit.enrolment.house import ForeignCa, SetClock


@pytest.fixture
def cmp(tmp_path: Path) -> Iterator[Callable[..., CmpHouse]]:
    """Makes the house, with options of the endpoint ``default``; once in a test."""
    with ExitStack() as stack:

        def made(**options: Any) -> CmpHouse:
            url, clock = f"sqlite:///{tmp_path}/gateway.db", SetClock()
            migrate(url)
            store = stack.enter_context(Store(url, clock=clock))
            return CmpHouse(tmp_path, store, clock, ForeignCa(tmp_path / "foreign"), **options)

        yield made
