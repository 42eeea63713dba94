"""Requests as pkiMessages (RFC 8894 section 3.2), read in two steps; no I/O.

``read_pki_message`` needs no key: what it refuses cannot be answered by a CertRep. ``open_pki_message``
verifies and decrypts: what it refuses becomes a CertRep FAILURE to the message that the first step gave.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache

from gateway.asn1 import cms, der
from gateway.asn1.ber import BerReader
from gateway.asn1.cms import EnvelopedData, IssuerAndSerial, KeyTransRecipient, SignedData
from gateway.errors import MalformedMessage
from gateway.frontend import MessageIdentity
from gateway.model.keys import ClientKey, Pop
from gateway.model.reasons import ReasonCode
from gateway.pki import cms_enveloped, cms_signed
from gateway.pki.certificate import ParsedCertificate, parse_certificate
from gateway.pki.csr import OwnSignature, ParsedCsr, parse_csr, read_own_signature
from gateway.pki.signatures import BROKEN_HASHES
from gateway.scep import attributes

__all__ = [
    "IssuerAndSerial",
    "MessageRules",
    "MessageType",
    "PkiStatus",
    "ScepRequest",
    "SignedMessage",
    "addressed_identity",
    "open_pki_message",
    "read_csr",
    "read_issuer_and_serial",
    "read_pki_message",
]


_REQUEST_ATTRIBUTES = (attributes.TRANSACTION_ID, attributes.MESSAGE_TYPE, attributes.SENDER_NONCE)
# Nothing can verify a signature over MD2
_HASHES_WITHOUT_PROOF = frozenset({"md2"})
_CSR_ATTRIBUTES = 0xA0  # [0] (RFC 2986 section 4.1)
_SHA256_WITH_RSA = "1.2.840.113549.1.1.11"  # RFC 8017 appendix A.2.4


class MessageType(IntEnum):
    """RFC 8894 section 3.2.1.2. UPDATE_REQ is of older drafts: a renewal, as RENEWAL_REQ is now."""

    CERT_REP = 3
    RENEWAL_REQ = 17
    UPDATE_REQ = 18
    PKCS_REQ = 19
    CERT_POLL = 20
    GET_CERT = 21
    GET_CRL = 22


_REQUEST_TYPES = frozenset(MessageType) - {MessageType.CERT_REP}


class PkiStatus(IntEnum):
    """RFC 8894 section 3.2.1.3."""

    SUCCESS = 0
    FAILURE = 2
    PENDING = 3


@dataclass(frozen=True, slots=True)
class MessageRules:
    """What is taken. ``digests`` are named "sha256", ``ciphers`` "aes-128-cbc", "des-ede3-cbc", "des-cbc".

    The first of each is used in answers where the request's own is not taken.
    """

    digests: tuple[str, ...]
    ciphers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SignedMessage:
    """The outside of a pkiMessage: all that a CertRep to it needs. Nothing of it is verified yet.

    ``transaction_id`` holds the content octets of the string, ``transaction_id_der`` the whole string with
    its tag, to be echoed. ``message_type`` is None where that attribute is missing or no number; it may be a
    number that RFC 8894 does not know. ``digest`` is "sha256" and so on, or a dotted OID that we do not know.
    """

    message_sha256: str  # of the whole message, lower-case hex
    transaction_id: bytes
    transaction_id_der: bytes
    message_type: int | None
    sender_nonce: bytes | None
    signer: ParsedCertificate
    certificates_der: tuple[bytes, ...]  # as sent, the signer's among them
    digest: str
    signed: SignedData = field(repr=False)


@dataclass(frozen=True, slots=True)
class ScepRequest:
    """A verified request. ``payload`` is what ``read_csr`` and its like read; empty where it cannot be
    decrypted, and then ``unreadable`` says why, for the log."""

    message: SignedMessage
    message_type: MessageType
    sender_nonce: bytes
    identity: MessageIdentity  # the one that it was encrypted to
    cipher: str
    payload: bytes = field(repr=False)
    unreadable: str = ""


def read_pki_message(octets: bytes) -> SignedMessage:
    """Read the SignedData and its attributes. Raises MalformedMessage, for HTTP 400."""
    if not octets:
        raise MalformedMessage("the message is empty", code=ReasonCode.MESSAGE_EMPTY)
    signed = cms.read_signed_data(octets)
    if signed.content_type != cms.DATA:
        # RFC 8894 3.2: the eContentType MUST be data
        raise MalformedMessage(f"a pkiMessage must sign content of type data, not {signed.content_type}")
    if len(signed.signers) != 1:
        raise MalformedMessage(f"a pkiMessage must have one signer, not {len(signed.signers)}")
    signer = signed.signers[0]
    if not signer.attributes:
        raise MalformedMessage("a pkiMessage must have signed attributes")
    found = {oid: cms_signed.single_value(signer.attributes, oid) for oid in _REQUEST_ATTRIBUTES}
    transaction_id = found[attributes.TRANSACTION_ID]
    if transaction_id is None:
        raise MalformedMessage("a pkiMessage must have a transactionID")
    content, content_der = attributes.read_transaction_id(transaction_id)
    return SignedMessage(
        message_sha256=hashlib.sha256(octets).hexdigest(),
        transaction_id=content,
        transaction_id_der=content_der,
        message_type=attributes.read_number(found[attributes.MESSAGE_TYPE]),
        sender_nonce=attributes.read_nonce(found[attributes.SENDER_NONCE]),
        signer=cms_signed.find_certificate(signed.certificates_der, signer.sid),
        certificates_der=signed.certificates_der,
        digest=cms_signed.digest_name(signer.digest),
        signed=signed,
    )


def addressed_identity(message: SignedMessage, identities: Sequence[MessageIdentity]) -> MessageIdentity:
    """The identity that the message is encrypted to, else the first: by it answers are signed.

    Never raises MalformedMessage: this is for refusals too. Raises ValueError if there are no identities.
    """
    if not identities:
        raise ValueError("an endpoint without identity cannot answer")
    try:
        enveloped = cms.read_enveloped_data(message.signed.content or b"")
        return _addressed(enveloped, identities)[0]
    except MalformedMessage:
        return identities[0]


def _addressed(
    enveloped: EnvelopedData, identities: Sequence[MessageIdentity]
) -> tuple[MessageIdentity, KeyTransRecipient]:
    """Identity and recipient that fit each other. Raises MalformedMessage if there are none."""
    found = cms_enveloped.find_recipient(enveloped, [each.certificate_der for each in identities])
    if found is None:
        if enveloped.recipients:
            raise MalformedMessage(
                "the message is encrypted to another certificate than this endpoint has; fetch it anew with"
                " GetCACert and encrypt to that one"
            )
        raise MalformedMessage(
            "the message is not encrypted to an RSA key; no other kind of recipient is supported",
            code=ReasonCode.MESSAGE_ALGORITHM,
        )
    return identities[found[0]], found[1]


def _any_type(_: MessageType) -> None:
    """Refuses none."""


def open_pki_message(
    message: SignedMessage,
    identities: Sequence[MessageIdentity],
    rules: MessageRules,
    check_type: Callable[[MessageType], None] = _any_type,
) -> ScepRequest:
    """Verify the signature, then decrypt. Two RSA operations at most: one public, one private.

    ``check_type`` refuses types by a GatewayError, whatever is in them: it is asked between the two, so that
    such a refusal tells nothing of the plaintext. Raises MalformedMessage, for a CertRep FAILURE:
    message.algorithm for a digest or a cipher that is not taken, ``key.*`` for a signer's key that is none,
    message.integrity for a wrong signature, message.unsupported for a message type that is not one of a
    request, message.asn1 for all else. What cannot be decrypted has an empty payload.
    """
    cms_signed.verify_signer(message.signed, message.signed.signers[0], message.signer, rules.digests)
    message_type = _request_type(message.message_type)
    check_type(message_type)
    if message.sender_nonce is None:
        # RFC 8894 3.2.1: every message MUST have a senderNonce
        raise MalformedMessage("the message must have a senderNonce, an OCTET STRING of 16 bytes")
    if not message.signed.content:
        # RFC 8894 3.2: only PENDING and FAILURE have no content
        raise MalformedMessage("the message must hold a pkcsPKIEnvelope, but its signed content is empty")
    enveloped = cms.read_enveloped_data(message.signed.content)
    identity, recipient = _addressed(enveloped, identities)
    cipher = cms_enveloped.check_algorithms(enveloped, recipient, rules.ciphers)
    payload, unreadable = _decrypted(enveloped, recipient, identity)
    return ScepRequest(
        message=message,
        message_type=message_type,
        sender_nonce=message.sender_nonce,
        identity=identity,
        cipher=cipher,
        payload=payload,
        unreadable=unreadable,
    )


def _decrypted(
    enveloped: EnvelopedData, recipient: KeyTransRecipient, identity: MessageIdentity
) -> tuple[bytes, str]:
    """The plaintext; empty, with the reason for the log, where it cannot be had.

    What somebody made of another device's ciphertext must not be told from what cannot be decrypted (RFC 5652
    section 14), and so goes the same way.
    """
    try:
        return cms_enveloped.decrypt(enveloped, recipient, identity.signer), ""
    except MalformedMessage as fault:
        return b"", fault.detail


def _request_type(number: int | None) -> MessageType:
    if number is None:
        raise MalformedMessage(
            "the messageType must be a decimal number in a PrintableString",
            code=ReasonCode.MESSAGE_UNSUPPORTED,
        )
    # RFC 8894 3.2.1.2: types that are not defined MUST be treated as errors; CertRep is for answers
    if number not in _REQUEST_TYPES:
        raise MalformedMessage(
            f"the messageType {number} is none of a request that is known here",
            code=ReasonCode.MESSAGE_UNSUPPORTED,
        )
    return MessageType(number)


def read_csr(request: ScepRequest, rules: MessageRules) -> tuple[ParsedCsr, ClientKey]:
    """The CSR of a PKCSReq or RenewalReq with its proof of possession.

    Whoever changes the ciphertext of somebody else's message must not learn what became of the plaintext
    (RFC 5652 section 14, CBC without authentication), neither from the answer nor from the time that it
    takes. So one that cannot be decrypted or read costs a verification too, and is the same fault as a CSR
    whose own signature is wrong; a right one proves that nobody changed it, and other faults are told.
    Raises MalformedMessage: that one, those of ``parse_csr`` with a right signature, or key.signature-hash
    for a hash that the endpoint does not take; whether the policy takes it (``csr_signature``) is for the
    policy to say.
    """
    own, unreadable = _own_signature(request)
    try:
        own.verify(refused_hashes=_HASHES_WITHOUT_PROOF)
    except MalformedMessage as error:
        raise cms_enveloped.cannot_be_opened(unreadable or f"{error.code}: {error}") from error
    parsed = parse_csr(request.payload)
    if parsed.signature_hash in BROKEN_HASHES and parsed.signature_hash not in rules.digests:
        raise MalformedMessage(
            f"the CSR is signed with {parsed.signature_hash}, which is broken; use SHA-256 or better",
            code=ReasonCode.KEY_SIGNATURE_HASH,
            path="signature",
            detail=f"the endpoint's `digests` do not name {parsed.signature_hash}",
        )
    return parsed, ClientKey(parsed.public_key, Pop.SIGNATURE, parsed.signature_hash)


def _own_signature(request: ScepRequest) -> tuple[OwnSignature, str]:
    """The CSR's own signature; a wrong one, with the reason for the log, where there is none to verify."""
    try:
        if request.unreadable:
            raise MalformedMessage(request.unreadable)
        own = read_own_signature(request.payload)
        if own.can_match and own.algorithm.hash not in _HASHES_WITHOUT_PROOF:
            return own, ""
        why = f"the signature algorithm {own.algorithm.oid} cannot be verified with the {own.described} key"
    except MalformedMessage as error:
        why = f"{error.code}: {error}"
    return read_own_signature(_decoy(request.identity.certificate_der)), why


@lru_cache(maxsize=64)
def _decoy(certificate_der: bytes) -> bytes:
    """A CSR for the identity's key, which is RSA as those of the devices are, with a wrong signature."""
    identity = parse_certificate(certificate_der)
    octets = cms_enveloped.rsa_octets(identity)
    return der.sequence(
        der.sequence(der.integer(0), identity.subject_der, identity.spki_der, der.tlv(_CSR_ATTRIBUTES, b"")),
        der.sequence(der.oid(_SHA256_WITH_RSA), der.tlv(der.NULL, b"")),
        der.tlv(der.BIT_STRING, b"\x00" + b"\x01" * octets),  # less than any modulus of this length
    )


def read_issuer_and_serial(request: ScepRequest) -> IssuerAndSerial:
    """The payload of GetCert and GetCRL. Raises MalformedMessage, which must not be told from other answers:
    nothing proves that who sent the payload has written it."""
    reader = BerReader(request.payload)
    try:
        return cms.read_issuer_and_serial(reader, reader.whole())
    except MalformedMessage as error:
        raise cms_enveloped.cannot_be_opened(str(error)) from error
