"""One gateway for a module, with a CMP endpoint per rule (``lab``)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.cmp_client import CmpClient
from tests.support.cmp_lab import CmpLab, cmp_lab


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CmpLab]:
    with cmp_lab(tmp_path_factory.mktemp("cmp")) as started:
        yield started


@pytest.fixture
def client(lab: CmpLab) -> CmpClient:
    """A client of the endpoint ``default`` with a shared secret."""
    return lab.client()
