"""CMS structures (RFC 5652) as DER. What is written here can be read by ``gateway.asn1.cms``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from gateway.asn1 import der
from gateway.asn1.cms import (
    DATA,
    ENVELOPED_DATA,
    SIGNED_DATA,
    AlgorithmIdentifier,
    CertificateId,
    EnvelopedData,
    IssuerAndSerial,
    SignerInfo,
)

_CONTEXT_0, _CONTEXT_1 = 0xA0, 0xA1
_IMPLICIT_STRING_0 = 0x80
_oid_der = lru_cache(maxsize=256)(der.oid)


def algorithm_der(algorithm: AlgorithmIdentifier) -> bytes:
    return der.sequence(_oid_der(algorithm.oid), algorithm.parameters_der)


def attribute_der(oid: str, value_der: bytes) -> bytes:
    """An Attribute of one value."""
    return der.sequence(_oid_der(oid), der.tlv(der.SET, value_der))


def issuer_and_serial_der(rid: IssuerAndSerial) -> bytes:
    return der.sequence(rid.issuer_der, der.integer(rid.serial))


def signed_data_der(content: bytes | None, certificates_der: Sequence[bytes], signer: SignerInfo) -> bytes:
    """A ContentInfo with a SignedData of one signer over content of type id-data (None: eContent is absent).

    ``signer.signed_set`` stands in it as it is. The order of the certificates is kept.
    """
    data = b"" if content is None else der.tlv(_CONTEXT_0, der.tlv(der.OCTET_STRING, content))
    digest_der = algorithm_der(signer.digest)
    signer_der = der.sequence(
        der.integer(1 if isinstance(signer.sid, IssuerAndSerial) else 3),
        _certificate_id_der(signer.sid),
        digest_der,
        bytes((_CONTEXT_0,)) + signer.signed_set[1:],
        algorithm_der(signer.signature_algorithm),
        der.tlv(der.OCTET_STRING, signer.signature),
    )
    return _content_info(
        SIGNED_DATA,
        der.integer(1 if isinstance(signer.sid, IssuerAndSerial) else 3),
        der.tlv(der.SET, digest_der),
        der.sequence(_oid_der(DATA), data),
        der.tlv(_CONTEXT_0, b"".join(certificates_der)),
        der.tlv(der.SET, signer_der),
    )


def enveloped_data_der(enveloped: EnvelopedData) -> bytes:
    """A ContentInfo with an EnvelopedData whose content type is id-data."""
    by_issuer = all(isinstance(each.rid, IssuerAndSerial) for each in enveloped.recipients)
    recipients = (
        der.sequence(
            der.integer(0 if isinstance(each.rid, IssuerAndSerial) else 2),
            _certificate_id_der(each.rid),
            algorithm_der(each.algorithm),
            der.tlv(der.OCTET_STRING, each.encrypted_key),
        )
        for each in enveloped.recipients
    )
    return _content_info(
        ENVELOPED_DATA,
        der.integer(0 if by_issuer else 2),
        der.set_of(recipients),
        der.sequence(
            _oid_der(DATA),
            algorithm_der(enveloped.algorithm),
            der.tlv(_IMPLICIT_STRING_0, enveloped.encrypted_content),
        ),
    )


def _content_info(content_type: str, *fields: bytes) -> bytes:
    return der.sequence(_oid_der(content_type), der.tlv(_CONTEXT_0, der.sequence(*fields)))


def _certificate_id_der(rid: CertificateId) -> bytes:
    if isinstance(rid, IssuerAndSerial):
        return issuer_and_serial_der(rid)
    return der.tlv(_IMPLICIT_STRING_0, rid.octets)
