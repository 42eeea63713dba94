"""Gateways of the ACME wire tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.acme_client import AcmeClient
from tests.support.acme_lab import Lab, running_lab


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One gateway with an endpoint per rule, for every module that a test process runs."""
    with running_lab(tmp_path_factory.mktemp("acme")) as started:
        yield started


@pytest.fixture(scope="module")
def account(lab: Lab) -> AcmeClient:
    """An account at the default endpoint that several tests of a module use; none changes it."""
    return lab.account()
