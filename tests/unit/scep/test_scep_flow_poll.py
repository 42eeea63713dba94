"""CertPoll, GetCert and GetCRL on the real path, and what happens while the database or a CA is away."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography import x509

from gateway.enrolment.approval import reject
from gateway.errors import BackendUnavailable, Overloaded
from gateway.model.certificate import RevocationReason
from gateway.model.outcome import State
from gateway.pki.certificate import parse_certificate
from tests.support import pki
from tests.unit.scep.scep_house import (
    Device,
    Exchanged,
    ScepHouse,
    issuer_and_serial,
    issuer_and_subject,
    rsa_key,
)

MakeHouse = Callable[..., ScepHouse]
CERT_POLL, GET_CERT, GET_CRL = "20", "21", "22"


async def polled(house: ScepHouse, device: Device, path: str = "/scep/manual") -> Exchanged:
    payload = issuer_and_subject(pki.name("whatever CA"), pki.name(device.cn))
    return await house.send(device, payload, message_type=CERT_POLL, path=path)


async def certificate_of(house: ScepHouse) -> x509.Certificate:
    issuing_der, *_ = await house.backends.chain("embedded", None)
    return x509.load_der_x509_certificate(issuing_der)


async def test_poll_tells_what_has_become_of_the_request(scep: MakeHouse) -> None:
    """scep.md C45: PENDING, then the certificate, long after it was issued too; RFC 8894 figures 8 and 13."""
    house, device = scep(), Device()
    await house.challenge(uses_left=1)
    assert (await house.send(device, path="/scep/manual")).reply.status == 3
    assert (await polled(house, device)).reply.status == 3
    (row,) = await house.rows()
    house.approve(row.id)
    async with house.at_work():
        await house.reaches(row.id, State.ISSUED)
    first = (await polled(house, device)).certificate_der
    assert x509.load_der_x509_certificate(first).subject == pki.name("dev.test")
    house.clock.advance(hours=5)
    assert (await polled(house, device)).certificate_der == first
    assert house.log["message"] == "CertPoll"


async def test_poll_for_a_rejected_request_is_bad_request(scep: MakeHouse) -> None:
    """scep.md C45."""
    house, device = scep(), Device()
    await house.challenge()
    await house.send(device, path="/scep/manual")
    (row,) = await house.rows()
    reject(house.store, row.id, "cli:anna", "not this one", clock=house.clock)
    reply = (await polled(house, device)).reply
    assert (reply.status, reply.fail_info) == (2, 2)
    assert "approval.rejected" in reply.fail_info_text


@pytest.mark.parametrize("poller", ["unknown transaction", "other key", "other endpoint"])
async def test_poll_for_what_is_not_there_is_bad_cert_id(scep: MakeHouse, poller: str) -> None:
    """scep.md C45: somebody else's transaction is as unknown as one that never was."""
    house, device = scep(), Device()
    await house.challenge()
    await house.send(device, path="/scep/manual")
    asking, path = device, "/scep/manual"
    if poller == "unknown transaction":
        asking = Device()
    elif poller == "other key":
        asking = Device(private_key=rsa_key("second device"), transaction_id=device.transaction_id)
    else:
        path = "/scep/default"
    reply = (await polled(house, asking, path)).reply
    assert (reply.status, reply.fail_info) == (2, 4)


@pytest.mark.parametrize("message_type", [CERT_POLL, GET_CERT, GET_CRL])
@pytest.mark.parametrize("payload", [b"\x30\x00", b"garbage", b"\x30\x04\x30\x00\x31\x00"])
async def test_garbage_payload_asks_for_what_is_not_there(
    scep: MakeHouse, message_type: str, payload: bytes
) -> None:
    """scep.md C46 has badRequest, which would tell an attacker what he made of another's ciphertext (C31)."""
    house = scep()
    device = await house.enrolled()
    device.transaction_id = "another"
    reply = (await house.send(device, payload, message_type=message_type)).reply
    assert (reply.status, reply.fail_info) == (2, 4)


async def test_get_cert_gives_the_certificate_with_this_serial_number(scep: MakeHouse) -> None:
    """scep.md C46; sscep sends the same transactionID in every GetCert (B16)."""
    house = scep()
    device = await house.enrolled()
    device.transaction_id = "SSCEP transactionId"
    mine = device.signer.certificate
    payload = issuer_and_serial(mine.issuer, mine.serial_number)
    for _ in range(2):
        reply = (await house.send(device, payload, message_type=GET_CERT)).reply
        assert reply.certificates_der == (device.signer.certificate_der,)


async def test_get_cert_of_an_unknown_certificate_is_bad_cert_id(scep: MakeHouse) -> None:
    """scep.md C46."""
    house = scep()
    device = await house.enrolled()
    mine = device.signer.certificate
    for payload in (
        issuer_and_serial(mine.issuer, mine.serial_number + 1),
        issuer_and_serial(pki.name("Other CA"), mine.serial_number),
    ):
        reply = (await house.send(device, payload, message_type=GET_CERT)).reply
        assert (reply.status, reply.fail_info) == (2, 4)


@pytest.mark.parametrize("by", ["certificate", "the CA itself"])
async def test_get_crl_gives_the_current_crl_alone(scep: MakeHouse, by: str) -> None:
    """scep.md C46, C47: what was just revoked stands in it."""
    house = scep()
    device = await house.enrolled()
    other = Device("other.test", rsa_key("second device"))
    other = other.with_certificate((await house.send(other)).certificate_der)
    record = await house.certificates.by_sha256(parse_certificate(other.signer.certificate_der).sha256)
    assert record is not None
    await house.certificates.revoke(record, RevocationReason.SUPERSEDED, "cli:anna")
    issuing = await certificate_of(house)
    named = device.signer.certificate if by == "certificate" else issuing
    payload = issuer_and_serial(named.issuer, named.serial_number)
    reply = (await house.send(device, payload, message_type=GET_CRL)).reply
    (crl_der,) = reply.crls_der
    crl = x509.load_der_x509_crl(crl_der)
    assert reply.certificates_der == ()
    assert crl.is_signature_valid(issuing.public_key())  # type: ignore[arg-type]  # a CA's key
    assert crl.get_revoked_certificate_by_serial_number(other.signer.certificate.serial_number) is not None


async def test_get_crl_of_another_ca_is_bad_cert_id(scep: MakeHouse) -> None:
    """scep.md C46."""
    house = scep()
    device = await house.enrolled()
    payload = issuer_and_serial(pki.name("Other CA"), 7)
    reply = (await house.send(device, payload, message_type=GET_CRL)).reply
    assert (reply.status, reply.fail_info) == (2, 4)


async def test_get_crl_of_a_ca_elsewhere_is_bad_cert_id_and_says_where_it_is(scep: MakeHouse) -> None:
    """scep.md C46: HTTP 503 would let the device come again for ever."""
    house = scep()
    await house.challenge()
    device = Device()
    device = device.with_certificate((await house.send(device, path="/scep/far")).certificate_der)
    (issuing_der,) = await house.backends.chain("foreign", None)
    issuing = x509.load_der_x509_certificate(issuing_der)
    payload = issuer_and_serial(issuing.subject, device.signer.certificate.serial_number)
    reply = (await house.send(device, payload, message_type=GET_CRL, path="/scep/far")).reply
    assert (reply.status, reply.fail_info) == (2, 4)
    assert "CRL distribution point" in reply.fail_info_text


@pytest.mark.parametrize("message_type", [GET_CERT, GET_CRL])
@pytest.mark.parametrize(
    ("sender", "fail_info", "code"),
    [
        ("self-signed", 2, "auth.certificate-untrusted"),
        ("revoked", 2, "auth.certificate-revoked"),
        ("expired", 3, "auth.certificate-expired"),
    ],
)
async def test_retrieval_is_for_holders_of_a_good_certificate_only(
    scep: MakeHouse, message_type: str, sender: str, fail_info: int, code: str
) -> None:
    """scep.md C46."""
    house = scep()
    device = await house.enrolled()
    mine = device.signer.certificate
    if sender == "self-signed":
        device = Device()
    elif sender == "revoked":
        record = await house.certificates.by_sha256(parse_certificate(device.signer.certificate_der).sha256)
        assert record is not None
        await house.certificates.revoke(record, RevocationReason.SUPERSEDED, "cli:anna")
    else:
        house.clock.advance(days=91)
    payload = issuer_and_serial(mine.issuer, mine.serial_number)
    reply = (await house.send(device, payload, message_type=message_type)).reply
    assert (reply.status, reply.fail_info) == (2, fail_info)
    assert code in reply.fail_info_text


@pytest.mark.parametrize("message_type", [GET_CERT, GET_CRL])
async def test_retrieval_can_be_switched_off(scep: MakeHouse, message_type: str) -> None:
    house = scep(retrieval=False)
    device = await house.enrolled()
    mine = device.signer.certificate
    payload = issuer_and_serial(mine.issuer, mine.serial_number)
    reply = (await house.send(device, payload, message_type=message_type)).reply
    assert (reply.status, reply.fail_info) == (2, 2)
    assert "switched off" in reply.fail_info_text


@pytest.mark.parametrize("empty", ["empty", "omit"])
async def test_answer_without_certificate_has_the_content_that_the_option_says(
    scep: MakeHouse, empty: str
) -> None:
    """scep.md B14, C28: certmonger needs an eContent, however empty."""
    house, device = scep(empty_content=empty), Device()
    exchanged = await house.send(device, device.csr("wrong"))
    assert exchanged.reply.status == 2
    # EncapsulatedContentInfo: id-data, then [0] with an OCTET STRING of no octets, or nothing
    id_data = pki.oid("1.2.840.113549.1.7.1")
    assert (pki.tlv(0x30, id_data, b"\xa0\x02\x04\x00") in exchanged.response.body) is (empty == "empty")
    assert (pki.tlv(0x30, id_data) in exchanged.response.body) is (empty == "omit")


async def test_ca_out_of_reach_is_503_and_the_same_message_succeeds_later(scep: MakeHouse) -> None:
    """scep.md C48: one-time challenges are not lost on it."""
    house, device = scep(), Device()
    await house.challenge(uses_left=1)

    def down(call: str) -> None:
        raise BackendUnavailable("the CA is being restarted", retry_after_s=7)

    house.foreign.before = down
    csr_der = device.csr()
    late = (await house.send(device, csr_der, path="/scep/far")).response
    assert (late.status, late.headers) == (503, (("Retry-After", "7"),))
    house.foreign.before = lambda call: None
    async with house.at_work():
        (row,) = await house.rows()
        await house.reaches(row.id, State.ISSUED, seconds=10)
    issued = await house.send(device, csr_der, path="/scep/far")
    assert x509.load_der_x509_certificate(issued.certificate_der).subject == pki.name("dev.test")
    assert house.foreign.calls.count("issue") >= 2
    assert len(await house.rows()) == 1


async def test_too_many_wrong_challenges_are_503_until_later(scep: MakeHouse) -> None:
    """scep.md C51: throttled, so no FAILURE that would end the device's attempts for good."""
    house, device = scep(), Device()
    csr_der = device.csr("a guess")
    answers = [(await house.send(device, csr_der)).response for _ in range(11)]
    assert [answer.status for answer in answers] == [200] * 10 + [503]
    assert dict(answers[-1].headers)["Retry-After"].isdigit()
    assert b"auth.throttled" in answers[-1].body
    elsewhere = await house.send(device, csr_der, address="198.51.100.1")
    assert elsewhere.reply.fail_info == 2


async def test_overload_is_503_with_retry_after(scep: MakeHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """scep.md C48."""
    house, device = scep(), Device()
    await house.challenge()

    async def full(*_: object) -> None:
        raise Overloaded("the queue is full", retry_after_s=3)

    monkeypatch.setattr(house.store.recorder, "commit", full)
    response = (await house.send(device)).response
    assert response.status == 503
    assert ("Retry-After", "3") in response.headers
    assert house.log["code"] == "overloaded"
