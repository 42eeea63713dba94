"""A PKIMessage from anybody: header, protection parameters and the body of every type that is read."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from gateway.asn1 import cmp, cmp_bodies, cmp_revocation, cmp_support, crmf
from gateway.asn1.cmp import BodyType
from gateway.cmp.protection import SignatureProtection, read_protection, signature_is_right
from gateway.errors import GatewayError, MalformedMessage
from gateway.pki.crmf_request import read_request
from gateway.pki.csr import parse_csr
from gateway.pki.message_mac import MacLimits

LIMITS = MacLimits()
# Of P-256, so that whatever claims to be a signature is verified as far as it goes
SPKI_DER = bytes.fromhex(
    "3059301306072a8648ce3d020106082a8648ce3d030107034200046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0"
    "f4a13945d898c2964fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
)


def _requests(body_der: bytes) -> None:
    for message in crmf.decode_cert_req_messages(body_der):
        read_request(message)


def _revocations(body_der: bytes) -> None:
    for details in cmp_revocation.decode_rev_req(body_der):
        read_request(crmf.CertReqMsg(0, details.template, b""))


def _information(body_der: bytes) -> None:
    readers: dict[str, Callable[[bytes], object]] = {
        cmp_support.CA_CERTS: cmp_support.decode_certificates,
        cmp_support.ROOT_CA_KEY_UPDATE: cmp_support.decode_root_ca_key_update,
        cmp_support.CERT_REQ_TEMPLATE: cmp_support.decode_cert_req_template,
        cmp_support.CRL_STATUS_LIST: cmp_support.decode_crl_status_list,
        cmp_support.CRLS: cmp_support.decode_crls,
        cmp_support.UNSUPPORTED_OIDS: cmp_support.decode_oids,
    }
    for info in cmp_support.decode_gen_msg(body_der):
        if info.value_der is not None and info.oid in readers:
            readers[info.oid](info.value_der)


READERS: dict[BodyType, Callable[[bytes], object]] = {
    **dict.fromkeys((BodyType.IR, BodyType.CR, BodyType.KUR, BodyType.KRR, BodyType.CCR), _requests),
    **dict.fromkeys((BodyType.IP, BodyType.CP, BodyType.KUP, BodyType.CCP), cmp_bodies.decode_cert_rep),
    **dict.fromkeys((BodyType.GENM, BodyType.GENP), _information),
    BodyType.P10CR: parse_csr,
    BodyType.RR: _revocations,
    BodyType.RP: cmp_revocation.decode_rev_rep,
    BodyType.ERROR: cmp_bodies.decode_error,
    BodyType.CERTCONF: cmp_bodies.decode_cert_confirm,
    BodyType.POLLREQ: cmp_bodies.decode_poll_req,
    BodyType.POLLREP: cmp_bodies.decode_poll_rep,
    BodyType.PKICONF: cmp_bodies.decode_pki_confirm,
    BodyType.NESTED: cmp.decode_nested,
}


def one_input(octets: bytes) -> None:
    """Read it all: what is refused is refused by our own errors, and what was read is written equal."""
    try:
        message = cmp.decode_message(octets)
    except MalformedMessage:
        return
    again = cmp.decode_message(
        cmp.encode_message(
            cmp.protected_part(message.header, message.body_type, message.body_der),
            message.protection,
            message.extra_certs,
        )
    )
    assert again.body_der == message.body_der
    assert again.protection == message.protection
    assert again.header.transaction_id == message.header.transaction_id
    assert again.header.general_info == message.header.general_info
    with suppress(GatewayError):
        protection = read_protection(message, LIMITS)
        if isinstance(protection, SignatureProtection):
            assert not signature_is_right(protection, SPKI_DER)
    with suppress(MalformedMessage):
        READERS.get(message.body_type, bytes)(message.body_der)
