"""Orders that renew a certificate (acme.md C67, C96; RFC 9773 section 5)."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from cryptography import x509

from gateway.acme.exchange import ACME
from gateway.acme.order_state import order_parts
from gateway.model.ids import EndpointName
from gateway.model.outcome import Issued
from gateway.store import certificates
from gateway.store.store import Store
from tests.support import acme_policies, acme_signing
from tests.unit.acme.authorized import csr_for, finalize, ready_order, settle
from tests.unit.acme.house import Client, House, SetClock, document, header, problem
from tests.unit.acme.ordered import ordered


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


async def test_renewal_that_failed_is_limited_when_it_comes_again(limited: House) -> None:
    """acme.md C96: however often it is refused, the certificate stays known as claimed before."""
    client = await limited.client().registered()
    old = await issued_id(limited, client, "a.test")
    limited.clock.advance(days=80)
    failed = document(await client.new_order(["a.test"], replaces=old))
    await settle(limited, client, failed["authorizations"], status="invalid")
    for _ in range(3):
        assert problem(await client.new_order(["a.test"], replaces=old)) == "rateLimited"


async def test_exempt_renewal_counts_for_the_orders_that_follow(limited: House) -> None:
    """acme.md C96: charged, though not held up."""
    client = await limited.client().registered()
    old = await issued_id(limited, client, "a.test")
    limited.clock.advance(days=80)
    assert (await client.new_order(["a.test"], replaces=old)).status == 201
    limited.clock.advance(days=300)  # more than the year of the first order, less than that of the second
    assert problem(await client.new_order(["a.test"])) == "rateLimited"


async def test_expired_certificate_is_replaced_within_the_limits_only(limited: House) -> None:
    """acme.md C96: nothing is left to be renewed in time."""
    client = await limited.client().registered()
    old = await issued_id(limited, client, "a.test")
    limited.clock.advance(days=91)
    assert problem(await client.new_order(["a.test"], replaces=old)) == "rateLimited"


async def test_certificate_of_a_renewal_names_the_one_that_it_replaces(house: House) -> None:
    """acme.md C67: the record goes from certificate to certificate."""
    client = await house.client().registered()
    old = await ordered(house, client, "a.test")
    new = await ordered(house, client, "a.test", replaces=old.id)
    first, second = (hashlib.sha256(one.der).hexdigest() for one in (old, new))
    found = await house.store.reader.read(
        lambda connection: [certificates.by_sha256(connection, one) for one in (first, second)]
    )
    assert [one.predecessor_sha256 for one in found if one is not None] == [None, first]
