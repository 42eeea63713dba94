"""revokeCert (acme.md C92 to C94, B14, E2, E3)."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.model.certificate import CertificateRecord, CertificateStatus, RevocationReason
from gateway.store import certificates
from gateway.store.unit import Unit
from tests.support import acme_policies, acme_signing, pki
from tests.support.acme_signing import b64u
from tests.unit.acme.authorized import ready_order, settle
from tests.unit.acme.doors import change_options
from tests.unit.acme.house import Client, House, SetClock, document, problem
from tests.unit.acme.ordered import Ordered, ordered


@pytest_asyncio.fixture
async def client(house: House) -> Client:
    return await house.client().registered()


@pytest_asyncio.fixture
async def one(house: House, client: Client) -> Ordered:
    return await ordered(house, client, "a.test", "*.b.test")


async def record_of(house: House, der: bytes) -> CertificateRecord:
    record = await house.services.certificates.by_sha256(hashlib.sha256(der).hexdigest())
    assert record is not None
    return record


async def is_good(house: House, certificate: Ordered) -> bool:
    return (await record_of(house, certificate.der)).status is CertificateStatus.GOOD


async def revoke(client: Client, certificate: Ordered, **members: object) -> Any:
    return await client.post("/revoke-cert", {"certificate": certificate.b64u} | members)


async def test_owner_revokes_and_is_named_in_the_audit(house: House, client: Client, one: Ordered) -> None:
    """acme.md C92"""
    answer = await revoke(client, one)
    assert (answer.status, answer.body) == (200, b"")
    record = await record_of(house, one.der)
    assert record.status is CertificateStatus.REVOKED
    assert record.revocation_reason is RevocationReason.UNSPECIFIED
    assert record.revoked_at == house.clock.now()


async def test_certificates_key_revokes_without_an_account(house: House, one: Ordered) -> None:
    """acme.md C92"""
    assert (await revoke(house.client(key=one.key), one, reason=1)).status == 200
    record = await record_of(house, one.der)
    assert record.revocation_reason is RevocationReason.KEY_COMPROMISE
    assert await house.services.certificates.key_compromised(record.spki_sha256)


async def test_key_that_is_not_the_certificates_does_not_revoke(
    house: House, client: Client, one: Ordered
) -> None:
    """acme.md C93: nor does the owner's account key without its account."""
    for key in (pki.key(), client.key):
        answer = await revoke(house.client(key=key), one)
        assert (answer.status, problem(answer)) == (403, "unauthorized")
    assert await is_good(house, one)


async def test_account_with_authorizations_for_every_name_revokes(house: House, one: Ordered) -> None:
    """acme.md C92: wildcards too, and all of them."""
    other = await house.client().registered()
    for names in (("a.test",), ("a.test", "b.test"), ("*.a.test",)):
        await ready_order(house, other, *names)
        answer = await revoke(other, one)
        assert (answer.status, problem(answer)) == (403, "unauthorized"), names
    await ready_order(house, other, "*.b.test")
    assert (await revoke(other, one)).status == 200


async def test_authorizations_that_do_not_count_any_more_do_not_revoke(house: House, one: Ordered) -> None:
    """acme.md C92: expired, invalid and pending ones."""
    expired, failed, pending = [await house.client().registered() for _ in range(3)]
    await ready_order(house, expired, "a.test", "*.b.test")
    house.clock.advance(days=31)
    for client in (expired, failed, pending):
        client.nonce = None
    answer = await failed.new_order(["a.test", "*.b.test"])
    await settle(house, failed, document(answer)["authorizations"], status="invalid")
    await pending.new_order(["a.test", "*.b.test"])
    for client in (expired, failed, pending):
        answer = await revoke(client, one)
        assert (answer.status, problem(answer)) == (403, "unauthorized")
    assert await is_good(house, one)


@pytest.mark.parametrize("sans", [(), ("email:a@b.test",), ("dns:a.test", "uri:https://a.test/")])
async def test_certificate_with_no_or_other_names_is_not_vacuously_anybodys(
    house: House, one: Ordered, sans: Sequence[str]
) -> None:
    """acme.md C92"""
    issued = pki.Authority("Other").issue(cn="x.test").certificate.public_bytes(Encoding.DER)
    record = await record_of(house, one.der)
    unit = Unit()
    changed = replace(
        record,
        sha256=hashlib.sha256(issued).hexdigest(),
        serial_hex="ff",
        certificate_der=issued,
        chain_sha256=certificates.chain_sha256(()),
        sans=tuple(sans),
    )
    certificates.insert(unit, changed, ())
    await house.store.recorder.commit(unit)
    other = await house.client().registered()
    await ready_order(house, other, "a.test", "*.b.test")
    answer = await other.post("/revoke-cert", {"certificate": b64u(issued)})
    assert (answer.status, problem(answer)) == (403, "unauthorized")


async def test_certificate_of_another_endpoint_is_unknown_here(
    tmp_path: Any, store: Any, clock: SetClock
) -> None:
    """acme.md E3: neither its account, nor its key, nor authorizations count at another directory."""
    documents = [
        part
        for number, name in enumerate(("default", "other"))
        for part in (
            acme_policies.acme_endpoint(name),
            acme_policies.acme_policy(f"for-{name}", name, priority=10 + number),
        )
    ]
    house = House(tmp_path, store, clock, *documents)
    client = await house.client("other").registered()
    one = await ordered(house, client, "a.test")
    here = await house.client().registered()
    await ready_order(house, here, "a.test")
    for signer in (here, house.client(key=one.key)):
        answer = await revoke(signer, one)
        assert (answer.status, problem(answer)) == (404, "malformed")
    assert await is_good(house, one)
    assert (await revoke(house.client("other", key=one.key), one)).status == 200
    await house.aclose()


async def test_second_revocation_is_refused(house: House, client: Client, one: Ordered) -> None:
    """acme.md C93"""
    await revoke(client, one, reason=4)
    answer = await revoke(client, one, reason=1)
    assert (answer.status, problem(answer)) == (400, "alreadyRevoked")
    assert (await record_of(house, one.der)).revocation_reason is RevocationReason.SUPERSEDED


async def test_of_parallel_revocations_one_succeeds(house: House, client: Client, one: Ordered) -> None:
    """acme.md C93, E13"""
    twins = [house.client(key=client.key, kid=client.kid) for _ in range(8)]
    answers = await asyncio.gather(*(revoke(twin, one) for twin in twins))
    assert sorted(answer.status for answer in answers) == [200] + [400] * 7
    assert {problem(answer) for answer in answers if answer.status == 400} == {"alreadyRevoked"}


async def test_stranger_is_not_told_that_a_certificate_is_revoked(
    house: House, client: Client, one: Ordered
) -> None:
    """acme.md C93: who may not revoke learns nothing."""
    await revoke(client, one)
    answer = await revoke(await house.client().registered(), one)
    assert (answer.status, problem(answer)) == (403, "unauthorized")


async def test_expired_certificate_is_not_revoked(house: House, client: Client, one: Ordered) -> None:
    """acme.md C93"""
    house.clock.moment = one.leaf.not_valid_after_utc
    client.nonce = None
    house.clock.advance(seconds=1)
    answer = await revoke(client, one)
    assert (answer.status, problem(answer)) == (403, "unauthorized")


@pytest.mark.parametrize("reason", [2, 6, 7, 8, 9, 10, 11, -1, 10**30])
async def test_reason_that_is_not_the_clients_to_give_is_refused(
    house: House, client: Client, one: Ordered, reason: int
) -> None:
    """acme.md C93"""
    answer = await revoke(client, one, reason=reason)
    assert (answer.status, problem(answer)) == (400, "badRevocationReason")
    assert "4 (superseded)" in document(answer)["detail"]
    assert await is_good(house, one)


@pytest.mark.parametrize("reason", ["4", 4.0, True, None, [4], {}])
async def test_reason_that_is_no_number_is_malformed(client: Client, one: Ordered, reason: object) -> None:
    """acme.md C93"""
    answer = await revoke(client, one, reason=reason)
    assert (answer.status, problem(answer)) == (400, "malformed")


async def test_endpoint_says_which_reasons_are_taken(house: House, client: Client, one: Ordered) -> None:
    """acme.md C93: forbidden by policy, and allowed by it."""
    change_options(house, "default", revocation_reasons=("privilegeWithdrawn",))
    assert problem(await revoke(client, one, reason=1)) == "badRevocationReason"
    assert (await revoke(client, one, reason=9)).status == 200


async def test_certificate_that_was_not_issued_here_is_not_found(house: House, client: Client) -> None:
    """acme.md C93"""
    foreign = pki.Authority("Foreign").issue(cn="a.test")
    for signer in (client, house.client(key=foreign.private_key)):
        answer = await signer.post(
            "/revoke-cert", {"certificate": b64u(foreign.certificate.public_bytes(Encoding.DER))}
        )
        assert (answer.status, problem(answer)) == (404, "malformed")


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"certificate": None},
        {"certificate": 7},
        {"certificate": ["AAAA"]},
        {"certificate": ""},
        {"certificate": "AAAA"},
        {"certificate": "MIIB!"},
        {"certificate": "-----BEGIN CERTIFICATE-----"},
    ],
    ids=str,
)
async def test_payload_without_a_certificate_is_malformed(client: Client, members: dict[str, object]) -> None:
    """acme.md C93"""
    answer = await client.post("/revoke-cert", members)
    assert (answer.status, problem(answer)) == (400, "malformed")


async def test_certificate_with_bytes_behind_it_is_malformed(client: Client, one: Ordered) -> None:
    """acme.md C93"""
    answer = await client.post("/revoke-cert", {"certificate": b64u(one.der + b"\x00")})
    assert (answer.status, problem(answer)) == (400, "malformed")


async def test_deactivated_account_does_not_revoke(house: House, client: Client, one: Ordered) -> None:
    """acme.md B14, C37"""
    assert (await client.post(str(client.kid), {"status": "deactivated"})).status == 200
    answer = await revoke(client, one)
    assert (answer.status, problem(answer)) == (401, "unauthorized")
    assert await is_good(house, one)


async def test_owner_revokes_after_its_key_was_changed(house: House, client: Client, one: Ordered) -> None:
    """acme.md C57, C92: what an account ordered is its own whatever key it has."""
    new_key = pki.key()
    url = f"{client.root}/key-change"
    inner = acme_signing.key_change_payload(client.key, new_key, str(client.kid), url)
    assert (await client.post("/key-change", inner)).status == 200
    client.key = new_key
    assert (await revoke(client, one)).status == 200
