"""A gateway whose API the tests of a module call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.api_lab import ApiLab, running_api_lab


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiLab]:
    """The gateway of a module, on SQLite."""
    with running_api_lab(tmp_path_factory.mktemp("api")) as lab:
        yield lab


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def either(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiLab]:
    """The gateway on either database; on PostgreSQL with two workers."""
    options: dict[str, Any] = {}
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql_server").new_database()
        options = {"database_url": url, "workers": 2}
    with running_api_lab(tmp_path_factory.mktemp(request.param), **options) as lab:
        yield lab
