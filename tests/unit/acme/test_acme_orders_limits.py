"""Rate limits of orders (acme.md C96, E11)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from gateway.acme import limits
from gateway.acme.errors import AcmeError
from gateway.acme.identifiers import from_text
from gateway.acme.options import Limit, Limits
from gateway.frontend import Unit
from gateway.model.ids import EndpointName
from gateway.store.store import Store
from tests.support import acme_policies, acme_signing
from tests.unit.acme import doors
from tests.unit.acme.authorized import csr_for
from tests.unit.acme.house import Client, House, SetClock, document, header, problem

HERE = EndpointName("default")
NONE = {
    "accounts_per_address": None,
    "orders_per_account": None,
    "orders_per_name": None,
    "failed_validations": None,
}


@pytest_asyncio.fixture
async def limited(tmp_path: Path, store: Store, clock: SetClock) -> AsyncIterator[House]:
    """Endpoints with one limit each: two in an hour."""
    two = {"count": 2, "per": "1h"}
    documents = []
    for priority, name in enumerate(
        ("orders_per_account", "orders_per_name", "orders_per_registered_domain")
    ):
        endpoint = name.replace("_", "-")
        documents += [
            acme_policies.acme_endpoint(endpoint, limits=NONE | {name: two}),
            acme_policies.acme_policy(endpoint, endpoint, priority=priority),
        ]
    house = House(tmp_path, store, clock, *documents)
    yield house
    await house.aclose()


@pytest.mark.parametrize(
    ("endpoint", "names", "other"),
    [
        ("orders-per-account", ["a.test", "b.test", "c.test"], None),
        ("orders-per-name", ["a.test", "a.test", "a.test"], "b.test"),
        ("orders-per-registered-domain", ["a.b.test", "b.test", "c.d.b.test"], "b.example"),
    ],
)
async def test_order_beyond_the_limit_is_told_when_to_come_again(
    limited: House, endpoint: str, names: list[str], other: str | None
) -> None:
    """acme.md C96"""
    client = await limited.client(endpoint).registered()
    for name in names[:2]:
        assert (await client.new_order([name])).status == 201
    refused = await client.new_order([names[2]])
    assert (problem(refused), refused.status) == ("rateLimited", 429)
    wait_s = int(header(refused, "Retry-After") or "0")
    assert wait_s == 1800
    if other is not None:
        assert (await client.new_order([other])).status == 201
    limited.clock.advance(seconds=wait_s - 1)
    assert problem(await client.new_order([names[2]])) == "rateLimited"
    limited.clock.advance(seconds=1)
    assert (await client.new_order([names[2]])).status == 201


@pytest.mark.parametrize("endpoint", ["orders-per-account", "orders-per-name"])
async def test_of_orders_that_come_at_once_as_many_are_made_as_are_allowed(
    limited: House, endpoint: str
) -> None:
    """acme.md C96: two in an hour, thirty at once; the others are told when to come again."""
    client = await limited.client(endpoint).registered()
    clients = [Client(limited, endpoint, client.key, client.kid) for _ in range(30)]
    answers = await asyncio.gather(*(one.new_order(["a.test"]) for one in clients))
    assert sorted(answer.status for answer in answers) == [201] * 2 + [429] * 28
    refused = next(answer for answer in answers if answer.status == 429)
    assert (problem(refused), header(refused, "Retry-After")) == ("rateLimited", "1800")


async def test_too_many_is_told_and_logged_but_not_recorded(limited: House) -> None:
    """acme.md C96, E11: whoever comes too often fills no table."""
    client = await limited.client("orders-per-account").registered()
    answers = [await client.new_order(["a.test"]) for _ in range(4)]
    assert [answer.status for answer in answers] == [201, 201, 429, 429]
    order = document(answers[0])
    early = await client.post(order["finalize"], {"csr": acme_signing.b64u(csr_for("a.test"))})
    assert problem(early) == "orderNotReady"
    missing = await limited.client("orders-per-account").post("/new-account", {"onlyReturnExisting": True})
    assert problem(missing) == "accountDoesNotExist"
    assert await recorded_requests(limited) == 0


async def test_too_many_unanswered_authorizations_are_not_recorded_either(house: House) -> None:
    """acme.md C96, E11"""
    doors.change_options(house, "default", limits={"pending_authorizations": 1})
    client = await house.client().registered()
    answers = [await client.new_order([name]) for name in ("a.test", "b.test")]
    assert [answer.status for answer in answers] == [201, 429]
    assert await recorded_requests(house) == 0


async def recorded_requests(house: House) -> int:
    return await house.store.reader.read(
        lambda connection: int(connection.exec_driver_sql("SELECT count(*) FROM request").scalar_one())
    )


async def test_limit_of_one_account_does_not_bind_another(limited: House) -> None:
    """acme.md C96"""
    for _ in range(2):
        client = await limited.client("orders-per-account").registered()
        for _ in range(2):
            assert (await client.new_order(["a.test"])).status == 201


async def test_refused_order_takes_nothing_off_the_allowance(limited: House) -> None:
    """acme.md C96"""
    client = await limited.client("orders-per-account").registered()
    for _ in range(3):
        assert problem(await client.new_order(["a.org"])) == "rejectedIdentifier"
    assert (await client.new_order(["a.test"])).status == 201


async def test_problem_names_the_limit(limited: House) -> None:
    """acme.md C96"""
    client = await limited.client("orders-per-name").registered()
    for _ in range(2):
        await client.new_order(["*.a.test"])
    detail = document(await client.new_order(["*.a.test"]))["detail"]
    assert "new orders for *.a.test" in detail
    assert "2 " in detail


async def spend(house: House, uses: tuple[limits.Use, ...]) -> None:
    unit = Unit()
    limits.charge(unit, uses, house.clock.now())
    await house.services.records.commit(unit)


async def test_whole_allowance_may_be_spent_at_once_and_grows_evenly(house: House) -> None:
    """acme.md C96"""
    allowed = Limits(failed_validations=Limit(count=4, per=timedelta(seconds=60)))
    uses = limits.failed_validation_uses(allowed, HERE, "account", "dns:a.test")
    for _ in range(4):
        await limits.check(house.services, uses)
        await spend(house, uses)
    with pytest.raises(AcmeError) as caught:
        await limits.check(house.services, uses)
    assert dict(caught.value.headers)["Retry-After"] == "15"
    house.clock.advance(seconds=15)
    await limits.check(house.services, uses)
    await spend(house, uses)
    with pytest.raises(AcmeError):
        await limits.check(house.services, uses)


async def test_spent_allowances_are_forgotten_once_they_are_whole(house: House) -> None:
    allowed = Limits(failed_validations=Limit(count=1, per=timedelta(hours=1)))
    uses = limits.failed_validation_uses(allowed, HERE, "account", "dns:a.test")
    await spend(house, uses)

    async def rows() -> int:
        counted = await house.services.records.read(
            lambda connection: connection.connection.dbapi_connection.execute(
                "SELECT count(*) FROM acme_limit"
            ).fetchone()
        )
        return int(counted[0])

    await limits.prune(house.services)
    assert await rows() == 1
    house.clock.advance(hours=1, minutes=2)
    await limits.prune(house.services)
    assert await rows() == 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
    ],
)
def test_new_accounts_are_counted_by_address_and_of_ipv6_by_its_site(
    one: str, other: str, *, same: bool
) -> None:
    """acme.md C96"""
    (first,), (second,) = (limits.account_uses(Limits(), HERE, address) for address in (one, other))
    assert (first.key == second.key) is same


def test_name_that_stands_twice_in_a_domain_is_counted_once() -> None:
    allowed = Limits(**{**NONE, "orders_per_registered_domain": Limit(count=1, per=timedelta(hours=1))})
    names = [from_text(f"dns:{name}") for name in ("a.b.test", "b.test", "*.b.test")]
    uses = limits.order_uses(allowed, HERE, "account", [*names, from_text("ip:127.0.0.1")])
    assert [use.what for use in uses] == ["new orders for names of b.test"]


def test_limit_of_one_endpoint_is_not_that_of_another() -> None:
    keys = {
        use.key
        for endpoint in ("default", "other")
        for use in limits.order_uses(Limits(), EndpointName(endpoint), "account", [from_text("dns:a.test")])
    }
    assert len(keys) == 4
