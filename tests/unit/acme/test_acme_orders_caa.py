"""CAA is looked at again before a certificate is issued (acme.md C85, E5)."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import dns.message as dns_message
import pytest
import pytest_asyncio

from gateway.acme import caa
from gateway.acme.tables import authorizations
from gateway.clock import to_epoch_s
from gateway.frontend import Unit
from gateway.outbound.network import Network, NetworkSettings
from gateway.store.store import Store
from tests.support import acme_policies
from tests.support.dns_server import DnsServer, dns_server, refusing
from tests.unit.acme.authorized import csr_for, finalize, ready_order, row_of
from tests.unit.acme.house import Client, House, SetClock, document, header, problem


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


async def test_name_whose_caa_cannot_be_read_now_is_not_issued_now(checking: House, dns: DnsServer) -> None:
    """acme.md C85, C97: SERVFAIL is a failure, and one that passes"""
    client = await checking.client().registered()
    dns.fail("a.test")
    order = await ready_order(checking, client, "a.test")
    csr_der = csr_for("a.test")
    answer = await finalize(client, order, csr_der)
    assert (problem(answer), answer.status) == ("serverInternal", 503)
    assert int(header(answer, "Retry-After") or "0") > 0
    assert "SERVFAIL" in document(answer)["detail"]
    del dns.behaviours["a.test"]
    assert document(await finalize(client, order, csr_der))["status"] == "valid"


async def test_prohibition_beside_a_fault_that_passes_refuses_its_own_name(
    checking: House, dns: DnsServer
) -> None:
    """acme.md C85"""
    client = await checking.client().registered()
    dns.fail("a.test")
    dns.put("b.test", "CAA", '0 issue ";"')
    order = await ready_order(checking, client, "a.test", "b.test")
    answer = await finalize(client, order, csr_for("a.test", "b.test"))
    assert (problem(answer), answer.status) == ("caa", 403)
    assert [one["identifier"]["value"] for one in document(answer)["subproblems"]] == ["b.test"]


async def test_all_names_of_an_order_share_one_deadline(
    checking: House, dns: DnsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """acme.md E11: sixty names whose servers are silent hold a finalization no longer than one"""
    monkeypatch.setattr(caa, "RECHECK_S", 2.0)
    client = await checking.client().registered()
    names = [f"n{number}.test" for number in range(60)]
    for name in names:
        dns.silence(name)
    order = await ready_order(checking, client, *names)
    csr_der, began = csr_for(*names), time.monotonic()
    answer = await finalize(client, order, csr_der)
    assert answer.status == 503
    assert time.monotonic() - began < 14  # eight at once, one after the other: 15 s


@pytest.mark.parametrize(("what", "status"), [("authorization", 403), ("account", 401)])
async def test_what_is_deactivated_while_caa_is_looked_up_is_not_issued(
    checking: House, dns: DnsServer, what: str, status: int
) -> None:
    """acme.md E14: judged again after the pause"""
    client = await checking.client().registered()
    other = replace(client, nonce=None)
    asked, go_on = threading.Event(), threading.Event()

    def slow(query: dns_message.Message) -> dns_message.Message:
        asked.set()
        go_on.wait(60)
        return refusing(query, "NOERROR")

    order = await ready_order(checking, client, "a.test")
    (url,) = order["authorizations"]  # type: ignore[misc]  # a list
    dns.behaviours["a.test"] = slow
    finalizing = asyncio.create_task(finalize(client, order, csr_for("a.test")))
    await asyncio.to_thread(asked.wait, 60)
    target = url if what == "authorization" else str(client.kid)
    assert (await other.post(target, {"status": "deactivated"})).status == 200
    go_on.set()
    answer = await finalizing
    assert answer.status == status, answer.body
    counted = await checking.services.records.read(
        lambda connection: connection.exec_driver_sql("SELECT count(*) FROM certificate").scalar()
    )
    assert counted == 0


async def test_look_of_the_last_eight_hours_is_not_repeated(checking: House, dns: DnsServer) -> None:
    """acme.md C85"""
    client = await checking.client().registered()
    dns.put("a.test", "CAA", '0 issue "other.example"')
    order = await ready_order(checking, client, "a.test")
    await looked_at(checking, client, order, hours_ago=7)
    assert document(await finalize(client, order, csr_for("a.test")))["status"] == "valid"
    assert dns.times_asked("a.test", "CAA") == 0
