"""Waiting for a person, GetCert and GetCRL (scep.md C45 to C47)."""

from __future__ import annotations

import time

import pytest
from cryptography import x509

from tests.support import pki
from tests.support.authority import Identity
from tests.support.scep_answer import (
    BAD_CERT_ID,
    BAD_REQUEST,
    PENDING,
    CertRep,
    issued,
    refused,
)
from tests.support.scep_client import CERT_POLL, GET_CERT, GET_CRL, Device, issuer_and_serial
from tests.support.scep_lab import ScepLab, rsa_key

_AFTER_S = 90.0


def _until_decided(device: Device) -> CertRep:
    deadline = time.monotonic() + _AFTER_S
    while True:
        reply = device.poll()
        if reply.status != PENDING or time.monotonic() > deadline:
            return reply
        time.sleep(0.1)


def _waiting(lab: ScepLab) -> Device:
    device = lab.device("manual")
    reply = device.enrol(lab.challenge)
    assert reply.status == PENDING
    assert reply.content == b""
    assert device.poll().status == PENDING
    assert lab.certificates(device) == 0
    return device


def test_approved_request_is_fetched_by_polls_and_by_repeats(lab: ScepLab) -> None:
    """scep.md C45"""
    device = _waiting(lab)
    message = device.message(device.csr(lab.challenge))
    assert device.send(message).status == PENDING
    lab.approve(device)
    certificate = issued(_until_decided(device))
    assert certificate.subject == pki.name(device.cn)
    assert issued(device.poll()) == certificate
    assert [row.state for row in lab.rows(device)] == ["issued"]


def test_rejected_request_is_a_failure_with_the_reason_again_and_again(lab: ScepLab) -> None:
    """scep.md C45"""
    device = _waiting(lab)
    lab.reject(device, "not one of ours")
    texts = {refused(device.poll(), BAD_REQUEST, "approval.rejected") for _ in range(3)}
    assert len(texts) == 1
    assert lab.certificates(device) == 0


def test_poll_without_a_request_is_a_bad_certificate_id(lab: ScepLab) -> None:
    """scep.md C45"""
    device = lab.device("manual")
    assert lab.row(refused(device.poll(), BAD_CERT_ID, "transaction.unknown")).state == "refused"


def test_poll_of_another_key_is_as_one_without_a_request(lab: ScepLab) -> None:
    """scep.md C45: with transactionID, subject and issuer of somebody else."""
    device = _waiting(lab)
    thief = Device(lab.server("manual"), rsa_key("thief"), device.cn, device.transaction_id)
    refused(thief.poll(), BAD_CERT_ID, "transaction.unknown")
    lab.approve(device)
    issued(_until_decided(device))
    refused(thief.poll(), BAD_CERT_ID, "transaction.unknown")


def test_poll_of_another_certificate_with_the_same_key_is_answered(lab: ScepLab) -> None:
    """scep.md C45: devices make their self-signed certificate anew at every start."""
    device = _waiting(lab)
    restarted = Device(device.server, device.private_key, device.cn, device.transaction_id)
    assert restarted.signer.certificate != device.signer.certificate
    assert restarted.poll().status == PENDING


def test_poll_at_another_endpoint_finds_nothing(lab: ScepLab) -> None:
    """scep.md C45"""
    device = _waiting(lab)
    elsewhere = Device(lab.server(), device.private_key, device.cn, device.transaction_id)
    refused(elsewhere.poll(), BAD_CERT_ID, "transaction.unknown")


def test_names_in_a_poll_decide_nothing(lab: ScepLab) -> None:
    """scep.md C45 wants badCertId for another payload; clients write whichever CA's name they hold
    (strongSwan, sscep), so that transactionID and key decide alone."""
    device = _waiting(lab)
    assert device.poll(pki.name("Some other CA"), pki.name("some-other.test")).status == PENDING


@pytest.mark.parametrize("payload", [b"", b"\x30\x00", b"\x30\x02\x05\x00", b"garbage", b"\x30\x80" * 500])
@pytest.mark.parametrize("message_type", [CERT_POLL, GET_CERT, GET_CRL])
def test_garbage_payload_asks_for_what_is_not_there(lab: ScepLab, payload: bytes, message_type: str) -> None:
    """scep.md C45, C46 have badRequest; see test_scep_wire_oracle.py for why it is not told apart."""
    device = lab.device().enrolled(lab.challenge)
    text = refused(device.send(device.message(payload, message_type)), BAD_CERT_ID)
    assert lab.row(text).remote["message"] in ("CertPoll", "GetCert", "GetCRL")


# -- GetCert, GetCRL --


def _asked(device: Device, message_type: str, issuer: x509.Name, serial: int) -> CertRep:
    return device.send(device.message(issuer_and_serial(issuer, serial), message_type))


def test_holder_of_a_certificate_gets_certificates_and_the_crl(lab: ScepLab) -> None:
    """scep.md C46, C47, B16: sscep uses one transactionID for all of them."""
    device, other = lab.device().enrolled(lab.challenge), lab.device(key="second").enrolled(lab.challenge)
    device.transaction_id = "SSCEP transactionId"
    ca = device.server.responders[1]
    for wanted in (device.signer.certificate, other.signer.certificate):
        reply = _asked(device, GET_CERT, ca.subject, wanted.serial_number)
        assert reply.certificates == (wanted,)
        assert reply.crls == ()
    for serial in (device.signer.certificate.serial_number, ca.serial_number):
        issuer = ca.issuer if serial == ca.serial_number else ca.subject
        reply = _asked(device, GET_CRL, issuer, serial)
        (crl,) = reply.crls
        assert crl.issuer == ca.subject
        assert crl.is_signature_valid(ca.public_key())  # type: ignore[arg-type]  # an RSA key
        assert reply.certificates == ()


def test_crl_names_what_was_revoked(lab: ScepLab) -> None:
    """scep.md C46"""
    device, other = lab.device().enrolled(lab.challenge), lab.device().enrolled(lab.challenge)
    lab.revoke(other)
    ca = device.server.responders[1]
    deadline, revoked = time.monotonic() + _AFTER_S, None
    while revoked is None and time.monotonic() < deadline:  # made anew at most once a second
        (crl,) = _asked(device, GET_CRL, ca.subject, device.signer.certificate.serial_number).crls
        revoked = crl.get_revoked_certificate_by_serial_number(other.signer.certificate.serial_number)
    assert revoked is not None


def test_unknown_serial_or_foreign_issuer_is_a_bad_certificate_id(lab: ScepLab) -> None:
    """scep.md C46"""
    device = lab.device().enrolled(lab.challenge)
    ca, serial = device.server.responders[1], device.signer.certificate.serial_number
    for issuer, number in ((ca.subject, serial + 1), (pki.name("Some other CA"), serial), (ca.subject, 0)):
        refused(_asked(device, GET_CERT, issuer, number), BAD_CERT_ID, "certificate.unknown")
    refused(_asked(device, GET_CRL, pki.name("Some other CA"), serial), BAD_CERT_ID, "certificate.unknown")


@pytest.mark.parametrize("message_type", [GET_CERT, GET_CRL])
def test_sender_without_a_good_certificate_of_ours_gets_nothing(lab: ScepLab, message_type: str) -> None:
    """scep.md C46: self-signed, of another CA, revoked."""
    device = lab.device().enrolled(lab.challenge)
    ca, serial = device.server.responders[1], device.signer.certificate.serial_number
    vendor = lab.vendor.issue(cn="d", private_key=rsa_key("device"))
    for stranger in (lab.device(), lab.device().signing_with(vendor)):
        reply = _asked(stranger, message_type, ca.subject, serial)
        refused(reply, BAD_REQUEST, "auth.certificate-untrusted")
    lab.revoke(device)
    refused(_asked(device, message_type, ca.subject, serial), BAD_REQUEST, "auth.certificate-revoked")


@pytest.mark.parametrize("message_type", [GET_CERT, GET_CRL])
def test_retrieval_that_is_switched_off_is_refused(lab: ScepLab, message_type: str) -> None:
    """scep.md C46"""
    device = lab.device("no-retrieval").enrolled(lab.challenge)
    ca, serial = device.server.responders[1], device.signer.certificate.serial_number
    refused(_asked(device, message_type, ca.subject, serial), BAD_REQUEST, "message.unsupported")


def test_renewal_that_waits_is_polled_with_the_old_certificate(lab: ScepLab) -> None:
    """scep.md C45: the key that signed the request is that of the certificate that is renewed."""
    device = _waiting(lab)
    lab.approve(device)
    certificate = issued(_until_decided(device))
    signing = device.signing_with(
        Identity(certificate, device.private_key), transaction_id=device.transaction_id
    )
    assert issued(signing.poll()) == certificate
