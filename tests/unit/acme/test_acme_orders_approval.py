"""Orders that wait for people, and what is looked at again before they are issued (acme.md E14, B9)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from gateway.enrolment.approval import APPROVED_JOB, approve, reject
from gateway.model.outcome import State
from gateway.outbound.network import Network, NetworkSettings
from gateway.store import jobs
from gateway.store.store import Store
from tests.support import acme_policies
from tests.support.dns_server import DnsServer, dns_server
from tests.unit.acme.authorized import csr_for, finalize, ready_order
from tests.unit.acme.house import Client, House, SetClock, document, header, problem

RULE = {"required": 1, "expires": "30d", "retry_after": "5s"}


@pytest.fixture
def zone() -> Iterator[DnsServer]:
    with dns_server() as served:
        yield served


@pytest_asyncio.fixture
async def slow(tmp_path: Path, store: Store, clock: SetClock) -> AsyncIterator[House]:
    """A person approves every request."""
    documents = (
        acme_policies.acme_endpoint("default"),
        acme_policies.acme_policy("slow", "default", priority=10, approval=RULE),
    )
    house = House(tmp_path, store, clock, *documents)
    yield house
    await house.aclose()


async def waiting_order(house: House, client: Client) -> dict[str, object]:
    """An order that was finalized and waits."""
    order = await ready_order(house, client, "a.test")
    answer = await finalize(client, order, csr_for("a.test"))
    assert document(answer)["status"] == "processing"
    assert header(answer, "Retry-After") == "5"
    return order


async def request_of(house: House, order: dict[str, object]) -> str:
    order_id = str(order["url"]).rsplit("/", 1)[1]
    found = await house.services.records.read(
        lambda connection: connection.connection.dbapi_connection.execute(
            "SELECT id FROM request WHERE transaction_id = ? AND state = ?",
            (order_id, State.AWAITING_APPROVAL.value),
        ).fetchone()
    )
    return str(found[0])


async def approved(house: House, order: dict[str, object]) -> None:
    approve(house.store, await request_of(house, order), "cli:anna", clock=house.clock)


async def settled(client: Client, order: dict[str, object]) -> dict[str, object]:
    """The order once it is no longer processing."""
    for _ in range(3000):
        found: dict[str, object] = document(await client.post(str(order["url"])))
        if found["status"] != "processing":
            return found
        await asyncio.sleep(0.02)
    raise AssertionError("the order is still processing")


async def test_order_is_processing_until_a_person_approves_and_then_valid(slow: House) -> None:
    """acme.md C89, B9"""
    client = await slow.client().registered()
    order = await waiting_order(slow, client)
    polled = await client.post(str(order["url"]))
    assert document(polled)["status"] == "processing"
    assert header(polled, "Retry-After") == "5"
    assert problem(await finalize(client, order, csr_for("a.test"))) == "orderNotReady"
    await approved(slow, order)
    async with slow.at_work():
        found = await settled(client, order)
    assert found["status"] == "valid"
    assert "certificate" in found


async def test_rejected_order_is_invalid_and_tells_why(slow: House) -> None:
    """acme.md C89"""
    client = await slow.client().registered()
    order = await waiting_order(slow, client)
    reject(slow.store, await request_of(slow, order), "cli:anna", "not today", clock=slow.clock)
    found = await settled(client, order)
    assert found["status"] == "invalid"
    error = found["error"]
    assert isinstance(error, dict)
    assert "refused" in error["detail"]
    assert "not today" not in error["detail"]


@pytest.mark.parametrize("change", ["authorization", "account", "expiry"])
async def test_approved_order_that_no_longer_stands_is_not_issued(slow: House, change: str) -> None:
    """acme.md E14: re-checked at issue"""
    client = await slow.client().registered()
    order = await waiting_order(slow, client)
    request_id = await request_of(slow, order)
    match change:
        case "authorization":
            (url,) = order["authorizations"]  # type: ignore[misc]  # a list
            assert (await client.post(url, {"status": "deactivated"})).status == 200
        case "account":
            assert (await client.post(str(client.kid), {"status": "deactivated"})).status == 200
        case _:
            slow.clock.advance(days=8)
    approve(slow.store, request_id, "cli:anna", clock=slow.clock)
    async with slow.at_work():
        state = await _closed(slow, request_id)
    assert state == State.REFUSED.value
    counted = await slow.services.records.read(
        lambda connection: connection.connection.dbapi_connection.execute(
            "SELECT count(*) FROM certificate"
        ).fetchone()
    )
    assert counted == (0,)


@pytest_asyncio.fixture
async def checking(tmp_path: Path, store: Store, clock: SetClock, zone: DnsServer) -> AsyncIterator[House]:
    """As ``slow``, for a CA that looks at CAA records."""
    house = House(
        tmp_path,
        store,
        clock,
        acme_policies.acme_endpoint("default", caa_identities=["ca.example"]),
        acme_policies.acme_policy("slow", "default", priority=10, approval=RULE),
    )
    house.services.network = Network(NetworkSettings(resolvers=(zone.address,)))
    yield house
    await house.aclose()


async def test_approved_order_whose_caa_cannot_be_read_waits_until_it_can(
    checking: House, zone: DnsServer
) -> None:
    """acme.md C85, E14: a resolver that is away refuses nothing"""
    client = await checking.client().registered()
    order = await waiting_order(checking, client)
    zone.fail("a.test")
    await approved(checking, order)
    async with checking.at_work():
        async with asyncio.timeout(60):
            while "SERVFAIL" not in (error := await _job_error(checking)):
                await asyncio.sleep(0.02)
        assert error.startswith("RetryLater")
        assert document(await client.post(str(order["url"])))["status"] == "processing"
        del zone.behaviours["a.test"]
        checking.clock.advance(seconds=30)
        checking.runner.wake()
        assert (await settled(client, order))["status"] == "valid"


async def test_approved_order_whose_caa_forbids_it_is_refused(checking: House, zone: DnsServer) -> None:
    """acme.md C85, E14"""
    client = await checking.client().registered()
    order = await waiting_order(checking, client)
    zone.put("a.test", "CAA", '0 issue "other.example"')
    await approved(checking, order)
    async with checking.at_work():
        found = await settled(client, order)
    assert found["status"] == "invalid"
    assert "other.example" in str(found["error"])


async def _job_error(house: House) -> str:
    found = await house.store.reader.read(lambda connection: jobs.search(connection, kind=APPROVED_JOB))
    return str(found[0].last_error)


async def _closed(house: House, request_id: str) -> str:
    for _ in range(3000):
        (state,) = await house.services.records.read(
            lambda connection: connection.connection.dbapi_connection.execute(
                "SELECT state FROM request WHERE id = ?", (request_id,)
            ).fetchone()
        )
        if state not in (State.AWAITING_APPROVAL.value, State.SUBMITTING.value):
            return str(state)
        await asyncio.sleep(0.02)
    raise AssertionError("nobody took it up")
