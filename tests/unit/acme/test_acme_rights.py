"""What an account may take from others: nothing (acme.md B4, C54, C56, C70, C92, C96, E2, E3)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from gateway.authn.sealing import seal
from gateway.model.ids import new_id
from gateway.store import credentials, requests
from gateway.store.credentials import CredentialRow
from gateway.store.store import Store
from gateway.store.unit import Unit
from tests.support import acme_policies, acme_signing, pki
from tests.unit.acme.house import SERVER_KEY, Client, House, SetClock, document, problem
from tests.unit.acme.ordered import ordered

HMAC_KEY = b"m" * 32


@pytest_asyncio.fixture
async def rights(tmp_path: Path, store: Store, clock: SetClock) -> AsyncIterator[House]:
    """``default``: two orders a day for a name. ``bound``: external accounts stand in for every challenge."""
    limits = {"orders_per_name": {"count": 2, "per": "1d"}}
    opened = House(
        tmp_path,
        store,
        clock,
        acme_policies.acme_endpoint("default", limits=limits),
        acme_policies.acme_policy("plain", "default", priority=10),
        acme_policies.acme_endpoint("bound", eab="always"),
        acme_policies.acme_policy("bound", "bound", priority=20, challenges=()),
    )
    yield opened
    await opened.aclose()


async def _bound(house: House, key_identifier: str) -> Client:
    credential_id, unit = new_id(), Unit()
    row = CredentialRow(
        id=credential_id,
        kind="acme-eab",
        name=key_identifier,
        created_at=house.clock.now(),
        protocol="acme",
        sealed=seal(SERVER_KEY, credential_id, HMAC_KEY),
    )
    credentials.insert(unit, row)
    await house.store.recorder.commit(unit)
    client = house.client("bound")
    return await client.registered(externalAccountBinding=_binding(client, key_identifier))


def _binding(client: Client, key_identifier: str) -> dict[str, str]:
    key = acme_signing.b64u(HMAC_KEY)
    return acme_signing.external_binding(key_identifier, key, client.key, client.url("/new-account"))


async def test_orders_of_one_account_spend_nothing_of_what_others_need(rights: House) -> None:
    """acme.md C96: whoever orders a name has not proven it."""
    one, other = await rights.client().registered(), await rights.client().registered()
    for _ in range(2):
        assert (await one.new_order(["victim.test"])).status == 201
    assert problem(await one.new_order(["victim.test"])) == "rateLimited"
    assert (await other.new_order(["victim.test"])).status == 201


async def test_key_that_was_changed_opens_no_account_again(rights: House) -> None:
    """acme.md C54, C57: a thief of the old key cannot use the binding that was made for it."""
    client = await _bound(rights, "kid-1")
    old_key, binding = client.key, _binding(client, "kid-1")
    url = client.url("/key-change")
    payload = acme_signing.key_change_payload(old_key, pki.key(), str(client.kid), url)
    assert (await client.post("/key-change", payload)).status == 200
    thief = rights.client("bound")
    thief.key = old_key
    answer = await thief.post(
        "/new-account", {"termsOfServiceAgreed": True, "externalAccountBinding": binding}, by_key=True
    )
    assert problem(answer) == "badPublicKey"
    other = await _bound(rights, "kid-2")
    back = acme_signing.key_change_payload(other.key, old_key, str(other.kid), other.url("/key-change"))
    assert problem(await other.post("/key-change", back)) == "badPublicKey"


async def test_key_of_a_certificate_opens_no_account(rights: House) -> None:
    """acme.md E10; RFC 8555 section 11.1"""
    client = await rights.client().registered()
    certificate = await ordered(rights, client, "a.test")
    other = rights.client()
    other.key = certificate.key
    answer = await other.post("/new-account", {"termsOfServiceAgreed": True}, by_key=True)
    assert problem(answer) == "badPublicKey"


async def test_names_that_an_external_account_stands_for_give_no_right_to_revoke(rights: House) -> None:
    """acme.md C92: an authorization that nobody proved says nothing against another account."""
    owner, other = await _bound(rights, "kid-1"), await _bound(rights, "kid-2")
    certificate = await ordered(rights, owner, "victim.test")
    assert document(await other.new_order(["victim.test"]))["status"] == "ready"
    answer = await other.post("/revoke-cert", {"certificate": certificate.b64u})
    assert (answer.status, problem(answer)) == (403, "unauthorized")
    assert (await owner.post("/revoke-cert", {"certificate": certificate.b64u})).status == 200


async def test_orders_share_no_unanswered_authorization_where_policy_allows_no_reuse(rights: House) -> None:
    """acme.md C70: one proof would count for all of them."""
    client = await rights.client().registered()
    first = document(await client.new_order(["a.test"]))
    second = document(await client.new_order(["a.test"]))
    assert set(first["authorizations"]).isdisjoint(second["authorizations"])


async def test_record_of_a_refused_order_tells_whose_it_was_and_which_names(rights: House) -> None:
    """acme.md B15: for the operator who is asked why."""
    client = await rights.client().registered()
    answer = await client.new_order(["a.test", "a.forbidden.invalid"])
    assert problem(answer) == "rejectedIdentifier"
    page = await rights.store.reader.read(requests.search)
    (row,) = page.rows
    assert row.identity == f"acme:{str(client.kid).rpartition('/')[2]}"
    assert row.sans == ("dns:a.forbidden.invalid",)
