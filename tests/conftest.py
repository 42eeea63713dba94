"""Fixtures of the tests that drive the real gateway."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support import gateway as gateways
from tests.support.est_client import EstClient
from tests.support.gateway import Gateway

DATABASES = ("sqlite", "postgresql")

# How long an example takes says nothing about the code on a machine that has other work too.
settings.register_profile("no-clock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no-clock")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One gateway on SQLite with the default policies, shared by a module."""
    with gateways.running(tmp_path_factory.mktemp("gateway")) as started:
        yield started


@pytest.fixture
def client(gateway: Gateway) -> EstClient:
    """A client of the module's gateway with the demo user's credentials."""
    return gateway.est_client()


@pytest.fixture
def start_gateway(tmp_path: Path) -> Iterator[Callable[..., Gateway]]:
    """Start gateways of this test's own; every one is stopped at its end."""
    with ExitStack() as stack:

        def start(name: str = "gateway", **options: Any) -> Gateway:
            return stack.enter_context(gateways.running(tmp_path / name, **options))

        yield start


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Any]:
    """A private PostgreSQL cluster, started once."""
    from tests.support.postgresql import PostgresqlServer  # only where a test asks for it

    server = PostgresqlServer()
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest) -> str | None:
    """None for the gateway's own SQLite file, else a new PostgreSQL database."""
    if request.param == "sqlite":
        return None
    url: str = request.getfixturevalue("postgresql_server").new_database()
    return url
