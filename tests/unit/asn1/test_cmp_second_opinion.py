"""What our codec writes pyasn1 reads, and the other way round: every structure of CMP that is served."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat import asn1
from pyasn1_alt_modules import rfc4211, rfc9480, rfc9810

from gateway.asn1 import cmp, cmp_bodies, cmp_revocation, cmp_support, crmf, crmf_encode, der
from gateway.asn1.cmp import BodyType, InfoTypeAndValue, PkiHeader
from gateway.asn1.cmp_bodies import CertRepMessage, CertResponse, CertStatus, ErrorMsgContent, PollAnswer
from gateway.asn1.cmp_revocation import RevDetails, RevRepContent
from gateway.asn1.cmp_status import (
    PkiFailureInfo,
    PkiStatus,
    PkiStatusInfo,
    decode_status_info,
    encode_status_info,
)
from gateway.asn1.crmf import CertId, CertTemplate, Control
from tests.support import cmp_pyasn1, cmp_vectors, pki

CA, DEVICE = cmp_vectors.certificate_der("ca"), cmp_vectors.certificate_der("device")
NAME = pki.name("device-1", O="Örg").public_bytes()
SENDER = pki.tlv(0xA4, NAME)
SHA256 = pki.tlv(0x30, pki.oid("2.16.840.1.101.3.4.2.1"))
TIME = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
GOOD = PkiStatusInfo(PkiStatus.ACCEPTED)
BAD = PkiStatusInfo(
    PkiStatus.REJECTION,
    ("no", "nein, wirklich nicht: ü"),
    PkiFailureInfo.BAD_POP | PkiFailureInfo.DUPLICATE_CERT_REQ,
)
EXTENSIONS = pki.tlv(0x30, pki.tlv(0x30, pki.oid("2.5.29.21"), pki.tlv(0x04, b"\x0a\x01\x01")))  # reasonCode
FULL_TEMPLATE = CertTemplate(
    version=2,
    serial_number=2**155 + 7,
    signing_alg_der=SHA256,
    issuer_der=NAME,
    not_before=TIME,
    not_after=datetime(2051, 1, 1, tzinfo=UTC),
    subject_der=NAME,
    public_key_der=pki.spki_der(pki.shared_key("P-256")),
    issuer_uid=b"\x00\x01",
    subject_uid=b"\x04\x10",
    extensions_der=EXTENSIONS,
)
CERT_ID = CertId(SENDER, 2**159 - 1)
CONTROL = Control(crmf.REG_TOKEN, pki.tlv(0x0C, b"token"))
INFOS = (
    InfoTypeAndValue(cmp_support.CA_CERTS),
    InfoTypeAndValue(cmp_support.IMPLICIT_CONFIRM, b"\x05\x00"),
)

# Each: our value, our encoder, our decoder, pyasn1's type
STRUCTURES: dict[str, tuple[Any, Callable[[Any], bytes], Callable[[bytes], Any], Any]] = {
    "status": (GOOD, encode_status_info, decode_status_info, rfc9810.PKIStatusInfo),
    "status-failed": (BAD, encode_status_info, decode_status_info, rfc9810.PKIStatusInfo),
    "cert-rep": (
        CertRepMessage((CertResponse(0, GOOD, DEVICE), CertResponse(-1, BAD, rsp_info=b"x")), (CA, DEVICE)),
        cmp_bodies.encode_cert_rep,
        cmp_bodies.decode_cert_rep,
        rfc9810.CertRepMessage,
    ),
    "cert-rep-empty": (
        CertRepMessage(()),
        cmp_bodies.encode_cert_rep,
        cmp_bodies.decode_cert_rep,
        rfc9810.CertRepMessage,
    ),
    "cert-conf": (
        (CertStatus(b"h" * 32, 0), CertStatus(b"h" * 64, -1, BAD, SHA256), CertStatus(b"", 2**40, GOOD)),
        cmp_bodies.encode_cert_confirm,
        cmp_bodies.decode_cert_confirm,
        rfc9810.CertConfirmContent,
    ),
    "cert-conf-none": (
        (),
        cmp_bodies.encode_cert_confirm,
        cmp_bodies.decode_cert_confirm,
        rfc9810.CertConfirmContent,
    ),
    "poll-req": (
        (0, -1, 7),
        cmp_bodies.encode_poll_req,
        cmp_bodies.decode_poll_req,
        rfc9810.PollReqContent,
    ),
    "poll-rep": (
        (PollAnswer(0, 60), PollAnswer(-1, 3600, ("waits for approval",))),
        cmp_bodies.encode_poll_rep,
        cmp_bodies.decode_poll_rep,
        rfc9810.PollRepContent,
    ),
    "error": (
        ErrorMsgContent(BAD, -5, ("detail",)),
        cmp_bodies.encode_error,
        cmp_bodies.decode_error,
        rfc9810.ErrorMsgContent,
    ),
    "error-short": (
        ErrorMsgContent(BAD),
        cmp_bodies.encode_error,
        cmp_bodies.decode_error,
        rfc9810.ErrorMsgContent,
    ),
    "rev-req": (
        (RevDetails(FULL_TEMPLATE, EXTENSIONS), RevDetails(CertTemplate())),
        cmp_revocation.encode_rev_req,
        cmp_revocation.decode_rev_req,
        rfc9810.RevReqContent,
    ),
    "rev-rep": (
        RevRepContent((GOOD, BAD), (CERT_ID, CERT_ID)),
        cmp_revocation.encode_rev_rep,
        cmp_revocation.decode_rev_rep,
        rfc9810.RevRepContent,
    ),
    "genm": (
        INFOS,
        cmp_support.encode_gen_msg,
        cmp_support.decode_gen_msg,
        rfc9810.GenMsgContent,
    ),
    "template": (
        FULL_TEMPLATE,
        crmf_encode.encode_template,
        crmf.decode_template,
        rfc4211.CertTemplate,
    ),
    "template-empty": (
        CertTemplate(),
        crmf_encode.encode_template,
        crmf.decode_template,
        rfc4211.CertTemplate,
    ),
    "cert-id": (CERT_ID, crmf_encode.encode_cert_id, crmf.decode_cert_id, rfc4211.CertId),
    "root-ca-key-update": (
        cmp_support.RootCaKeyUpdate(CA, DEVICE, CA),
        cmp_support.encode_root_ca_key_update,
        cmp_support.decode_root_ca_key_update,
        rfc9810.RootCaKeyUpdateContent,
    ),
    "root-ca-key-update-new-only": (
        cmp_support.RootCaKeyUpdate(CA),
        cmp_support.encode_root_ca_key_update,
        cmp_support.decode_root_ca_key_update,
        rfc9810.RootCaKeyUpdateContent,
    ),
    "cert-req-template": (
        cmp_support.CertReqTemplate(CertTemplate(subject_der=NAME), (CONTROL,)),
        cmp_support.encode_cert_req_template,
        cmp_support.decode_cert_req_template,
        rfc9810.CertReqTemplateContent,
    ),
    "crl-status-list": (
        (
            cmp_support.CrlStatus(pki.tlv(0x30, SENDER), by_issuer=True, this_update=TIME),
            cmp_support.CrlStatus(pki.tlv(0xA0, pki.tlv(0x86, b"http://crl.test/")), by_issuer=False),
        ),
        cmp_support.encode_crl_status_list,
        cmp_support.decode_crl_status_list,
        rfc9810.CRLStatusListValue,
    ),
    "unsupported-oids": (
        (cmp_support.CA_CERTS, "2.999.5"),
        cmp_support.encode_oids,
        cmp_support.decode_oids,
        rfc9810.UnsupportedOIDsValue,
    ),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_structure_is_what_pyasn1_reads_and_comes_back_equal(name: str) -> None:
    value, encode, decode, spec = STRUCTURES[name]
    octets = encode(value)
    cmp_pyasn1.read(octets, spec())
    assert decode(octets) == value


def test_status_written_by_pyasn1_is_read() -> None:
    info = rfc9810.PKIStatusInfo()
    info["status"] = "rejection"
    info["statusString"].append("no")
    info["failInfo"] = "badPOP,duplicateCertReq,badAlg"
    assert decode_status_info(cmp_pyasn1.der(info)) == PkiStatusInfo(
        PkiStatus.REJECTION,
        ("no",),
        PkiFailureInfo.BAD_POP | PkiFailureInfo.DUPLICATE_CERT_REQ | PkiFailureInfo.BAD_ALG,
    )


@pytest.mark.parametrize("bit", range(27))
def test_each_failure_bit_has_the_name_that_the_rfc_gives_it(bit: int) -> None:
    """RFC 9810 section 5.2.3; pyasn1's named values are the judge."""
    (name,) = [name for name, value in rfc9810.PKIFailureInfo.namedValues.items() if value == bit]
    ours = PkiFailureInfo(1 << bit).name
    assert ours is not None
    assert ours.replace("_", "").lower() == name.lower()
    encoded = encode_status_info(PkiStatusInfo(PkiStatus.REJECTION, (), PkiFailureInfo(1 << bit)))
    read = cmp_pyasn1.read(encoded, rfc9810.PKIStatusInfo())
    assert list(read["failInfo"]) == [0] * bit + [1]


@pytest.mark.parametrize("body_type", BodyType, ids=lambda body: body.rfc_name)
def test_body_has_the_tag_and_name_that_pyasn1_knows(body_type: BodyType) -> None:
    assert cmp_pyasn1.BODY_NAMES[body_type] == body_type.rfc_name


def test_header_written_by_pyasn1_is_read_in_full() -> None:
    header = cmp_pyasn1.header(
        pvno=3,
        sender=cmp_pyasn1.general_name(NAME),
        messageTime="20260102030405Z",
        protectionAlg=cmp_pyasn1.algorithm("1.2.840.113549.1.1.11", b"\x05\x00"),
        senderKID=b"kid",
        recipKID=b"ours",
        transactionID=b"t" * 16,
        senderNonce=b"s" * 16,
        recipNonce=b"r" * 16,
        freeText=["hä?", "zwei"],
        generalInfo=[cmp_pyasn1.info("1.3.6.1.5.5.7.4.13", b"\x05\x00"), cmp_pyasn1.info("2.999.1")],
    )
    ours = PkiHeader(
        pvno=3,
        sender_der=SENDER,
        recipient_der=b"\xa4\x02\x30\x00",
        message_time=TIME,
        protection_alg_der=pki.tlv(0x30, pki.oid("1.2.840.113549.1.1.11"), b"\x05\x00"),
        sender_kid=b"kid",
        recip_kid=b"ours",
        transaction_id=b"t" * 16,
        sender_nonce=b"s" * 16,
        recip_nonce=b"r" * 16,
        free_text=("hä?", "zwei"),
        general_info=(InfoTypeAndValue("1.3.6.1.5.5.7.4.13", b"\x05\x00"), InfoTypeAndValue("2.999.1")),
    )
    assert cmp.decode_header(cmp_pyasn1.der(header)) == ours
    assert cmp.encode_header(ours) == cmp_pyasn1.der(header)


def test_nested_messages_are_delimited_and_not_looked_into() -> None:
    """cmp.md C79, C80."""
    inner = (cmp_vectors.read("ir-mac-q1"), cmp_vectors.read("cr-signed-q1"))
    octets = cmp_pyasn1.message(cmp_pyasn1.header(), "nested", pki.tlv(0x30, *inner))
    outer = cmp.decode_message(octets)
    assert outer.body_type is BodyType.NESTED
    assert cmp.decode_nested(outer.body_der) == inner


def test_encrypted_certificate_and_private_key_are_kept_as_they_are() -> None:
    """cmp.md C83: EncryptedKeys of an answer; pyasn1 makes the surroundings."""
    enveloped = pki.tlv(0xA0, pki.tlv(0x02, b"\x00"))
    response = CertResponse(0, GOOD, encrypted_cert_der=enveloped, private_key_der=enveloped)
    encoded = cmp_bodies.encode_cert_rep(CertRepMessage((response,)))
    assert cmp_bodies.decode_cert_rep(encoded).responses == (response,)


def test_request_with_everything_is_read_by_pyasn1() -> None:
    cert_request = crmf_encode.encode_cert_request(7, FULL_TEMPLATE, (CONTROL,))
    for pop in (
        None,
        crmf.RaVerified(),
        crmf.SigningKeyPop(SHA256, b"signature"),
        crmf.PrivateKeyPop(crmf.KeyUse.KEY_AGREEMENT, "challengeResp", b"\x81\x01\x01"),
    ):
        encoded = crmf_encode.encode_cert_req_messages(
            [crmf_encode.encode_cert_req_msg(cert_request, pop, (CONTROL,))]
        )
        cmp_pyasn1.read(encoded, rfc9480.CertReqMessages())
        (read,) = crmf.decode_cert_req_messages(encoded)
        assert (read.cert_req_id, read.template, read.pop) == (7, FULL_TEMPLATE, pop)
        assert (read.controls, read.reg_info) == ((CONTROL,), (CONTROL,))
        assert read.cert_req_der == cert_request


@pytest.mark.parametrize("number", [0, 1, -1, 127, 128, -127, -128, -129, 2**63, -(2**63), -(2**63) - 1])
def test_integer_is_written_in_its_shortest_form(number: int) -> None:
    """X.690 section 8.3.2: -128 is one octet (pyasn1 writes two, so cryptography is the judge)."""
    assert der.integer(number) == asn1.encode_der(number)
