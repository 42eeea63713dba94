"""Message identities that an administrator brings: read, and held against what the protocol needs."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.datadir import resolve_secret
from gateway.errors import ConfigurationError, MalformedMessage, SecretUnavailable
from gateway.message_identity import IdentityFiles, IdentityKind, MessageIdentity
from gateway.model.keys import KeyType, PublicKey
from gateway.pki.certificate import ParsedCertificate, parse_certificate
from gateway.pki.issued_by import verify_issued_by
from gateway.pki.keyfile import signer_from_pem
from gateway.pki.keys import public_key
from gateway.pki.oids import ANY_EXTENDED_KEY_USAGE, EXTENDED_KEY_USAGE, KEY_USAGE

LEAST_RSA_BITS = 2048


def read_identity(
    files: IdentityFiles, kind: IdentityKind, base: Path, ca_chain_der: tuple[bytes, ...]
) -> MessageIdentity:
    """Read and check all but its times. ``ca_chain_der`` is behind a certificate that comes without issuers.

    Raises ConfigurationError with what is wrong and what to do.
    """
    path = _certificates(files, base)
    certificate, chain = path[0], path[1:]
    if not chain:
        chain = tuple(parse_certificate(one) for one in ca_chain_der)
    try:
        for lower, upper in pairwise((certificate, *chain)):
            verify_issued_by(lower, upper)
    except MalformedMessage as error:
        raise ConfigurationError(
            f"{files.certificate}: {lower.subject} was not issued by {upper.subject}; put the certificate of "
            "its issuer behind it, and so on up to the root",
            detail=str(error),
        ) from error
    try:
        passphrase = resolve_secret(files.passphrase, base) if files.passphrase else None
        signer = signer_from_pem(resolve_secret(files.key, base), passphrase, files.key)
    except SecretUnavailable as error:
        raise ConfigurationError(str(error), detail=error.detail) from error
    if signer.public_key.spki_der != certificate.spki_der:
        raise ConfigurationError(
            f"{files.key}: is not the key of {files.certificate}; name the two that belong together"
        )
    if problem := unfit(certificate, kind):
        raise ConfigurationError(f"{files.certificate}: {problem}; have one issued for {kind.label}")
    return MessageIdentity(certificate.certificate_der, tuple(one.certificate_der for one in chain), signer)


def require_in_time(files: IdentityFiles, identity: MessageIdentity, now: datetime) -> None:
    """Raises ConfigurationError for a certificate that has expired or is not yet valid."""
    certificate = parse_certificate(identity.certificate_der)
    if now < certificate.not_before:
        raise ConfigurationError(
            f"{files.certificate}: is valid from {certificate.not_before:%Y-%m-%d %H:%M} UTC on, not yet; "
            "correct this machine's clock, or keep the earlier one until then"
        )
    if now > certificate.not_after:
        raise ConfigurationError(
            f"{files.certificate}: expired on {certificate.not_after:%Y-%m-%d %H:%M} UTC; have it renewed, "
            "or take `identity` out of the endpoint, and the gateway makes one by itself"
        )


def unfit(certificate: ParsedCertificate, kind: IdentityKind) -> str:
    """What keeps a certificate from being an identity of this kind, in words; "" where it is one.

    Usage extensions that are absent bound nothing (RFC 5280 sections 4.2.1.3 and 4.2.1.12).
    """
    try:
        key = public_key(certificate.spki_der)
    except MalformedMessage as error:
        return f"its key cannot be used: {error}"
    if certificate.is_ca:
        return "is a CA certificate, whose key is for certificates only"
    if problem := _unfit_key(key, kind):
        return problem
    if KEY_USAGE in certificate.extension_oids:
        missing = [bit for bit in kind.key_usage if bit not in certificate.key_usage]
        if missing:
            return f"its key usage lacks {' and '.join(missing)}"
    if kind.extended_key_usage and EXTENDED_KEY_USAGE in certificate.extension_oids:
        allowed = {*certificate.extended_key_usage}
        if ANY_EXTENDED_KEY_USAGE not in allowed and allowed.isdisjoint(kind.extended_key_usage):
            return f"its extended key usage lacks {' or '.join(kind.extended_key_usage)}"
    return ""


def _unfit_key(key: PublicKey, kind: IdentityKind) -> str:
    if key.type is KeyType.RSA:
        return (
            f"its key is {key}; {LEAST_RSA_BITS} bits are the least" if key.size_bits < LEAST_RSA_BITS else ""
        )
    if "keyEncipherment" in kind.key_usage:
        return f"its key is {key}, and only an RSA key can decrypt what clients send"
    return ""


def _certificates(files: IdentityFiles, base: Path) -> tuple[ParsedCertificate, ...]:
    try:
        pem = resolve_secret(files.certificate, base, others_may_read=True)
        loaded = x509.load_pem_x509_certificates(pem)
        return tuple(parse_certificate(certificate.public_bytes(Encoding.DER)) for certificate in loaded)
    except SecretUnavailable as error:
        raise ConfigurationError(str(error), detail=error.detail) from error
    except (ValueError, MalformedMessage) as error:
        raise ConfigurationError(
            f"{files.certificate}: holds no readable PEM certificate; put the gateway's own there, then "
            "its issuers",
            detail=str(error),
        ) from error
