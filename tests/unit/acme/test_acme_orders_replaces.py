"""Orders that renew a certificate (acme.md C67, C96; RFC 9773 section 5)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from cryptography import x509

from gateway.acme.exchange import ACME
from gateway.acme.order_state import order_parts
from gateway.model.ids import EndpointName
from gateway.model.outcome import Issued
from gateway.store.store import Store
from tests.support import acme_policies, acme_signing
from tests.unit.acme.authorized import csr_for, finalize, ready_order, settle
from tests.unit.acme.house import Client, House, SetClock, document, header, problem


@pytest_asyncio.fixture
async def limited(tmp_path: Path, store: Store, clock: SetClock) -> AsyncIterator[House]:
    """One order for a name in a year."""
    house = House(
        tmp_path,
        store,
        clock,
        acme_policies.acme_endpoint("default", limits={"orders_per_name": {"count": 1, "per": "365d"}}),
        acme_policies.acme_policy("web-servers", "default", priority=10),
    )
    yield house
    await house.aclose()


async def issued_id(house: House, client: Client, *names: str) -> str:
    """The identifier by RFC 9773 section 4.1 of a new certificate, written from its own extensions."""
    order = await ready_order(house, client, *names)
    await finalize(client, order, csr_for(*names))
    parts = order_parts(str(order["url"]).rsplit("/", 1)[1])
    outcome = await house.service.outcome_of(ACME, EndpointName("default"), parts)
    assert isinstance(outcome, Issued)
    certificate = x509.load_der_x509_certificate(outcome.certificate_der)
    issuer = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    serial = certificate.serial_number
    octets = serial.to_bytes(serial.bit_length() // 8 + 1, "big")
    return f"{acme_signing.b64u(issuer.key_identifier or b'')}.{acme_signing.b64u(octets)}"


async def test_order_echoes_what_it_replaces_and_a_second_one_is_refused(house: House) -> None:
    """acme.md C67"""
    client = await house.client().registered()
    old = await issued_id(house, client, "a.test", "b.test")
    answer = await client.new_order(["a.test"], replaces=old)
    assert answer.status == 201, answer.body
    assert document(answer)["replaces"] == old
    assert document(await client.post(str(header(answer, "Location"))))["replaces"] == old
    again = await client.new_order(["a.test"], replaces=old)
    assert (problem(again), again.status) == ("alreadyReplaced", 409)


async def test_order_that_fails_lets_another_one_replace(house: House) -> None:
    """acme.md C67"""
    client = await house.client().registered()
    old = await issued_id(house, client, "a.test")
    first = document(await client.new_order(["a.test"], replaces=old))
    await settle(house, client, first["authorizations"], status="invalid")
    assert (await client.new_order(["a.test"], replaces=old)).status == 201


async def test_of_parallel_orders_one_replaces(house: House) -> None:
    """acme.md C67"""
    client = await house.client().registered()
    old = await issued_id(house, client, "a.test")
    clients = [Client(house, client.endpoint, client.key, client.kid) for _ in range(6)]
    answers = await asyncio.gather(*(one.new_order(["a.test"], replaces=old) for one in clients))
    assert sorted(answer.status for answer in answers) == [201, *[409] * 5]


async def test_certificate_of_another_account_or_for_other_names_is_not_replaced(house: House) -> None:
    """acme.md C67"""
    client = await house.client().registered()
    stranger = await house.client().registered()
    old = await issued_id(house, client, "a.test")
    assert problem(await stranger.new_order(["a.test"], replaces=old)) == "unauthorized"
    assert problem(await client.new_order(["b.test"], replaces=old)) == "malformed"
    assert problem(await client.new_order(["a.test"], replaces="x.y")) == "malformed"
    assert problem(await client.new_order(["a.test"], replaces=7)) == "malformed"


async def test_renewal_in_its_window_is_not_limited_and_an_early_one_is(limited: House) -> None:
    """acme.md C96"""
    client = await limited.client().registered()
    old = await issued_id(limited, client, "a.test")
    assert problem(await client.new_order(["a.test"])) == "rateLimited"
    assert problem(await client.new_order(["a.test"], replaces=old)) == "rateLimited"
    limited.clock.advance(days=80)  # of 90
    assert problem(await client.new_order(["a.test"])) == "rateLimited"
    assert (await client.new_order(["a.test"], replaces=old)).status == 201
