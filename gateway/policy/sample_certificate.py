"""Certificates that nobody has issued: the bytes that rules read names, key and dates from.

Their signature is empty: what stands in a sample request counts as verified, or as refused, by its word.
"""

from __future__ import annotations

from datetime import datetime

from gateway.model.names import DistinguishedName, GeneralName
from gateway.pki import der
from gateway.pki.names import encode_general_names, encode_name
from gateway.pki.oids import SUBJECT_ALT_NAME, oid_der

_VERSION, _EXTENSIONS, _GENERALIZED_TIME = 0xA0, 0xA3, 0x18
_V3 = der.tlv(_VERSION, der.integer(2))
_ECDSA_SHA256 = der.sequence(oid_der("1.2.840.10045.4.3.2"))
_NO_SIGNATURE = der.tlv(der.BIT_STRING, b"\x00")


def sample_certificate(
    subject: DistinguishedName,
    sans: tuple[GeneralName, ...],
    spki_der: bytes,
    not_before: datetime,
    not_after: datetime,
) -> bytes:
    """A Certificate as DER (RFC 5280 section 4.1) with these fields, an empty issuer and no signature."""
    extensions = b""
    if sans:
        value = der.tlv(der.OCTET_STRING, encode_general_names(sans))
        one = der.sequence(oid_der(SUBJECT_ALT_NAME), value)
        extensions = der.tlv(_EXTENSIONS, der.sequence(one))
    content = der.sequence(
        _V3,
        der.integer(1),
        _ECDSA_SHA256,
        der.sequence(),
        der.sequence(_time(not_before), _time(not_after)),
        encode_name(subject),
        spki_der,
        extensions,
    )
    return der.sequence(content, _ECDSA_SHA256, _NO_SIGNATURE)


def _time(moment: datetime) -> bytes:
    return der.tlv(_GENERALIZED_TIME, f"{moment:%Y%m%d%H%M%SZ}".encode())
