"""The codec reads what OpenSSL's CMP client and mock server wrote, field by field (cmp.md D)."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from cryptography import x509

from gateway.asn1 import cmp, cmp_bodies, cmp_revocation, cmp_support, crmf
from gateway.asn1.cmp import BodyType, InfoTypeAndValue, PkiMessage
from gateway.asn1.cmp_status import PkiFailureInfo, PkiStatus
from tests.support import cmp_vectors

READERS = {
    BodyType.IR: crmf.decode_cert_req_messages,
    BodyType.CR: crmf.decode_cert_req_messages,
    BodyType.KUR: crmf.decode_cert_req_messages,
    BodyType.IP: cmp_bodies.decode_cert_rep,
    BodyType.CP: cmp_bodies.decode_cert_rep,
    BodyType.KUP: cmp_bodies.decode_cert_rep,
    BodyType.RR: cmp_revocation.decode_rev_req,
    BodyType.RP: cmp_revocation.decode_rev_rep,
    BodyType.GENM: cmp_support.decode_gen_msg,
    BodyType.GENP: cmp_support.decode_gen_msg,
    BodyType.ERROR: cmp_bodies.decode_error,
    BodyType.CERTCONF: cmp_bodies.decode_cert_confirm,
    BodyType.POLLREQ: cmp_bodies.decode_poll_req,
    BodyType.POLLREP: cmp_bodies.decode_poll_rep,
    BodyType.PKICONF: cmp_bodies.decode_pki_confirm,
}
FIRST_BODY = {"ir": BodyType.IR, "cr": BodyType.CR, "kur": BodyType.KUR, "p10cr": BodyType.P10CR}
FIRST_BODY |= {"rr": BodyType.RR, "genm": BodyType.GENM}


def message(name: str) -> PkiMessage:
    return cmp.decode_message(cmp_vectors.read(name))


def test_vectors_are_found() -> None:
    assert len(cmp_vectors.NAMES) >= 45


@pytest.mark.parametrize("name", cmp_vectors.NAMES)
def test_message_of_openssl_is_read_and_written_back_octet_by_octet(name: str) -> None:
    """cmp.md C16, C32: our header encoder writes what OpenSSL wrote."""
    octets = cmp_vectors.read(name)
    read = cmp.decode_message(octets)
    assert cmp.protected_part(read.header, read.body_type, read.body_der) == read.protected_der
    assert cmp.encode_message(read.protected_der, read.protection, read.extra_certs) == octets
    assert read.header.pvno == 2
    if read.body_type in READERS:
        READERS[read.body_type](read.body_der)
    first = re.fullmatch(r"([a-z0-9]+)-.*-q1", name)
    if first and first[1] in FIRST_BODY:
        assert read.body_type is FIRST_BODY[first[1]]


def test_header_of_an_initialization_request_is_read_in_full() -> None:
    header = message("ir-mac-q1").header
    assert header.sender_kid == b"device-1"
    assert header.recipient_der.endswith(b"CMP CA")
    assert header.transaction_id is not None
    assert header.sender_nonce is not None
    assert (len(header.transaction_id), len(header.sender_nonce)) == (16, 16)
    assert header.recip_nonce is None
    assert header.message_time is not None
    assert header.message_time.tzinfo is UTC
    assert header.message_time > datetime(2026, 11, 23, tzinfo=UTC)
    answer = message("ir-mac-s1").header
    assert (answer.transaction_id, answer.recip_nonce) == (header.transaction_id, header.sender_nonce)
    assert header.protection_alg_der is not None
    assert header.protection_alg_der.startswith(b"\x30")


def test_initialization_request_names_subject_key_validity_and_extensions() -> None:
    (request,) = crmf.decode_cert_req_messages(message("ir-mac-q1").body_der)
    template = request.template
    assert request.cert_req_id == 0
    assert template.subject_der is not None
    assert template.subject_der.endswith(b"device-1")
    assert template.public_key_der is not None
    assert template.public_key_der[:2] == b"\x30\x59"
    assert template.not_before is not None
    assert template.not_after is not None
    assert (template.not_after - template.not_before).days == 30
    assert b"device-1.test" in (template.extensions_der or b"")
    assert isinstance(request.pop, crmf.SigningKeyPop)
    assert request.pop.input is None
    assert (template.version, template.serial_number, template.issuer_uid) == (None, None, None)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ir-ra-verified-q1", crmf.RaVerified()),
        ("ir-no-pop-q1", None),
        ("ir-keyenc-q1", crmf.PrivateKeyPop(crmf.KeyUse.KEY_ENCIPHERMENT, "encrCert", b"\x81\x01\x00")),
    ],
)
def test_other_forms_of_proof_are_told_apart(name: str, expected: crmf.ProofOfPossession | None) -> None:
    """cmp.md C53, C54."""
    (request,) = crmf.decode_cert_req_messages(message(name).body_der)
    assert request.pop == expected


def test_key_update_names_the_old_certificate() -> None:
    """cmp.md C60."""
    (request,) = crmf.decode_cert_req_messages(message("kur-signed-q1").body_der)
    control = request.control(crmf.OLD_CERT_ID)
    assert control is not None
    device = x509.load_der_x509_certificate(cmp_vectors.certificate_der("device"))
    assert crmf.decode_cert_id(control.value_der) == crmf.CertId(
        b"\xa4\x25" + device.issuer.public_bytes(), device.serial_number
    )


def test_pkcs10_request_is_the_csr_itself() -> None:
    csr = x509.load_der_x509_csr(message("p10cr-signed-q1").body_der)
    assert csr.is_signature_valid
    assert csr.subject.rfc4514_string() == "CN=device-1,O=Vectors"


def test_accepted_answer_holds_certificate_and_ca_certificates() -> None:
    answer = message("ir-mac-s1")
    content = cmp_bodies.decode_cert_rep(answer.body_der)
    (response,) = content.responses
    assert response.status.status is PkiStatus.ACCEPTED
    assert response.certificate_der == cmp_vectors.certificate_der("device")
    assert content.ca_pubs == (cmp_vectors.certificate_der("ca"),)
    assert answer.extra_certs == (cmp_vectors.certificate_der("ca"),)


def test_refusal_tells_text_and_both_bits() -> None:
    (response,) = cmp_bodies.decode_cert_rep(message("refused-mac-s1").body_der).responses
    assert response.status.status is PkiStatus.REJECTION
    assert response.status.texts == ("no such device",)
    assert response.status.failure == PkiFailureInfo.BAD_MESSAGE_CHECK | PkiFailureInfo.DUPLICATE_CERT_REQ
    assert response.certificate_der is None


def test_waiting_answer_and_poll_are_read() -> None:
    (response,) = cmp_bodies.decode_cert_rep(message("polled-mac-s1").body_der).responses
    assert response.status.status is PkiStatus.WAITING
    assert cmp_bodies.decode_poll_req(message("polled-mac-q2").body_der) == (0,)
    assert cmp_bodies.decode_poll_rep(message("polled-mac-s2").body_der) == (cmp_bodies.PollAnswer(0, 1),)


def test_confirmation_of_a_pkcs10_request_has_the_number_minus_one() -> None:
    """cmp.md C50."""
    (status,) = cmp_bodies.decode_cert_confirm(message("p10cr-signed-q2").body_der)
    assert status.cert_req_id == -1
    assert len(status.cert_hash) == 32
    (declined,) = cmp_bodies.decode_cert_confirm(message("ir-mac-q2").body_der)
    assert declined.status is not None
    assert declined.status.status is PkiStatus.REJECTION


def test_error_message_is_read() -> None:
    content = cmp_bodies.decode_error(message("error-mac-s1").body_der)
    assert content.status.failure == PkiFailureInfo.BAD_REQUEST
    assert content.status.texts == ("error processing message",)
    assert content.error_code is not None


def test_revocation_request_and_answer_are_read() -> None:
    device = x509.load_der_x509_certificate(cmp_vectors.certificate_der("device"))
    (details,) = cmp_revocation.decode_rev_req(message("rr-signed-q1").body_der)
    assert details.template.serial_number == device.serial_number
    assert details.template.issuer_der == device.issuer.public_bytes()
    assert (details.extensions_der or b"").endswith(b"\x0a\x01\x01")  # reasonCode keyCompromise
    answer = cmp_revocation.decode_rev_rep(message("rr-signed-s1").body_der)
    assert [status.status for status in answer.status] == [PkiStatus.ACCEPTED]
    assert answer.rev_certs[0].serial_number == device.serial_number


def test_general_information_in_header_and_body_is_read() -> None:
    """cmp.md C28, C30."""
    asked = message("genm-mac-q1")
    assert asked.header.general_info == (InfoTypeAndValue("1.2.3.4", b"\x02\x03\x00\xdd\xd5"),)
    assert cmp_support.decode_gen_msg(asked.body_der) == (InfoTypeAndValue(cmp_support.SIGN_KEY_PAIR_TYPES),)
    implicit = (InfoTypeAndValue(cmp_support.IMPLICIT_CONFIRM, cmp_support.NULL_DER),)
    assert message("ir-rsa-implicit-q1").header.general_info == implicit


def test_unprotected_message_has_neither_algorithm_nor_protection() -> None:
    unprotected = message("ir-unprotected-q1")
    assert (unprotected.header.protection_alg_der, unprotected.protection) == (None, None)
