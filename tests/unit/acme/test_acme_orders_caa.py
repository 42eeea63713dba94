"""CAA is looked at again before a certificate is issued (acme.md C85, E5)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from gateway.acme.tables import authorizations
from gateway.clock import to_epoch_s
from gateway.frontend import Unit
from gateway.outbound.network import Network, NetworkSettings
from gateway.store.store import Store
from tests.support import acme_policies
from tests.support.dns_server import DnsServer, dns_server
from tests.unit.acme.authorized import csr_for, finalize, ready_order, row_of
from tests.unit.acme.house import Client, House, SetClock, document, problem


@pytest.fixture
def dns() -> Iterator[DnsServer]:
    with dns_server() as served:
        yield served


@pytest_asyncio.fixture
async def checking(tmp_path: Path, store: Store, clock: SetClock, dns: DnsServer) -> AsyncIterator[House]:
    """A CA that answers to ``ca.example`` in CAA records."""
    house = House(
        tmp_path,
        store,
        clock,
        acme_policies.acme_endpoint("default", caa_identities=["ca.example"], caa_reuse="8h"),
        acme_policies.acme_policy("web-servers", "default", priority=10),
    )
    house.services.network = Network(NetworkSettings(resolvers=(dns.address,)))
    yield house
    await house.aclose()


async def looked_at(house: House, client: Client, order: dict[str, object], *, hours_ago: int) -> None:
    """Write down that validation looked at CAA then."""
    urls = order["authorizations"]
    assert isinstance(urls, list)
    for url in urls:
        row, unit = await row_of(house, client, url), Unit()
        seen = {"caa": {"checked_at": to_epoch_s(house.clock.now()) - hours_ago * 3600}}
        authorizations.change(unit, row, replace(row, evidence=seen))
        await house.services.records.commit(unit)


async def test_names_whose_caa_names_others_are_not_issued_and_the_order_stays_ready(
    checking: House, dns: DnsServer
) -> None:
    """acme.md C85, E5: each name is looked at"""
    client = await checking.client().registered()
    dns.put("a.test", "CAA", '0 issue "ca.example"')
    dns.put("b.test", "CAA", '0 issue "other.example"')
    dns.put("c.test", "CAA", '0 issue ";"')
    order = await ready_order(checking, client, "a.test", "b.test", "c.test")
    await looked_at(checking, client, order, hours_ago=9)
    csr_der = csr_for("a.test", "b.test", "c.test")
    answer = await finalize(client, order, csr_der)
    assert (problem(answer), answer.status) == ("caa", 403)
    found = [one["identifier"]["value"] for one in document(answer)["subproblems"]]
    assert found == ["b.test", "c.test"]
    assert document(await client.post(str(order["url"])))["status"] == "ready"
    for name in ("b.test", "c.test"):
        dns.put(name, "CAA", '0 issue "ca.example"')
    assert document(await finalize(client, order, csr_der))["status"] == "valid"


async def test_name_whose_caa_cannot_be_read_is_not_issued(checking: House, dns: DnsServer) -> None:
    """acme.md C85: SERVFAIL is a failure"""
    client = await checking.client().registered()
    dns.fail("a.test")
    order = await ready_order(checking, client, "a.test")
    assert problem(await finalize(client, order, csr_for("a.test"))) == "caa"


async def test_look_of_the_last_eight_hours_is_not_repeated(checking: House, dns: DnsServer) -> None:
    """acme.md C85"""
    client = await checking.client().registered()
    dns.put("a.test", "CAA", '0 issue "other.example"')
    order = await ready_order(checking, client, "a.test")
    await looked_at(checking, client, order, hours_ago=7)
    assert document(await finalize(client, order, csr_for("a.test")))["status"] == "valid"
    assert dns.times_asked("a.test", "CAA") == 0
