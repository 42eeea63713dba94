"""What a gateway says at its start of its own certificates that end soon (scep.md C50)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.composition.readiness import warn_at_start
from gateway.store.migrate import migrate
from tests.unit.composition import identity_house
from tests.unit.composition.identity_house import Brought, House, endpoint

_YEARS = 365.25


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    url = f"sqlite:///{tmp_path / 'test.sqlite3'}"
    migrate(url)
    with identity_house.house(tmp_path / "one", url) as opened:
        yield opened


async def _said(house: House, log: pytest.LogCaptureFixture) -> list[str]:
    log.clear()
    with log.at_level(logging.WARNING):
        await warn_at_start(house.identities.components(), house.backends)
    return [record.getMessage() for record in log.records]


async def test_nothing_is_said_while_all_is_far_from_its_end(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    await house.identities.prepare()
    assert await _said(house, caplog) == []


async def test_identity_that_ends_soon_is_named_with_what_to_do(
    house: House, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    house.use(endpoint(identity=Brought().write(tmp_path)))
    await house.identities.prepare()
    house.clock.advance(days=61)
    (said,) = await _said(house, caplog)
    assert said.startswith("start.identity scep/default: degraded: it ends on ")
    assert "name a new one under `identity`" in said


async def test_ca_certificates_that_end_soon_are_named(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    """The issuing CAs live ten years; from ninety days before their end."""
    house.clock.advance(days=10 * _YEARS - 120)
    await house.identities.prepare()
    assert await _said(house, caplog) == []
    house.clock.advance(days=60)
    (said,) = await _said(house, caplog)
    assert said.startswith("start.ca embedded: degraded: ")
    assert "issuing: expires on " in said
    assert "scep: expires on " in said
