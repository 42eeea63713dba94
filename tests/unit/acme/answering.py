"""Challenges of a house: made by a new order, answered, and waited for."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from gateway.acme.tables.authorizations import PENDING, PROCESSING, AuthorizationRow
from gateway.acme.validation import VALIDATE_JOB
from gateway.outbound.network import Network, NetworkSettings
from gateway.store import jobs
from gateway.store.store import Store
from tests.support import acme_policies
from tests.unit.acme.authorized import row_of
from tests.unit.acme.house import LAB_SUFFIXES, Client, House, SetClock, document

POLL_S = 0.005
KIND = VALIDATE_JOB
ONE_FAILURE = {"failed_validations": {"count": 1, "per": "1h"}}


def looking_house(directory: Path, store: Store, clock: SetClock, **ports: int) -> House:
    """Endpoints that look once (default), that look twice (again), and that allow one failure an hour
    (limited)."""
    return House(
        directory,
        store,
        clock,
        acme_policies.acme_endpoint("default", validation_attempts=1),
        acme_policies.acme_policy("once", "default", priority=10),
        acme_policies.acme_endpoint("again", validation_attempts=2),
        acme_policies.acme_policy("again", "again", priority=20),
        acme_policies.acme_endpoint("limited", validation_attempts=1, limits=ONE_FAILURE),
        acme_policies.acme_policy("limited", "limited", priority=30),
        **ports,
    )


async def http_challenge(
    house: House, name: str = "a.test", endpoint: str = "default", kind: str = "dns"
) -> tuple[Client, str, dict[str, Any]]:
    """A client of its own, its new authorization's URL, and the http-01 challenge in it."""
    client = await house.client(endpoint).registered()
    url = await authorization_url(client, name, kind)
    return client, url, await challenge_of(client, url, "http-01")


async def waiting_jobs(house: House) -> list[jobs.Job]:
    """Validations that a job would do."""
    found = await house.store.reader.read(lambda connection: jobs.search(connection, kind=KIND))
    return [one for one in found if one.state in ("ready", "running")]


async def authorization_url(client: Client, name: str, kind: str = "dns") -> str:
    """The one authorization of a new order."""
    answer = await client.post("/new-order", {"identifiers": [{"type": kind, "value": name}]})
    assert answer.status == 201, answer.body
    url: str = document(answer)["authorizations"][0]
    return url


async def challenge_of(client: Client, url: str, type_: str) -> dict[str, Any]:
    """The challenge of this type in an authorization."""
    found = document(await client.post(url))["challenges"]
    return next(one for one in found if one["type"] == type_)


async def settled(house: House, client: Client, url: str, timeout_s: float = 60) -> AuthorizationRow:
    """The authorization's row, once there is a result."""
    async with asyncio.timeout(timeout_s):
        while (row := await row_of(house, client, url)).status in (PENDING, PROCESSING):
            await asyncio.sleep(POLL_S)
    return row


def look_out(house: House, **changes: Any) -> None:
    """Give the house another way out: ports, resolvers, whether loopback is allowed."""
    settings: dict[str, Any] = {
        "resolvers": (),
        "http_port": 1,
        "tls_port": 1,
        "allow_loopback": True,
        "loopback_suffixes": LAB_SUFFIXES,
    }
    house.services.network = Network(NetworkSettings(**(settings | changes)))
