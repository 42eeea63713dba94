"""CertRep (RFC 8894 section 3.3.2): the answers to requests; no I/O.

What a SUCCESS carries is made by ``gateway.pki.cms``: ``certs_only`` or ``crls_only``.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Literal

from gateway.asn1 import der
from gateway.frontend import MessageIdentity
from gateway.pki import cms_enveloped, cms_signed
from gateway.scep import attributes
from gateway.scep.message import MessageRules, MessageType, PkiStatus, SignedMessage


@dataclass(frozen=True, slots=True)
class Success:
    """``content_der`` is a degenerate SignedData; it is encrypted to the signer of the request only."""

    content_der: bytes = field(repr=False)
    cipher: str  # that of the request


@dataclass(frozen=True, slots=True)
class Failure:
    """``fail_info`` is a number of RFC 8894 table 5; without ``text`` no failInfoText is sent."""

    fail_info: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class Pending:
    """The request waits: poll for it (section 3.3.2.3)."""


def can_be_answered(message: SignedMessage) -> bool:
    """Whether a SUCCESS can be encrypted to the signer's key: RSA only. Ask it before anything is issued."""
    return cms_enveloped.is_rsa(message.signer)


def write_reply(
    message: SignedMessage,
    identity: MessageIdentity,
    content: Success | Failure | Pending,
    rules: MessageRules,
    *,
    empty_content: Literal["empty", "omit"] = "empty",
) -> bytes:
    """The CertRep as DER, signed by ``identity``; with a fresh senderNonce, and the request's given back.

    It is signed with the request's digest where that is taken, else with the first that is. ``empty_content``
    is what stands for the content of FAILURE and PENDING. Raises ValueError for a SUCCESS to a signer that
    ``can_be_answered`` denies.
    """
    # RFC 8894 3.3.2: the envelope MUST be left out, but some clients take a message without eContent for none
    octets = b"" if empty_content == "empty" else None
    more: list[tuple[str, bytes]] = []
    match content:
        case Success(content_der, cipher):
            status = PkiStatus.SUCCESS
            octets = cms_enveloped.envelop(content_der, message.signer, cipher)
        case Failure(fail_info, text):
            status = PkiStatus.FAILURE
            more.append((attributes.FAIL_INFO, attributes.printable(str(int(fail_info)))))
            if text:
                text_der = der.tlv(der.UTF8_STRING, text.encode("utf-8", "replace"))
                more.append((attributes.FAIL_INFO_TEXT, text_der))
        case Pending():
            status = PkiStatus.PENDING
    if message.sender_nonce is not None:
        more.append((attributes.RECIPIENT_NONCE, der.tlv(der.OCTET_STRING, message.sender_nonce)))
    nonce = secrets.token_bytes(attributes.NONCE_OCTETS)
    return cms_signed.sign(
        octets,
        (
            (attributes.MESSAGE_TYPE, attributes.printable(str(int(MessageType.CERT_REP)))),
            (attributes.TRANSACTION_ID, message.transaction_id_der),
            (attributes.PKI_STATUS, attributes.printable(str(int(status)))),
            (attributes.SENDER_NONCE, der.tlv(der.OCTET_STRING, nonce)),
            *more,
        ),
        certificate_der=identity.certificate_der,
        signer=identity.signer,
        digest=message.digest if message.digest in rules.digests else rules.digests[0],
    )
