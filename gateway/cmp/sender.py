"""Who protected a message (RFC 9810 section 5.1.3, RFC 9483 section 3.2): possession is proven here.

Whether that one may ask for something is policy's matter.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.asn1 import der
from gateway.asn1.cmp import PkiHeader, PkiMessage
from gateway.asn1.cmp_status import PkiFailureInfo
from gateway.cmp.errors import CmpRefusal
from gateway.cmp.exchange import Exchange
from gateway.cmp.options import CMP
from gateway.cmp.protection import (
    MacProtection,
    ProtectionKind,
    SignatureProtection,
    mac_is_right,
    read_protection,
    signature_is_right,
)
from gateway.errors import GatewayError, MalformedMessage
from gateway.model.evidence import (
    CredentialKind,
    PresentedCertificate,
    PresentedCredential,
    PresentedMac,
    SharedSecret,
)
from gateway.model.names import CN_OID, DistinguishedName
from gateway.model.reasons import ReasonCode
from gateway.pki.certificate import ParsedCertificate, parse_certificate
from gateway.pki.names import decode_name, names_match

DIRECTORY_NAME = 0xA4
_MAX_CHAIN = 10  # as many certificates as anybody reads of a chain
_MAX_REFERENCE_CHARACTERS = 256


@dataclass(frozen=True, slots=True)
class MacSender:
    """Whoever has this shared secret."""

    secret: SharedSecret
    protection: MacProtection = field(repr=False)

    @property
    def kind(self) -> ProtectionKind:
        return self.protection.kind

    @property
    def key(self) -> bytes:
        """What transactions of this sender are known by."""
        return b"mac:" + self.secret.credential_id.encode()


@dataclass(frozen=True, slots=True)
class SigningSender:
    """Whoever has the key of this certificate, which is not yet trusted. ``chain_der`` begins with it."""

    certificate: ParsedCertificate
    chain_der: tuple[bytes, ...] = field(repr=False)

    @property
    def kind(self) -> ProtectionKind:
        return ProtectionKind.SIGNATURE

    @property
    def key(self) -> bytes:
        """What transactions of this sender are known by."""
        return bytes.fromhex(self.certificate.spki_sha256)


Sender = MacSender | SigningSender


async def proven_sender(exchange: Exchange, message: PkiMessage) -> Sender:
    """Verify the protection of a message.

    Raises GatewayError (message.integrity, message.algorithm, message.asn1, auth.failed,
    auth.credential-scope, auth.signature), RetryLater with auth.throttled, Overloaded, StoreUnavailable.
    """
    protection = read_protection(message, exchange.options.mac.limits)
    match protection:
        case None:
            # RFC 9483 3.2: every request is protected, by a shared secret or a signature
            raise GatewayError(
                "the message is not protected; protect it with a shared secret or sign it",
                code=ReasonCode.MESSAGE_INTEGRITY,
                path="protection",
            )
        case MacProtection():
            return await _mac_sender(exchange, message, protection)
        case SignatureProtection():
            return _signing_sender(exchange, message, protection)


def presented(sender: Sender, kind: CredentialKind) -> tuple[PresentedCredential, ...]:
    """The sender's credential for policy; ``kind`` is what a certificate counts as."""
    if isinstance(sender, MacSender):
        return (PresentedMac(sender.secret.credential_id, sender.secret.name),)
    return (PresentedCertificate(sender.chain_der, kind),)


async def _mac_sender(exchange: Exchange, message: PkiMessage, protection: MacProtection) -> MacSender:
    reference = _reference(message.header)
    secret = await exchange.services.shared_secrets.verify(
        CMP,
        exchange.endpoint,
        reference,
        lambda candidate: mac_is_right(protection, candidate, exchange.keys),
        exchange.request.remote(message.body_type.rfc_name),
    )
    if exchange.options.strictness == "strict" and _common_name(message.header) != reference:
        # RFC 9483 3.1: the sender's CN repeats the senderKID
        raise GatewayError(
            "the sender must be a directoryName whose CN is the reference in senderKID",
            code=ReasonCode.MESSAGE_INTEGRITY,
            path="sender",
        )
    return MacSender(secret, protection)


def _signing_sender(
    exchange: Exchange, message: PkiMessage, protection: SignatureProtection
) -> SigningSender:
    if not message.extra_certs:
        # RFC 9483 3.3: the certificate that protects comes first in extraCerts
        raise GatewayError(
            "the message is signed, but its extraCerts do not begin with the certificate of the key that "
            "signed it",
            code=ReasonCode.MESSAGE_INTEGRITY,
            path="extraCerts",
        )
    try:
        certificate = parse_certificate(message.extra_certs[0])
        right = signature_is_right(protection, certificate.spki_der)
    except MalformedMessage as exc:
        exc.path = exc.path or "extraCerts[0]"
        raise
    if not right:
        raise GatewayError(
            "the signature of the message was not made with the key of the first certificate in extraCerts",
            code=ReasonCode.AUTH_SIGNATURE,
            path="protection",
        )
    _check_names_signer(exchange, message.header, certificate)
    if certificate.key_usage and "digitalSignature" not in certificate.key_usage:
        # RFC 9483 1.5: a certificate with keyUsage may sign only if digitalSignature is set
        raise CmpRefusal(
            PkiFailureInfo.SIGNER_NOT_TRUSTED,
            "the certificate that protects the message may not sign (its keyUsage lacks digitalSignature)",
            code=ReasonCode.AUTH_CERTIFICATE_USAGE,
            path="extraCerts[0]",
        )
    return SigningSender(certificate, message.extra_certs[:_MAX_CHAIN])


def _check_names_signer(exchange: Exchange, header: PkiHeader, certificate: ParsedCertificate) -> None:
    """RFC 9483 section 3.1: sender is the subject of the certificate, senderKID its subjectKeyIdentifier."""
    wanted, named = certificate.subject_key_identifier, header.sender_kid
    if named != wanted and (exchange.options.strictness == "strict" or (named and wanted)):
        raise GatewayError(
            "senderKID is not the subjectKeyIdentifier of the certificate that protects the message",
            code=ReasonCode.MESSAGE_INTEGRITY,
            path="senderKID",
        )
    sender_der = directory_name(header.sender_der)
    if sender_der != certificate.subject_der and (
        sender_der is None or not names_match(decode_name(sender_der), certificate.subject)
    ):
        raise GatewayError(
            f'the sender is not "{certificate.subject}", the subject of the certificate that protects the '
            "message",
            code=ReasonCode.MESSAGE_INTEGRITY,
            path="sender",
        )


def directory_name(general_name_der: bytes) -> bytes | None:
    """The Name of a GeneralName, None if it holds something else."""
    if general_name_der[0] != DIRECTORY_NAME:
        return None
    return general_name_der[der.read_tlv(general_name_der)[1] :]


def _reference(header: PkiHeader) -> str:
    """The reference of the shared secret: the senderKID, else the sender's CN (RFC 9810 section 5.1.1)."""
    if header.sender_kid is not None:
        return header.sender_kid.decode("utf-8", "replace")[:_MAX_REFERENCE_CHARACTERS]
    return (_common_name(header) or "")[:_MAX_REFERENCE_CHARACTERS]


def _common_name(header: PkiHeader) -> str | None:
    name_der = directory_name(header.sender_der)
    name = DistinguishedName() if name_der is None else decode_name(name_der)
    values = name.values(CN_OID)
    return values[0] if len(values) == 1 else None
