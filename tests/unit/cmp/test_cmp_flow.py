"""ir, cr, kur and p10cr on the real path: who asks, what is asked for, repeats."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from pyasn1.codec.der import encoder

from gateway.model.outcome import State
from tests.support import cmp_bodies, cmp_wire, pki
from tests.support.cmp_client import Reply
from tests.support.cmp_wire import Pbm, Pbmac1, Signed
from tests.unit.cmp.cmp_house import IMPLICIT, MAC, VENDOR, CmpHouse, ir

MakeHouse = Callable[..., CmpHouse]
CA_TRUE = (x509.BasicConstraints(ca=True, path_length=None), True)


def ids(reply: Reply) -> list[int]:
    return [int(one["certReqId"]) for one in reply.body["response"]]


@pytest.mark.parametrize(("name", "answer"), [("ir", "ip"), ("cr", "cp")])
async def test_whoever_has_the_secret_gets_a_certificate(cmp: MakeHouse, name: str, answer: str) -> None:
    """cmp.md C51, C62: accepted, without failInfo, for the key and the names of the template."""
    house, private_key = cmp(), pki.key()
    await house.secret()
    reply = await house.talk().send(name, ir(private_key))
    assert (reply.body_name, reply.outcome, ids(reply)) == (answer, "accepted", [0])
    assert reply.certificate.public_key() == private_key.public_key()
    assert reply.certificate.subject == pki.name("dev.test")
    (row,) = await house.rows()
    assert (row.state, row.operation, row.identity.partition(":")[0]) == (
        State.UNCONFIRMED,
        "enroll",
        "mac",
    )


async def test_root_comes_as_ca_pubs_of_an_ip_under_a_mac_only(cmp: MakeHouse) -> None:
    """cmp.md C48, C61: the rest of the chain in extraCerts, under a MAC and under a signature."""
    house = cmp()
    await house.secret()
    issuing, root = map(x509.load_der_x509_certificate, await house.backends.chain("embedded", None))
    by_mac = await house.talk().send("ir", ir(pki.key()))
    cp = await house.talk().send("cr", ir(pki.key(), "two.test"))
    assert [x509.load_der_x509_certificate(_der(one)) for one in by_mac.body["caPubs"]] == [root]
    assert by_mac.extra_certs == (issuing,)
    assert not cp.body["caPubs"].isValue
    device = await house.device("signs.test")
    signed = await house.talk(device).send("cr", ir(pki.key(), "signs.test"))
    assert signed.extra_certs == (house.signer.certificate, issuing)
    assert not signed.body["caPubs"].isValue


def _der(value: Any) -> bytes:
    encoded: bytes = encoder.encode(value)
    return encoded


async def test_answer_to_pbmac1_is_pbmac1(cmp: MakeHouse) -> None:
    """cmp.md C38, C47"""
    house = cmp()
    await house.secret()
    reply = await house.talk(Pbmac1(MAC.reference, MAC.secret)).send("ir", ir(pki.key()))
    assert (reply.outcome, reply.protection_kind) == ("accepted", "pbmac1")
    assert reply.mac_is_right(MAC.secret)


# -- repeats --


async def test_exact_repeat_gets_the_same_certificate(cmp: MakeHouse) -> None:
    """cmp.md F: also at the same time, after its certConf, and after the certificate was revoked."""
    house = cmp()
    await house.secret()
    talk = house.talk()
    message = talk.message("ir", ir(pki.key()))
    first, second = await asyncio.gather(talk.post(message), talk.post(message))
    if second.outcome != "accepted":
        second = await talk.post(message)
    assert first.certificate == second.certificate
    assert (await talk.confirm(first.certificate)).body_name == "pkiconf"
    again = await talk.post(message)
    assert (again.outcome, again.certificate) == ("accepted", first.certificate)
    assert len(await house.rows()) == 1


@pytest.mark.parametrize("name", ["ir", "cr", "p10cr"])
async def test_other_content_under_a_transaction_in_use_is_refused(cmp: MakeHouse, name: str) -> None:
    """cmp.md C23: an error body with transactionIdInUse, whichever request comes; a p10cr's counts too."""
    house = cmp()
    await house.secret()
    talk, private_key = house.talk(), pki.key()
    await talk.send("ir", ir(private_key))
    talk.last = None
    body = pki.device_csr(private_key, "b.test") if name == "p10cr" else ir(private_key, "b.test")
    reply = await talk.send(name, body)
    assert (reply.body_name, reply.outcome) == ("error", "transactionIdInUse")


async def test_same_transaction_id_of_another_sender_is_another_transaction(cmp: MakeHouse) -> None:
    """cmp.md C23, RFC 9810 5.1.1: the pair of client and transactionID is unique."""
    house, other = cmp(), Pbm("line-5", b"another secret")
    await house.secret()
    await house.secret(other)
    mine, theirs = house.talk(), house.talk(other)
    theirs.transaction_id = mine.transaction_id
    assert (await mine.send("ir", ir(pki.key()))).outcome == "accepted"
    assert (await theirs.send("ir", ir(pki.key(), "two.test"))).outcome == "accepted"


async def test_transaction_id_is_free_again_once_its_answer_is_forgotten(cmp: MakeHouse) -> None:
    """cmp.md F: repeats are answered for the time of the certConf and ten minutes."""
    house = cmp(confirm_within_s=60)
    await house.secret()
    talk = house.talk()
    await talk.send("ir", ir(pki.key()), generalInfo=IMPLICIT)
    house.clock.advance(seconds=661)
    talk.last = None
    assert (await talk.send("ir", ir(pki.key(), "two.test"))).outcome == "accepted"


# -- templates --


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ({"version": 2}, "accepted"),
        ({"version": 0}, "badCertTemplate"),
        ({"serial": 7}, "badCertTemplate"),
        ({"issuer_uid": b"x"}, "badCertTemplate"),
        ({"issuer": pki.name("Another CA")}, "grantedWithMods"),
        ({"extensions": [CA_TRUE]}, "notAuthorized"),
        ({"controls": [pki.tlv(0x30, pki.oid(cmp_bodies.REG_TOKEN), cmp_wire.utf8("x"))]}, "badRequest"),
        ({"pop": b""}, "badPOP"),
        ({"pop": cmp_bodies.RA_VERIFIED}, "notAuthorized"),
        ({"pop": cmp_bodies.KEY_ENCIPHERMENT_POP}, "badPOP"),
        ({"signer": pki.key()}, "badPOP"),
        ({"hash_name": "sha1"}, "badAlg"),
    ],
)
async def test_template_decides(cmp: MakeHouse, fields: dict[str, Any], outcome: str) -> None:
    """cmp.md C51, C53, C54, C57, C58, C64: refused in the ip itself."""
    house = cmp()
    await house.secret()
    reply = await house.talk().send("ir", ir(pki.key(), **fields))
    assert (reply.body_name, reply.outcome) == ("ip", outcome)
    assert bool(reply.certificates) is (outcome in ("accepted", "grantedWithMods"))


async def test_missing_subject_is_refused_and_an_empty_one_needs_a_san(cmp: MakeHouse) -> None:
    """cmp.md C52"""
    house, private_key = cmp(), pki.key()
    await house.secret()

    async def outcome(**fields: Any) -> str:
        return (await house.talk().send("ir", ir(private_key, None, **fields))).outcome

    assert await outcome(sans=["dev.test"]) == "badCertTemplate"
    assert await outcome(subject=x509.Name([])) == "badCertTemplate"
    assert await outcome(subject=x509.Name([]), sans=["dev.test"]) == "accepted"


async def test_template_without_a_key_is_refused(cmp: MakeHouse) -> None:
    """cmp.md C83: keys are not made here."""
    house = cmp()
    await house.secret()
    template = cmp_bodies.template(cn="dev.test", sans=["dev.test"])
    body = cmp_bodies.requests(pki.tlv(0x30, cmp_bodies.cert_request(template)))
    assert (await house.talk().send("ir", body)).outcome == "badCertTemplate"


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, ""),
        ({"subject": pki.name("dev.test", O="Acme")}, "subject"),
        ({"issuer": pki.name("Another CA")}, "issuer"),
        (
            {
                "subject": pki.name("dev.test", O="Acme"),
                "issuer": pki.name("Another CA"),
            },
            "subject, issuer",
        ),
    ],
)
async def test_what_policy_changes_is_named(cmp: MakeHouse, fields: dict[str, Any], text: str) -> None:
    """cmp.md C58: grantedWithMods with the fields that are otherwise; accepted where there are none."""
    house = cmp()
    await house.secret()
    reply = await house.talk(endpoint="wishes").send("ir", ir(pki.key(), "dev.test", **fields))
    assert reply.outcome == ("grantedWithMods" if text else "accepted")
    assert reply.status.text == (f"policy has set otherwise than asked for: {text}" if text else "")


async def test_validity_that_is_granted_is_no_change(cmp: MakeHouse) -> None:
    """cmp.md C59"""
    house = cmp()
    await house.secret()
    ends = house.clock.now() + timedelta(days=30)
    reply = await house.talk(endpoint="wishes").send("ir", ir(pki.key(), validity=(None, ends)))
    assert (reply.outcome, reply.certificate.not_valid_after_utc) == ("accepted", ends)


async def test_several_requests_have_a_decision_each(cmp: MakeHouse) -> None:
    """cmp.md C49: one CertResponse per request, in order; the good ones are issued."""
    house, private_key = cmp(), pki.key()
    await house.secret()
    talk = house.talk()
    body = cmp_bodies.requests(
        cmp_bodies.request(private_key, "one.test"),
        cmp_bodies.request(private_key, "not.allowed.com", cert_req_id=1),
        cmp_bodies.request(private_key, "three.test", cert_req_id=2, signer=pki.key()),
        cmp_bodies.request(private_key, "four.test", cert_req_id=3),
    )
    reply = await talk.send("ir", body)
    assert ids(reply) == [0, 1, 2, 3]
    assert [one.status for one in reply.statuses] == ["accepted", "rejection", "rejection", "accepted"]
    assert [sorted(one.failures) for one in reply.statuses[1:3]] == [["badCertTemplate"], ["badPOP"]]
    first, fourth = reply.certificates
    statuses = (
        cmp_bodies.cert_status(cmp_bodies.cert_hash(first)),
        cmp_bodies.cert_status(
            cmp_bodies.cert_hash(fourth), cert_req_id=3, status_info=cmp_bodies.status_info(2)
        ),
    )
    assert (await talk.send("certConf", pki.tlv(0x30, *statuses))).body_name == "pkiconf"
    states = sorted(row.state for row in await house.rows())
    assert states == [State.ISSUED, State.REFUSED, State.REFUSED, State.WITHDRAWN]


async def test_issuer_that_is_no_name_spoils_its_own_request_only(cmp: MakeHouse) -> None:
    """cmp.md C49"""
    house = cmp()
    await house.secret()
    no_name = SimpleNamespace(public_bytes=lambda: b"\x30\x02\x05\x00")
    good = cmp_bodies.request(pki.key(), "one.test", cert_req_id=0)
    bad = cmp_bodies.request(pki.key(), "two.test", cert_req_id=1, issuer=no_name)
    reply = await house.talk().send("ir", cmp_bodies.requests(good, bad))
    assert [one.status for one in reply.statuses] == ["accepted", "rejection"]


@pytest.mark.parametrize("numbers", [(0, 0), (5, 99), (-1,), (2**40,)])
async def test_numbers_of_requests_that_cannot_be_told_apart_are_refused(
    cmp: MakeHouse, numbers: Sequence[int]
) -> None:
    """cmp.md C50"""
    house, private_key = cmp(), pki.key()
    await house.secret()
    each = [cmp_bodies.request(private_key, "dev.test", cert_req_id=number) for number in numbers]
    assert (await house.talk().send("ir", cmp_bodies.requests(*each))).outcome == "badRequest"


@pytest.mark.parametrize("body", [b"\x30\x00", b"\x04\x00", b"\x30\x02\x05\x00", bytes(2)])
async def test_malformed_body_is_an_error_of_its_own(cmp: MakeHouse, body: bytes) -> None:
    """cmp.md C51, C86"""
    house = cmp()
    await house.secret()
    reply = await house.talk().send("ir", body)
    assert (reply.body_name, reply.outcome) == ("error", "badDataFormat")


# -- p10cr --


async def test_p10cr_gets_its_certificate_and_keeps_the_request(cmp: MakeHouse) -> None:
    """cmp.md C50: a cp with certReqId -1; the CSR is in the record."""
    house, csr_der = cmp(), pki.device_csr(pki.key(), "dev.test")
    await house.secret()
    reply = await house.talk().send("p10cr", csr_der)
    assert (reply.body_name, reply.outcome, ids(reply)) == ("cp", "accepted", [-1])
    (row,) = await house.rows()
    assert row.csr_der == csr_der


async def test_p10cr_with_a_secret_in_clear_is_not_recorded(cmp: MakeHouse) -> None:
    house = cmp()
    await house.secret()
    challenge = pki.attribute(pki.CHALLENGE_PASSWORD, pki.tlv(0x0C, b"hush"))
    csr_der = pki.raw_csr(pki.key(), subject_der=pki.name("dev.test").public_bytes(), attributes=[challenge])
    assert (await house.talk().send("p10cr", csr_der)).outcome == "accepted"
    (row,) = await house.rows()
    assert row.csr_der is None


async def test_p10cr_with_a_bad_signature_is_bad_pop(cmp: MakeHouse) -> None:
    """cmp.md C53"""
    house = cmp()
    await house.secret()
    csr_der = pki.device_csr(pki.key(), "dev.test")
    reply = await house.talk().send("p10cr", csr_der[:-1] + bytes([csr_der[-1] ^ 1]))
    assert (reply.body_name, reply.outcome) == ("cp", "badPOP")


# -- renewal --


async def test_renewal_is_signed_with_the_old_certificate(cmp: MakeHouse) -> None:
    """cmp.md C60: a kup; names of the old certificate where the template has none."""
    house, private_key = cmp(), pki.key()
    await house.secret()
    device = await house.device()
    controls = [cmp_bodies.old_cert_id(device.identity.certificate)]
    reply = await house.talk(device).send("kur", ir(private_key, None, controls=controls))
    assert (reply.body_name, reply.outcome) == ("kup", "accepted")
    assert reply.certificate.subject == device.identity.certificate.subject
    assert reply.certificate.public_key() == private_key.public_key()
    assert [row.operation for row in await house.rows()] == ["rekey", "enroll"]


async def test_renewal_under_a_secret_is_wrong_integrity(cmp: MakeHouse) -> None:
    """cmp.md C45"""
    house = cmp()
    await house.secret()
    reply = await house.talk().send("kur", ir(pki.key()))
    assert (reply.body_name, reply.outcome) == ("error", "wrongIntegrity")


async def test_renewal_that_names_another_certificate_is_bad_cert_id(cmp: MakeHouse) -> None:
    """cmp.md C60"""
    house = cmp()
    await house.secret()
    device = await house.device()
    certificate = device.identity.certificate
    other = cmp_bodies.old_cert_id(certificate, serial=certificate.serial_number + 1)
    reply = await house.talk(device).send("kur", ir(pki.key(), controls=[other]))
    assert (reply.body_name, reply.outcome) == ("kup", "badCertId")


async def test_second_renewal_waits_for_the_first_ones_certconf(cmp: MakeHouse) -> None:
    """cmp.md C60: badRequest in the kup, which is not about the transactionID."""
    house = cmp()
    await house.secret()
    device = await house.device()
    first, second = house.talk(device), house.talk(device)
    answered = await first.send("kur", ir(pki.key()))
    reply = await second.send("kur", ir(pki.key()))
    assert (reply.body_name, reply.outcome) == ("kup", "badRequest")
    await first.confirm(answered.certificate)
    assert (await house.talk(device).send("kur", ir(pki.key()))).outcome == "accepted"


async def test_stranger_cannot_renew(cmp: MakeHouse) -> None:
    """cmp.md C41: a certificate of another CA."""
    house = cmp()
    await house.secret()
    stranger = Signed(pki.Authority("Stranger").issue(cn="dev.test"))
    reply = await house.talk(stranger).send("kur", ir(pki.key()))
    assert reply.outcome == "signerNotTrusted"


# -- registration authorities --


async def test_registration_authority_vouches_for_others(cmp: MakeHouse) -> None:
    """cmp.md C54"""
    house, private_key = cmp(), pki.key()
    authority = Signed(VENDOR.issue(cn="RA 1"))
    reply = await house.talk(authority, "ra").send("ir", ir(private_key, pop=cmp_bodies.RA_VERIFIED))
    assert reply.outcome == "accepted"
    assert reply.certificate.public_key() == private_key.public_key()
    unproven = await house.talk(authority, "ra").send("ir", ir(private_key, "two.test", pop=b""))
    assert unproven.outcome == "badPOP"
