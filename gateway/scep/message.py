"""Requests as pkiMessages (RFC 8894 section 3.2), read in two steps; no I/O.

``read_pki_message`` needs no key: what it refuses cannot be answered by a CertRep. ``open_pki_message``
verifies and decrypts: what it refuses becomes a CertRep FAILURE to the message that the first step gave.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from gateway.asn1 import cms
from gateway.asn1.ber import BerReader
from gateway.asn1.cms import EnvelopedData, IssuerAndSerial, KeyTransRecipient, SignedData
from gateway.errors import MalformedMessage
from gateway.frontend import MessageIdentity
from gateway.model.keys import ClientKey
from gateway.model.reasons import ReasonCode
from gateway.pki import cms_enveloped, cms_signed
from gateway.pki.certificate import ParsedCertificate
from gateway.pki.csr import ParsedCsr, parse_csr, verify_own_signature, verify_possession
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
_WITH_CSR = frozenset({MessageType.PKCS_REQ, MessageType.RENEWAL_REQ, MessageType.UPDATE_REQ})


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
    """A verified and decrypted request. ``payload`` is what ``read_csr`` and its like read; empty for one
    without CSR that cannot be decrypted."""

    message: SignedMessage
    message_type: MessageType
    sender_nonce: bytes
    identity: MessageIdentity  # the one that it was encrypted to
    cipher: str
    payload: bytes = field(repr=False)


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
    request, message.asn1 for all else. Whatever goes wrong in decryption is one and the same fault.
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
    return ScepRequest(
        message=message,
        message_type=message_type,
        sender_nonce=message.sender_nonce,
        identity=identity,
        cipher=cipher,
        payload=_decrypted(message_type, enveloped, recipient, identity),
    )


def _decrypted(
    message_type: MessageType,
    enveloped: EnvelopedData,
    recipient: KeyTransRecipient,
    identity: MessageIdentity,
) -> bytes:
    try:
        return cms_enveloped.decrypt(enveloped, recipient, identity.signer)
    except MalformedMessage:
        if message_type in _WITH_CSR:
            raise
        # Nothing in these is signed by whoever wrote it: what somebody made of another device's ciphertext
        # must not be told from what cannot be decrypted (RFC 5652 section 14), and so goes the same way.
        return b""


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
    (RFC 5652 section 14, CBC without authentication). So a CSR that cannot be read, or whose own signature
    is wrong, is the same fault as one that cannot be decrypted; a right one proves that nobody changed it,
    and other faults are told. Raises MalformedMessage: that one, those of ``parse_csr`` with a right
    signature, or key.signature-hash for a hash that the endpoint does not take; whether the policy takes it
    (``csr_signature``) is for the policy to say.
    """
    try:
        parsed = parse_csr(request.payload)
        key = verify_possession(parsed, refused_hashes=_HASHES_WITHOUT_PROOF)
    except MalformedMessage as fault:
        try:
            verify_own_signature(request.payload, refused_hashes=_HASHES_WITHOUT_PROOF)
        except MalformedMessage as error:
            raise cms_enveloped.cannot_be_opened(f"{error.code}: {error}") from error
        raise fault from None
    if parsed.signature_hash in BROKEN_HASHES and parsed.signature_hash not in rules.digests:
        raise MalformedMessage(
            f"the CSR is signed with {parsed.signature_hash}, which is broken; use SHA-256 or better",
            code=ReasonCode.KEY_SIGNATURE_HASH,
            path="signature",
            detail=f"the endpoint's `digests` do not name {parsed.signature_hash}",
        )
    return parsed, key


def read_issuer_and_serial(request: ScepRequest) -> IssuerAndSerial:
    """The payload of GetCert and GetCRL. Raises MalformedMessage, which must not be told from other answers:
    nothing proves that who sent the payload has written it."""
    reader = BerReader(request.payload)
    try:
        return cms.read_issuer_and_serial(reader, reader.whole())
    except MalformedMessage as error:
        raise cms_enveloped.cannot_be_opened(str(error)) from error
