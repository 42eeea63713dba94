"""External account bindings (RFC 8555 section 7.3.4)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gateway.store import credentials
from gateway.store.store import Store
from gateway.store.unit import Unit
from tests.support import acme_signing, pki
from tests.unit.acme import doors
from tests.unit.acme.house import BASE, Client, House, SetClock, document, header, problem


@pytest_asyncio.fixture
async def house(tmp_path: Path, store: Store, clock: SetClock) -> AsyncIterator[House]:
    opened = doors.opened(tmp_path, store, clock)
    yield opened
    await opened.aclose()


async def _open(client: Client, binding: object = None, **members: object) -> Any:
    sent = members if binding is None else {"externalAccountBinding": binding, **members}
    return await client.post("/new-account", sent, by_key=True)


async def _mac_key(house: House, **more: Any) -> doors.MacKey:
    return await doors.mac_key(house.store, house.clock, **more)


async def _uses_left(house: House, name: str) -> int | None:
    row = await house.store.reader.read(lambda connection: credentials.by_name(connection, "acme-eab", name))
    assert row is not None
    return row.uses_left


@pytest.mark.parametrize("endpoint", ["new-only", "bound"])
async def test_account_without_binding_is_refused_where_one_is_needed(house: House, endpoint: str) -> None:
    """acme.md C53"""
    answer = await _open(house.client(endpoint))
    assert (answer.status, problem(answer)) == (403, "externalAccountRequired")


@pytest.mark.parametrize("endpoint", ["default", "new-only", "bound"])
@pytest.mark.parametrize("alg", ["HS256", "HS384", "HS512"])
async def test_account_is_bound(house: House, endpoint: str, alg: str) -> None:
    """acme.md C54: each MAC algorithm; where no binding is needed it is taken if offered."""
    mac_key = await _mac_key(house)
    client = house.client(endpoint)
    binding = mac_key.binding(client, alg=alg)
    answer = await _open(client, binding)
    assert (answer.status, document(answer)["externalAccountBinding"]) == (201, binding)
    client.kid = header(answer, "Location")
    assert (await client.post(str(client.kid), None)).status == 200


async def test_existing_account_is_found_without_its_binding(house: House) -> None:
    """acme.md C44: cert-manager looks itself up without one."""
    mac_key = await _mac_key(house, uses=1)
    client = house.client("bound")
    await _open(client, mac_key.binding(client))
    for binding in (None, mac_key.binding(client)):
        answer = await _open(client, binding)
        assert answer.status == 200
    assert (await _open(client, onlyReturnExisting=True)).status == 200


async def test_binding_is_taken_as_often_as_it_may_be_used(house: House) -> None:
    """acme.md C54, E3"""
    mac_key = await _mac_key(house, uses=2)
    clients = [house.client("bound") for _ in range(3)]
    answers = [await _open(client, mac_key.binding(client)) for client in clients]
    assert [answer.status for answer in answers] == [201, 201, 403]
    assert problem(answers[2]) == "unauthorized"
    assert "used up" in document(answers[2])["detail"]


async def test_last_use_taken_by_ten_at_once_binds_one(house: House) -> None:
    """acme.md E3, E13"""
    mac_key = await _mac_key(house, uses=1)
    clients = [house.client("bound") for _ in range(10)]
    for client in clients:
        client.nonce = await client.new_nonce()
    answers = await asyncio.gather(*(_open(client, mac_key.binding(client)) for client in clients))
    assert sorted(answer.status for answer in answers) == [201] + [403] * 9
    assert {problem(answer) for answer in answers if answer.status == 403} == {"unauthorized"}
    assert await _uses_left(house, mac_key.name) == 0


async def test_binding_for_another_endpoint_is_unauthorized(house: House) -> None:
    """acme.md C54, E3"""
    mac_key = await _mac_key(house, endpoints=["new-only"])
    client = house.client("bound")
    answer = await _open(client, mac_key.binding(client))
    assert (answer.status, problem(answer)) == (403, "unauthorized")
    client = house.client("new-only")
    assert (await _open(client, mac_key.binding(client))).status == 201


@pytest.mark.parametrize(
    ("changes", "status", "type_"),
    [
        ({"url": f"{BASE}/acme/new-account"}, 400, "malformed"),
        ({"url": None}, 400, "malformed"),
        ({"kid": "nobody"}, 403, "unauthorized"),
        ({"kid": None}, 400, "malformed"),
        ({"alg": "ES256"}, 400, "malformed"),
        ({"alg": "none"}, 400, "malformed"),
        ({"nonce": "AAAA"}, 400, "malformed"),
        ({"crit": ["exp"]}, 400, "malformed"),
    ],
)
async def test_bad_header_of_a_binding_is_refused(
    house: House, changes: dict[str, object], status: int, type_: str
) -> None:
    """acme.md C54"""
    mac_key = await _mac_key(house)
    client = house.client("bound")
    answer = await _open(client, mac_key.binding(client, **changes))
    assert (answer.status, problem(answer)) == (status, type_)


async def test_binding_with_a_wrong_mac_is_unauthorized(house: House) -> None:
    """acme.md C54"""
    mac_key = await _mac_key(house)
    client = house.client("bound")
    binding = mac_key.binding(client) | {"signature": acme_signing.b64u(b"x" * 32)}
    answer = await _open(client, binding)
    assert (answer.status, problem(answer)) == (403, "unauthorized")


async def test_binding_of_another_account_key_is_malformed(house: House) -> None:
    """acme.md C54: somebody else's binding does not fit this key."""
    mac_key = await _mac_key(house, uses=1)
    client = house.client("bound")
    answer = await _open(client, mac_key.binding(house.client("bound")))
    assert (answer.status, problem(answer)) == (400, "malformed")
    assert await _uses_left(house, mac_key.name) == 1


async def test_key_in_the_binding_is_compared_by_thumbprint_not_by_bytes(house: House) -> None:
    """acme.md C54"""
    mac_key = await _mac_key(house)
    client = house.client("bound")
    reordered = dict(reversed(acme_signing.jwk_of(client.key).items())) | {"use": "sig"}
    binding = acme_signing.external_binding(
        mac_key.name,
        acme_signing.b64u(mac_key.hmac_key),
        client.key,
        f"{client.root}/new-account",
        payload=reordered,
    )
    assert (await _open(client, binding)).status == 201


@pytest.mark.parametrize("payload", [b"", b"{}", b"[]", b"\xff", {"kty": "oct", "k": "AAAA"}])
async def test_binding_over_no_key_is_refused_with_400(house: House, payload: object) -> None:
    """acme.md C54: never 500"""
    mac_key = await _mac_key(house)
    client = house.client("bound")
    binding = acme_signing.external_binding(
        mac_key.name,
        acme_signing.b64u(mac_key.hmac_key),
        client.key,
        f"{client.root}/new-account",
        payload=payload,
    )
    assert (await _open(client, binding)).status == 400


async def test_unbound_account_gets_its_binding_by_new_account(house: House) -> None:
    """An endpoint that begins to demand bindings leaves its accounts a way."""
    doors.change_options(house, "bound", eab="none")
    client = await house.client("bound").registered()
    doors.change_options(house, "bound", eab="always")
    assert problem(await client.post("/new-order", {})) == "externalAccountRequired"
    mac_key = await _mac_key(house, uses=1)
    wrong = mac_key.binding(house.client("bound", key=pki.key()))
    assert problem(await _open(client, wrong)) == "malformed"
    answer = await _open(client, mac_key.binding(client))
    assert (answer.status, header(answer, "Location")) == (200, client.kid)
    assert await _uses_left(house, mac_key.name) == 0
    assert (await client.post(str(client.kid), None)).status == 200


async def test_wrong_binding_of_an_existing_account_is_refused(house: House) -> None:
    """acme.md C54: also where the account has a good one."""
    mac_key = await _mac_key(house)
    client = house.client("bound")
    binding = mac_key.binding(client)
    assert (await _open(client, binding)).status == 201
    wrong = doors.MacKey(mac_key.name, b"x" * 32)
    answer = await _open(client, wrong.binding(client))
    assert (answer.status, problem(answer)) == (403, "unauthorized")
    assert problem(await _open(client, mac_key.binding(house.client("bound")))) == "malformed"
    assert (await _open(client, binding)).status == 200


async def test_own_binding_that_has_expired_is_no_reason_to_refuse_the_account(house: House) -> None:
    """acme.md C44: clients send what they were configured with, each time."""
    mac_key = await _mac_key(house, expires_at=house.clock.now() + timedelta(hours=1))
    client = house.client("new-only")
    binding = mac_key.binding(client)
    assert (await _open(client, binding)).status == 201
    house.clock.advance(hours=2)
    assert (await _open(client, binding)).status == 200
    other = await _mac_key(house, name="other", expires_at=house.clock.now())
    answer = await _open(client, other.binding(client))
    assert (answer.status, problem(answer)) == (403, "unauthorized")


@pytest.mark.parametrize("end", ["revoked", "expired"])
async def test_binding_that_holds_no_longer_gives_way_to_a_new_one(house: House, end: str) -> None:
    """acme.md C54: not one that still holds."""
    old = await _mac_key(house, name="old", expires_at=house.clock.now() + timedelta(hours=1))
    new = await _mac_key(house, name="new", uses=2)
    client = house.client("bound")
    binding = old.binding(client)
    assert (await _open(client, binding)).status == 201
    answer = await _open(client, new.binding(client))
    assert (answer.status, document(answer)["externalAccountBinding"]) == (200, binding)
    assert await _uses_left(house, "new") == 2
    if end == "expired":
        house.clock.advance(hours=2)
    else:
        row = await house.store.reader.read(
            lambda connection: credentials.by_name(connection, "acme-eab", "old")
        )
        assert row is not None
        unit = Unit()
        credentials.revoke(unit, row.id, house.clock.now())
        await house.store.recorder.commit(unit)
    again = new.binding(client)
    for _ in range(2):
        answer = await _open(client, again)
        assert (answer.status, document(answer)["externalAccountBinding"]) == (200, again)
    assert await _uses_left(house, "new") == 1


async def test_binding_and_agreement_that_come_at_once_are_both_there_afterwards(house: House) -> None:
    """acme.md E13: 200 is not said for a change that was lost."""
    doors.change_options(house, "new-only", eab="none")
    client = await house.client("new-only").registered()
    doors.change_options(house, "new-only", terms_of_service=doors.TERMS)
    mac_key = await _mac_key(house, uses=1)
    twins = [Client(house, client.endpoint, client.key) for _ in range(2)]
    for twin in twins:
        twin.nonce = await twin.new_nonce()
    answers = await asyncio.gather(
        _open(twins[0], mac_key.binding(client)), _open(twins[1], termsOfServiceAgreed=True)
    )
    assert [answer.status for answer in answers] == [200, 200]
    assert "externalAccountBinding" in document(answers[0])
    assert document(answers[1])["termsOfServiceAgreed"] is True
    found = document(await _open(client, onlyReturnExisting=True))
    assert "externalAccountBinding" in found
    assert found["termsOfServiceAgreed"] is True


async def test_wrong_macs_are_slowed_down(house: House) -> None:
    """acme.md C54, C96"""
    await _mac_key(house)
    client = house.client("bound")
    wrong = doors.MacKey("device-7", b"x" * 32)
    statuses = [(await _open(client, wrong.binding(client))).status for _ in range(40)]
    assert set(statuses) == {403, 429}
    answer = await _open(client, wrong.binding(client))
    assert (problem(answer), int(str(header(answer, "Retry-After"))) > 0) == ("rateLimited", True)
