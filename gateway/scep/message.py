"""Requests as pkiMessages (RFC 8894 section 3.2), read in two steps; no I/O.

``read_pki_message`` needs no key: what it refuses cannot be answered by a CertRep. ``open_pki_message``
verifies and decrypts: what it refuses becomes a CertRep FAILURE to the message that the first step gave.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from gateway.frontend import MessageIdentity
from gateway.model.keys import ClientKey
from gateway.pki.certificate import ParsedCertificate
from gateway.pki.csr import ParsedCsr


class MessageType(IntEnum):
    """RFC 8894 section 3.2.1.2. UPDATE_REQ is of older drafts: a renewal, as RENEWAL_REQ is now."""

    CERT_REP = 3
    RENEWAL_REQ = 17
    UPDATE_REQ = 18
    PKCS_REQ = 19
    CERT_POLL = 20
    GET_CERT = 21
    GET_CRL = 22


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


@dataclass(frozen=True, slots=True)
class ScepRequest:
    """A verified and decrypted request. ``payload`` is what ``read_csr`` and its like read."""

    message: SignedMessage
    message_type: MessageType
    sender_nonce: bytes
    identity: MessageIdentity  # the one that it was encrypted to
    cipher: str
    payload: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class IssuerAndSubject:
    """RFC 8894 section 3.3.3; both are whole Names as DER."""

    issuer_der: bytes
    subject_der: bytes


@dataclass(frozen=True, slots=True)
class IssuerAndSerial:
    """RFC 5652 section 10.2.4; the issuer is a whole Name as DER."""

    issuer_der: bytes
    serial: int


def read_pki_message(octets: bytes) -> SignedMessage:
    """Read the SignedData and its attributes. Raises MalformedMessage, for HTTP 400."""
    raise NotImplementedError


def addressed_identity(message: SignedMessage, identities: Sequence[MessageIdentity]) -> MessageIdentity:
    """The identity that the message is encrypted to, else the first: by it answers are signed.

    Never raises MalformedMessage: this is for refusals too. Raises ValueError if there are no identities.
    """
    raise NotImplementedError


def open_pki_message(
    message: SignedMessage, identities: Sequence[MessageIdentity], rules: MessageRules
) -> ScepRequest:
    """Verify the signature, then decrypt. Two RSA operations at most: one public, one private.

    Raises MalformedMessage, for a CertRep FAILURE: message.algorithm for a digest, a key or a cipher that is
    not taken, message.integrity for a wrong signature, message.unsupported for a message type that is not
    one of a request, message.asn1 for all else. Whatever goes wrong in decryption is one and the same fault.
    """
    raise NotImplementedError


def read_csr(request: ScepRequest, rules: MessageRules) -> tuple[ParsedCsr, ClientKey]:
    """The CSR of a PKCSReq or RenewalReq with its proof of possession.

    Whoever changes the ciphertext of somebody else's message must not learn what became of the plaintext
    (RFC 5652 section 14, CBC without authentication). So a CSR that cannot be read, or whose own signature
    is wrong, is the same fault as one that cannot be decrypted. Raises MalformedMessage: that one, or
    key.signature-hash for a hash that is not taken.
    """
    raise NotImplementedError


def read_issuer_and_subject(request: ScepRequest) -> IssuerAndSubject:
    """The payload of a CertPoll. Raises MalformedMessage: the same fault as one that cannot be decrypted."""
    raise NotImplementedError


def read_issuer_and_serial(request: ScepRequest) -> IssuerAndSerial:
    """The payload of GetCert and GetCRL. Raises MalformedMessage as ``read_issuer_and_subject`` does."""
    raise NotImplementedError
