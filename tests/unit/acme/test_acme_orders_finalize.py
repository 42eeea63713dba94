"""Finalization: the CSR against the order, and what comes of it (acme.md C71, C72, C86 to C91)."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from gateway.acme.exchange import ACME
from gateway.acme.order_csr import checked_csr
from gateway.acme.order_request import identifiers_of
from gateway.acme.order_state import order_parts
from gateway.model.ids import EndpointName
from gateway.model.outcome import Issued
from tests.support import acme_signing, pki
from tests.unit.acme.authorized import csr_for, finalize, ready_order, settle
from tests.unit.acme.house import Client, House, document, header, problem


@pytest_asyncio.fixture
async def client(house: House) -> Client:
    return await house.client().registered()


async def certificate_of(house: House, order: dict[str, Any]) -> x509.Certificate:
    """The certificate that the order's finalization came to."""
    order_id = order["url"].rsplit("/", 1)[1]
    outcome = await house.service.outcome_of(ACME, EndpointName("default"), order_parts(order_id))
    assert isinstance(outcome, Issued)
    return x509.load_der_x509_certificate(outcome.certificate_der)


def names_in(certificate: x509.Certificate) -> set[str]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(name.value) for name in names}


async def state_of(client: Client, order: dict[str, Any]) -> str:
    return str(document(await client.post(order["url"]))["status"])


async def test_good_csr_makes_the_order_valid_with_its_certificate(house: House, client: Client) -> None:
    """acme.md C89"""
    order = await ready_order(house, client, "a.test", "*.b.test")
    answer = await finalize(client, order, csr_for("*.b.test", "a.test", cn="a.test"))
    found = document(answer)
    assert answer.status == 200
    assert header(answer, "Location") == order["url"]
    assert found["status"] == "valid"
    assert found["certificate"].endswith(f"/cert/{str(order['url']).rsplit('/', 1)[1]}")
    assert document(await client.post(str(order["url"]))) == found
    assert names_in(await certificate_of(house, order)) == {"a.test", "*.b.test"}


@pytest.mark.parametrize(
    "csr_der",
    [
        csr_for("a.test"),
        csr_for("a.test", cn="a.test"),
        csr_for("A.TEST", cn="A.Test"),
        csr_for(cn="a.test"),
    ],
    ids=["san", "san and cn", "upper case", "cn only"],
)
async def test_name_may_stand_as_san_or_common_name(house: House, client: Client, csr_der: bytes) -> None:
    """acme.md C87"""
    order = await ready_order(house, client, "a.test")
    assert document(await finalize(client, order, csr_der))["status"] == "valid"
    assert names_in(await certificate_of(house, order)) == {"a.test"}


@pytest.mark.parametrize(
    "csr_der",
    [
        csr_for("a.test", "b.test", "c.test"),
        csr_for("a.test"),
        csr_for("a.test", "*.b.test"),
        csr_for("a.test", "b.test", cn="c.test"),
        csr_for("a.test", "b.test", cn="Some Name"),
        csr_for("a.test", "b.test", cn="192.0.2.1"),
        csr_for("a.test", "b.test", "ip:127.0.0.1"),
        csr_for("a.test", "b.test", "uri:https://a.test/"),
        csr_for("a.test", "b.test", "email:me@a.test"),
        csr_for(cn="a.test"),
        csr_for(),
    ],
    ids=[
        "extra",
        "missing",
        "wildcard instead",
        "foreign cn",
        "cn of words",
        "foreign address as cn",
        "extra address",
        "uri",
        "email",
        "cn alone lacks the other",
        "no name",
    ],
)
async def test_names_that_are_not_exactly_the_orders_are_refused_and_it_stays_ready(
    house: House, client: Client, csr_der: bytes
) -> None:
    """acme.md C87"""
    order = await ready_order(house, client, "a.test", "b.test")
    answer = await finalize(client, order, csr_der)
    assert (problem(answer), answer.status) == ("badCSR", 400)
    assert await state_of(client, order) == "ready"
    assert document(await finalize(client, order, csr_for("a.test", "b.test")))["status"] == "valid"


async def test_address_is_issued_and_never_copied_into_the_common_name(house: House, client: Client) -> None:
    """acme.md C91"""
    wanted = [{"type": "ip", "value": "127.0.0.1"}]
    answer = await client.post("/new-order", {"identifiers": wanted})
    order = document(answer) | {"url": header(answer, "Location")}
    await settle(house, client, order["authorizations"])
    assert problem(await finalize(client, order, csr_for(cn="127.0.0.1"))) == "badCSR"
    done = await finalize(client, order, csr_for("ip:127.0.0.1", cn="127.0.0.1"))
    assert document(done)["status"] == "valid", done.body
    certificate = await certificate_of(house, order)
    assert names_in(certificate) == {"127.0.0.1"}
    assert not certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)


@pytest.mark.parametrize(
    ("csr", "type_"),
    [
        (None, "malformed"),
        (7, "malformed"),
        ("", "malformed"),
        (acme_signing.b64u(csr_for("a.test")) + "=", "malformed"),
        (acme_signing.b64u(csr_for("a.test")) + "\n", "malformed"),
        (pki.pem("CERTIFICATE REQUEST", csr_for("a.test")).decode(), "malformed"),
        (acme_signing.b64u(b"garbage"), "badCSR"),
        (acme_signing.b64u(csr_for("a.test")[:-3]), "badCSR"),
        (acme_signing.b64u(pki.broken_signature(csr_for("a.test"))), "badCSR"),
    ],
    ids=["none", "number", "empty", "padded", "newline", "pem", "garbage", "cut", "signature"],
)
async def test_csr_that_cannot_be_read_is_refused_and_the_order_stays_ready(
    house: House, client: Client, csr: object, type_: str
) -> None:
    """acme.md C86"""
    order = await ready_order(house, client, "a.test")
    answer = await client.post(str(order["finalize"]), {} if csr is None else {"csr": csr})
    assert (problem(answer), answer.status) == (type_, 400)
    assert await state_of(client, order) == "ready"


async def test_key_of_any_account_is_refused(house: House, client: Client) -> None:
    """acme.md C88, E10"""
    other = await house.client().registered()
    order = await ready_order(house, client, "a.test")
    for key in (client.key, other.key):
        assert problem(await finalize(client, order, csr_for("a.test", key=key))) == "badCSR"
    assert await state_of(client, order) == "ready"


async def test_csr_for_a_ca_or_with_a_weak_hash_is_refused(house: House, client: Client) -> None:
    """acme.md C88"""
    order = await ready_order(house, client, "a.test")
    ca = pki.csr(
        pki.key(),
        cn=None,
        sans=["a.test"],
        extensions=[(x509.BasicConstraints(ca=True, path_length=None), True)],
    )
    names = x509.SubjectAlternativeName([x509.DNSName("a.test")])
    weak = pki.raw_csr(
        pki.key(),
        subject_der=x509.Name([]).public_bytes(),
        attributes=(pki.extension_request((names, False)),),
        hash_name="sha1",
    )
    for csr_der in (ca, weak):
        answer = await finalize(client, order, csr_der)
        assert (problem(answer), answer.status) == ("badCSR", 400)
    assert await state_of(client, order) == "ready"


async def test_order_that_is_not_ready_is_not_finalized(house: House, client: Client) -> None:
    """acme.md C71"""
    answer = await client.new_order(["a.test"])
    pending = document(answer) | {"url": header(answer, "Location")}
    refused = await finalize(client, pending, csr_for("a.test"))
    assert (problem(refused), refused.status) == ("orderNotReady", 403)
    await settle(house, client, pending["authorizations"])
    assert document(await finalize(client, pending, csr_for("a.test")))["status"] == "valid"
    again = await finalize(client, pending, csr_for("a.test"))
    assert (problem(again), again.status) == ("orderNotReady", 403)
    failed = document(await client.new_order(["b.test"]))
    await settle(house, client, failed["authorizations"], status="invalid")
    assert problem(await finalize(client, failed, csr_for("b.test"))) == "orderNotReady"


async def test_expired_order_is_invalid_and_cannot_be_finalized(house: House, client: Client) -> None:
    """acme.md C72"""
    order = await ready_order(house, client, "a.test")
    house.clock.advance(days=7, seconds=1)
    found = document(await client.post(str(order["url"])))
    assert found["status"] == "invalid"
    assert "expired" in found["error"]["detail"]
    answer = await finalize(client, order, csr_for("a.test"))
    assert (problem(answer), answer.status) == ("orderNotReady", 403)


async def test_issued_order_stays_valid_after_its_end(house: House, client: Client) -> None:
    """acme.md C90"""
    order = await ready_order(house, client, "a.test")
    await finalize(client, order, csr_for("a.test"))
    house.clock.advance(days=40)
    assert await state_of(client, order) == "valid"


async def test_parallel_finalizations_of_one_order_give_one_certificate(house: House, client: Client) -> None:
    """acme.md C89"""
    order = await ready_order(house, client, "a.test")
    client.nonce = None
    answers = await asyncio.gather(
        *(_finalized_apart(house, client, order, csr_for("a.test")) for _ in range(8))
    )
    states = [document(one).get("status") for one in answers]
    assert "valid" in states
    assert set(states) <= {"valid", "processing", 403}
    kept = await house.services.records.read(
        lambda connection: connection.connection.dbapi_connection.execute(
            "SELECT count(*) FROM certificate"
        ).fetchone()
    )
    assert kept == (1,)


async def _finalized_apart(house: House, client: Client, order: dict[str, Any], csr_der: bytes) -> Any:
    """As another process with the same account would: it has nonces of its own."""
    return await finalize(Client(house, client.endpoint, client.key, client.kid), order, csr_der)


async def test_validity_that_was_asked_for_is_honoured_exactly(house: House, client: Client) -> None:
    """acme.md C65"""
    begin, end = (house.clock.now() + timedelta(hours=hours) for hours in (1, 100))
    asked = {"notBefore": f"{begin:%Y-%m-%dT%H:%M:%SZ}", "notAfter": f"{end:%Y-%m-%dT%H:%M:%SZ}"}
    order = await ready_order(house, client, "a.test", **asked)
    answer = document(await finalize(client, order, csr_for("a.test")))
    assert (answer["notBefore"], answer["notAfter"]) == (asked["notBefore"], asked["notAfter"])
    certificate = await certificate_of(house, order)
    assert (certificate.not_valid_before_utc, certificate.not_valid_after_utc) == (begin, end)


async def test_secret_in_the_csr_does_not_come_into_the_record() -> None:
    csr_der = pki.csr(pki.key(), cn=None, sans=["a.test"], challenge=b"secret")
    assert checked_csr(csr_der, identifiers_of(["dns:a.test"])).csr_der is None


async def test_certificate_holds_the_key_of_the_csr(house: House, client: Client) -> None:
    """acme.md C89"""
    key = pki.key()
    order = await ready_order(house, client, "a.test")
    await finalize(client, order, csr_for("a.test", key=key))
    issued = (await certificate_of(house, order)).public_key()
    assert issued.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    ) == pki.spki_der(key)
