"""A house of the SCEP front end for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from gateway.store.migrate import migrate
from gateway.store.store import Store
from tests.unit.enrolment.house import ForeignCa, SetClock
from tests.unit.scep.scep_house import ScepHouse


@pytest.fixture
def scep(tmp_path: Path) -> Iterator[Callable[..., ScepHouse]]:
    """Makes the house, with options of the endpoint ``default``; once in a test."""
    with ExitStack() as stack:

        def made(**options: Any) -> ScepHouse:
            url, clock = f"sqlite:///{tmp_path}/gateway.db", SetClock()
            migrate(url)
            store = stack.enter_context(Store(url, clock=clock))
            return ScepHouse(tmp_path, store, clock, ForeignCa(tmp_path / "foreign"), **options)

        yield made
