"""Names that an external account stands in for: no challenge, but policy still decides (acme.md B4)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from gateway.authn.sealing import seal
from gateway.model.evidence import ACME_EAB
from gateway.model.ids import new_id
from gateway.store import credentials
from gateway.store.credentials import CredentialRow
from gateway.store.store import Store
from gateway.store.unit import Unit
from tests.support import acme_policies, acme_signing
from tests.unit.acme.authorized import csr_for, finalize, settle
from tests.unit.acme.house import SERVER_KEY, Client, House, SetClock, document, header, problem

HMAC_KEY = b"m" * 32


@pytest_asyncio.fixture
async def bound(tmp_path: Path, store: Store, clock: SetClock) -> AsyncIterator[House]:
    """``default`` asks for challenges, ``trusting`` for none; both bind accounts."""
    house = House(
        tmp_path,
        store,
        clock,
        acme_policies.acme_endpoint("default", eab="new-accounts"),
        acme_policies.acme_policy("proving", "default", priority=10),
        acme_policies.acme_endpoint("trusting", eab="always"),
        acme_policies.acme_policy("trusting", "trusting", priority=20, challenges=()),
    )
    yield house
    await house.aclose()


async def bound_client(house: House, endpoint: str, prevalidated: tuple[str, ...] | None) -> Client:
    """An account that is bound to a new external one."""
    credential_id, unit = new_id(), Unit()
    credentials.insert(
        unit,
        CredentialRow(
            id=credential_id,
            kind=ACME_EAB,
            name="kid-1",
            created_at=house.clock.now(),
            protocol="acme",
            sealed=seal(SERVER_KEY, credential_id, HMAC_KEY),
            prevalidated=prevalidated,
        ),
    )
    await house.store.recorder.commit(unit)
    client = house.client(endpoint)
    url = client.url("/new-account")
    binding = acme_signing.external_binding("kid-1", acme_signing.b64u(HMAC_KEY), client.key, url)
    return await client.registered(externalAccountBinding=binding)


async def test_prevalidated_names_are_valid_at_once_and_others_need_a_challenge(bound: House) -> None:
    client = await bound_client(bound, "default", ("a.test",))
    answer = await client.new_order(["a.test", "www.a.test", "b.test"])
    order = document(answer)
    found = [document(await client.post(url)) for url in order["authorizations"]]
    assert [one["status"] for one in found] == ["valid", "valid", "pending"]
    assert found[0]["challenges"] == []
    assert order["status"] == "pending"
    await settle(bound, client, order["authorizations"])
    done = await finalize(client, order, csr_for("a.test", "www.a.test", "b.test"))
    assert document(done)["status"] == "valid", done.body


async def test_prevalidated_authorization_serves_further_orders(bound: House) -> None:
    client = await bound_client(bound, "default", ("a.test",))
    orders = [document(await client.new_order(["a.test"])) for _ in range(2)]
    assert [order["status"] for order in orders] == ["ready", "ready"]
    assert orders[0]["authorizations"] == orders[1]["authorizations"]


async def test_order_at_an_endpoint_without_challenges_is_ready_at_once(bound: House) -> None:
    client = await bound_client(bound, "trusting", None)
    order = document(await client.new_order(["a.test", "*.b.test"]))
    assert order["status"] == "ready"
    done = await finalize(client, order, csr_for("a.test", "*.b.test"))
    assert document(done)["status"] == "valid", done.body


async def test_name_that_policy_does_not_allow_stays_refused_whatever_stands_in(bound: House) -> None:
    client = await bound_client(bound, "trusting", ("a.org",))
    assert problem(await client.new_order(["a.org"])) == "rejectedIdentifier"


async def test_revoked_external_account_ends_orders_and_finalizations(bound: House) -> None:
    """acme.md B15"""
    client = await bound_client(bound, "trusting", None)
    answer = await client.new_order(["a.test"])
    unit = Unit()
    row = await bound.services.records.read(lambda one: credentials.by_name(one, ACME_EAB, "kid-1"))
    assert row is not None
    credentials.revoke(unit, row.id, bound.clock.now())
    await bound.store.recorder.commit(unit)
    refused = await finalize(client, document(answer), csr_for("a.test"))
    assert (problem(refused), refused.status) == ("unauthorized", 403)
    assert problem(await client.new_order(["a.test"])) == "unauthorized"
    assert document(await client.post(str(header(answer, "Location"))))["status"] == "ready"
