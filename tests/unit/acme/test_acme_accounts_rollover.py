"""Account key rollover (RFC 8555 section 7.3.5)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gateway.store.store import Store
from tests.support import acme_signing, pki
from tests.unit.acme import doors
from tests.unit.acme.house import BASE, Client, House, SetClock, document, header, problem

URL = f"{BASE}/acme/key-change"


@pytest_asyncio.fixture
async def house(tmp_path: Path, store: Store, clock: SetClock) -> AsyncIterator[House]:
    opened = doors.opened(tmp_path, store, clock)
    yield opened
    await opened.aclose()


def _inner(client: Client, new_key: pki.PrivateKey, **more: Any) -> dict[str, str]:
    return acme_signing.key_change_payload(client.key, new_key, str(client.kid), URL, **more)


@pytest.mark.parametrize("kind", ["P-256", "P-384", "RSA-2048", "Ed25519"])
async def test_new_key_takes_over(house: House, kind: str) -> None:
    """acme.md C55, C57"""
    client = await house.client().registered(contact=["mailto:a@x.test"])
    old_key, new_key = client.key, pki.key(kind)
    answer = await client.post("/key-change", _inner(client, new_key))
    assert (answer.status, header(answer, "Location")) == (200, client.kid)
    assert document(answer)["contact"] == ["mailto:a@x.test"]
    assert (await client.post(str(client.kid), None)).status == 400, "the old key is the account's no more"
    client.key = new_key
    assert (await client.post(str(client.kid), None)).status == 200
    assert header(await client.post("/new-account", {}, by_key=True), "Location") == client.kid
    back = house.client(key=old_key)
    assert problem(await back.post("/new-account", {"onlyReturnExisting": True})) == "accountDoesNotExist"


@pytest.mark.parametrize(
    "changes",
    [
        {"url": f"{BASE}/acme/new-order"},
        {"url": None},
        {"nonce": "AAAA"},
        {"jwk": None, "kid": "x"},
        {"jwk": None},
        {"alg": "RS256"},
        {"alg": "HS256"},
        {"b64": False},
    ],
)
async def test_bad_inner_header_is_refused(house: House, changes: dict[str, object]) -> None:
    """acme.md C55"""
    client = await house.client().registered()
    inner = acme_signing.key_change_payload(client.key, pki.key(), str(client.kid), URL)
    if changes:
        new_key = pki.key()
        header_ = acme_signing.protected_header(new_key, URL, None, None, changes)
        asked = {"account": client.kid, "oldKey": acme_signing.jwk_of(client.key)}
        inner = acme_signing.signed(new_key, header_, asked, "ES256")
    answer = await client.post("/key-change", inner)
    assert answer.status == 400
    assert problem(answer) in {"malformed", "badSignatureAlgorithm"}
    assert (await client.post(str(client.kid), None)).status == 200, "the old key is still the account's"


async def test_inner_signature_by_another_key_is_malformed(house: House) -> None:
    """acme.md C55: whoever asks must have the new key."""
    client = await house.client().registered()
    answer = await client.post("/key-change", _inner(client, pki.key(), signer=pki.key()))
    assert (answer.status, problem(answer)) == (400, "malformed")


@pytest.mark.parametrize(
    "members",
    [
        {"account": f"{BASE}/acme/account/0000"},
        {"account": None},
        {"oldKey": None},
        {"oldKey": {}},
        {"oldKey": "x"},
        {"oldKey": "another"},
    ],
)
async def test_bad_inner_payload_is_refused(house: House, members: dict[str, object]) -> None:
    """acme.md C55"""
    client = await house.client().registered()
    asked: dict[str, object] = {"account": client.kid, "oldKey": acme_signing.jwk_of(client.key)}
    if members.get("oldKey") == "another":
        members = {"oldKey": acme_signing.jwk_of(pki.key())}
    asked |= members
    payload = {name: value for name, value in asked.items() if value is not None}
    answer = await client.post("/key-change", _inner(client, pki.key(), payload=payload))
    assert answer.status == 400
    assert (await client.post(str(client.kid), None)).status == 200


async def test_old_key_is_compared_by_thumbprint(house: House) -> None:
    client = await house.client().registered()
    old_key = dict(reversed(acme_signing.jwk_of(client.key).items()))
    payload = {"account": client.kid, "oldKey": old_key}
    assert (await client.post("/key-change", _inner(client, pki.key(), payload=payload))).status == 200


async def test_key_of_another_account_is_409_with_its_location(house: House) -> None:
    """acme.md C56"""
    client, other = await house.client().registered(), await house.client().registered()
    answer = await client.post("/key-change", _inner(client, other.key))
    assert (answer.status, header(answer, "Location")) == (409, other.kid)
    assert document(answer)["status"] == 409
    same = await client.post("/key-change", _inner(client, client.key))
    assert (same.status, header(same, "Location")) == (409, client.kid)


async def test_two_accounts_that_change_to_one_key_at_once_get_it_once(house: House) -> None:
    """acme.md C56, E13"""
    clients = [await house.client().registered() for _ in range(6)]
    new_key = pki.key()
    for client in clients:
        client.nonce = await client.new_nonce()
    answers = await asyncio.gather(
        *(client.post("/key-change", _inner(client, new_key)) for client in clients)
    )
    assert sorted(answer.status for answer in answers) == [200] + [409] * 5


async def test_weak_new_key_is_refused(house: House) -> None:
    """acme.md C25, C55"""
    client = await house.client().registered()
    answer = await client.post("/key-change", _inner(client, pki.key("RSA-1024")))
    assert (answer.status, problem(answer)) == (400, "badPublicKey")


async def test_compromised_new_key_is_refused(house: House) -> None:
    """acme.md C94"""
    client = await house.client().registered()
    new_key = pki.key()
    await doors.compromise(house.store, house.clock, new_key)
    answer = await client.post("/key-change", _inner(client, new_key))
    assert (answer.status, problem(answer)) == (400, "badPublicKey")


async def test_binding_stays_with_the_account(house: House) -> None:
    mac_key = await doors.mac_key(house.store, house.clock, uses=1)
    client = house.client("bound")
    await client.registered(externalAccountBinding=mac_key.binding(client))
    new_key, url = pki.key(), f"{client.root}/key-change"
    inner = acme_signing.key_change_payload(client.key, new_key, str(client.kid), url)
    answer = await client.post("/key-change", inner)
    assert answer.status == 200
    client.key = new_key
    assert "externalAccountBinding" in document(await client.post(str(client.kid), None))


async def test_request_that_is_no_inner_jws_is_malformed(house: House) -> None:
    client = await house.client().registered()
    payloads: tuple[object, ...] = (None, {}, [], {"protected": "", "payload": "", "signature": ""})
    for payload in payloads:
        answer = await client.post("/key-change", payload)
        assert (answer.status, problem(answer)) == (400, "malformed")
