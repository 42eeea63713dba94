"""The client's side of pkiMessages (RFC 8894 section 3.2): requests written, CertReps read; no I/O."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from gateway.asn1 import cms, der
from gateway.asn1.ber import BerReader
from gateway.errors import MalformedMessage
from gateway.model.reasons import ReasonCode
from gateway.pki import cms_enveloped, cms_signed
from gateway.pki.certificate import ParsedCertificate
from gateway.pki.signer import Signer
from gateway.scep import attributes
from gateway.scep.message import MessageRules, MessageType, PkiStatus


@dataclass(frozen=True, slots=True)
class ClientIdentity:
    """Certificate and key that sign requests and open answers; self-signed at first (RFC 8894 2.3)."""

    certificate_der: bytes
    signer: Signer


@dataclass(frozen=True, slots=True)
class SentMessage:
    """A request with what its answer must repeat."""

    octets: bytes = field(repr=False)
    transaction_id: str
    sender_nonce: bytes


@dataclass(frozen=True, slots=True)
class CertReply:
    """A verified CertRep. Certificates and CRLs are DER in the order of the message, for a SUCCESS only."""

    status: PkiStatus
    fail_info: int | None
    fail_info_text: str
    certificates_der: tuple[bytes, ...] = ()
    crls_der: tuple[bytes, ...] = ()


def write_request(
    message_type: MessageType,
    payload_der: bytes,
    transaction_id: str,
    *,
    identity: ClientIdentity,
    recipient: ParsedCertificate,
    digest: str = "sha256",
    cipher: str = "aes-128-cbc",
) -> SentMessage:
    """Encrypt the payload to the CA's or RA's certificate and sign it, with a fresh nonce.

    ``transaction_id`` holds characters of PrintableString. Raises ValueError if the recipient's key is none
    of RSA.
    """
    nonce = secrets.token_bytes(attributes.NONCE_OCTETS)
    octets = cms_signed.sign(
        cms_enveloped.envelop(payload_der, recipient, cipher),
        (
            (attributes.MESSAGE_TYPE, attributes.printable(str(int(message_type)))),
            (attributes.TRANSACTION_ID, attributes.printable(transaction_id)),
            (attributes.SENDER_NONCE, der.tlv(der.OCTET_STRING, nonce)),
        ),
        certificate_der=identity.certificate_der,
        signer=identity.signer,
        digest=digest,
    )
    return SentMessage(octets, transaction_id, nonce)


def read_reply(
    octets: bytes,
    sent: SentMessage,
    *,
    identity: ClientIdentity,
    responders: Sequence[ParsedCertificate],
    rules: MessageRules,
) -> CertReply:
    """Verify a CertRep to this request and open it.

    ``responders`` are the certificates that may have signed it, of GetCACert; the message need not hold any.
    Raises MalformedMessage: message.integrity for a wrong signature and for an answer to something else.
    """
    signed = cms.read_signed_data(octets)
    if signed.content_type != cms.DATA or len(signed.signers) != 1:
        raise MalformedMessage("a CertRep must sign content of type data and have one signer")
    signer = signed.signers[0]
    for responder in responders:
        if cms_signed.is_named(responder.certificate_der, signer.sid):
            cms_signed.verify_signer(signed, signer, responder, rules.digests)
            break
    else:
        raise _integrity("the CertRep is not signed by a certificate of this CA")
    found = {oid: cms_signed.single_value(signer.attributes, oid) for oid in _REPLY_ATTRIBUTES}
    _check_belongs(found, sent)
    status = attributes.read_number(found[attributes.PKI_STATUS])
    if status not in frozenset(PkiStatus):
        # RFC 8894 3.2.1.3: other values MUST be treated as errors
        raise MalformedMessage("the pkiStatus of the CertRep is none of RFC 8894")
    certificates_der: tuple[bytes, ...] = ()
    crls_der: tuple[bytes, ...] = ()
    if status == PkiStatus.SUCCESS:
        certificates_der, crls_der = _open(signed.content or b"", identity, rules.ciphers)
    return CertReply(
        PkiStatus(status),
        attributes.read_number(found[attributes.FAIL_INFO]),
        _read_text(found[attributes.FAIL_INFO_TEXT]),
        certificates_der,
        crls_der,
    )


_REPLY_ATTRIBUTES = (
    attributes.MESSAGE_TYPE,
    attributes.TRANSACTION_ID,
    attributes.PKI_STATUS,
    attributes.FAIL_INFO,
    attributes.FAIL_INFO_TEXT,
    attributes.RECIPIENT_NONCE,
)


def _check_belongs(found: dict[str, bytes | None], sent: SentMessage) -> None:
    transaction_id = found[attributes.TRANSACTION_ID]
    if attributes.read_number(found[attributes.MESSAGE_TYPE]) != MessageType.CERT_REP or not transaction_id:
        raise MalformedMessage("this is no CertRep, or one without transactionID")
    if attributes.read_transaction_id(transaction_id)[0] != sent.transaction_id.encode("ascii"):
        raise _integrity("the CertRep belongs to another transaction")
    if attributes.read_nonce(found[attributes.RECIPIENT_NONCE]) != sent.sender_nonce:
        # RFC 8894 3.2.1.5: a message whose recipientNonce does not match MUST be rejected
        raise _integrity("the CertRep answers another message: its recipientNonce differs")


def _integrity(message: str) -> MalformedMessage:
    return MalformedMessage(message, code=ReasonCode.MESSAGE_INTEGRITY)


def _open(
    content: bytes, identity: ClientIdentity, ciphers: Collection[str]
) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    enveloped = cms.read_enveloped_data(content)
    found = cms_enveloped.find_recipient(enveloped, [identity.certificate_der])
    if found is None:
        raise MalformedMessage("the CertRep is encrypted to another certificate than the one that asked")
    cms_enveloped.check_algorithms(enveloped, found[1], ciphers)
    degenerate = cms.read_signed_data(cms_enveloped.decrypt(enveloped, found[1], identity.signer))
    return degenerate.certificates_der, degenerate.crls_der


def _read_text(value: bytes | None) -> str:
    if value is None:
        return ""
    reader = BerReader(value)
    return reader.octets(reader.whole(), der.UTF8_STRING).decode("utf-8", "replace")
