"""X.509 times and extensions as DER (RFC 5280 sections 4.1.2.5 and 4.2), by ``gateway.pki.der``."""

from __future__ import annotations

from datetime import UTC, datetime

from ca_backend.api import PublishedUrls
from gateway.pki import der

BASIC_CONSTRAINTS = "2.5.29.19"
KEY_USAGE = "2.5.29.15"
EXTENDED_KEY_USAGE = "2.5.29.37"
SUBJECT_KEY_IDENTIFIER = "2.5.29.14"
AUTHORITY_KEY_IDENTIFIER = "2.5.29.35"
SUBJECT_ALT_NAME = "2.5.29.17"
CRL_DISTRIBUTION_POINTS = "2.5.29.31"
AUTHORITY_INFO_ACCESS = "1.3.6.1.5.5.7.1.1"
CRL_NUMBER = "2.5.29.20"
REASON_CODE = "2.5.29.21"

_OCSP, _CA_ISSUERS = "1.3.6.1.5.5.7.48.1", "1.3.6.1.5.5.7.48.2"

# Bit numbers of KeyUsage (RFC 5280 section 4.2.1.3); bit 1 has two names there
KEY_USAGE_BITS = {
    "digitalSignature": 0,
    "nonRepudiation": 1,
    "contentCommitment": 1,
    "keyEncipherment": 2,
    "dataEncipherment": 3,
    "keyAgreement": 4,
    "keyCertSign": 5,
    "cRLSign": 6,
    "encipherOnly": 7,
    "decipherOnly": 8,
}


def extension(oid: str, value_der: bytes, *, critical: bool = False) -> bytes:
    """One Extension; DER leaves ``critical`` out where it is FALSE (X.690 section 11.5)."""
    flag = b"\x01\x01\xff" if critical else b""
    return der.tlv(der.SEQUENCE, der.oid(oid) + flag + der.tlv(der.OCTET_STRING, value_der))


def basic_constraints(*, ca: bool, path_length: int | None = None) -> bytes:
    """BasicConstraints, critical (RFC 5280 section 4.2.1.9)."""
    content = b""
    if ca:
        content = b"\x01\x01\xff" + (b"" if path_length is None else der.integer(path_length))
    return extension(BASIC_CONSTRAINTS, der.tlv(der.SEQUENCE, content), critical=True)


def key_usage(names: tuple[str, ...]) -> bytes:
    """KeyUsage, critical, from RFC 5280 bit names. Raises KeyError for an unknown one, ValueError if none."""
    bits = 0
    for name in names:
        bits |= 0x8000 >> KEY_USAGE_BITS[name]
    if not bits:
        raise ValueError("a key usage extension needs at least one bit")  # RFC 5280 section 4.2.1.3
    octets = bits.to_bytes(2, "big").rstrip(b"\0")
    unused = (octets[-1] & -octets[-1]).bit_length() - 1  # X.690 11.2.2: no trailing zero bits
    return extension(KEY_USAGE, der.tlv(der.BIT_STRING, bytes((unused,)) + octets), critical=True)


def extended_key_usage(oids: tuple[str, ...]) -> bytes:
    """ExtKeyUsageSyntax, not critical (RFC 5280 section 4.2.1.12)."""
    return extension(EXTENDED_KEY_USAGE, der.sequence(*(der.oid(oid) for oid in oids)))


def subject_key_identifier(identifier: bytes) -> bytes:
    """SubjectKeyIdentifier (RFC 5280 section 4.2.1.2)."""
    return extension(SUBJECT_KEY_IDENTIFIER, der.tlv(der.OCTET_STRING, identifier))


def authority_key_identifier(identifier: bytes) -> bytes:
    """AuthorityKeyIdentifier with the keyIdentifier alone (RFC 5280 section 4.2.1.1)."""
    return extension(AUTHORITY_KEY_IDENTIFIER, der.sequence(der.tlv(0x80, identifier)))


def publication(urls: PublishedUrls) -> dict[str, bytes]:
    """CRLDistributionPoints and AuthorityInfoAccess, by OID (RFC 5280 sections 4.2.1.13 and 4.2.2.1)."""
    full_name = der.tlv(0xA0, _uri(urls.crl))
    points = der.sequence(der.sequence(der.tlv(0xA0, full_name)))
    access = der.sequence(
        der.sequence(der.oid(_OCSP), _uri(urls.ocsp)),
        der.sequence(der.oid(_CA_ISSUERS), _uri(urls.ca_issuers)),
    )
    return {
        CRL_DISTRIBUTION_POINTS: extension(CRL_DISTRIBUTION_POINTS, points),
        AUTHORITY_INFO_ACCESS: extension(AUTHORITY_INFO_ACCESS, access),
    }


def time(moment: datetime) -> bytes:
    """Time: UTCTime through 2049, GeneralizedTime from 2050 on (RFC 5280 section 4.1.2.5), whole seconds.

    Raises ValueError for a time before 1950 and for one without a zone.
    """
    if moment.tzinfo is not UTC:
        if moment.utcoffset() is None:
            raise ValueError("a time in a certificate needs a zone")
        moment = moment.astimezone(UTC)
    year = moment.year
    rest = f"{moment.month:02}{moment.day:02}{moment.hour:02}{moment.minute:02}{moment.second:02}Z".encode()
    if year >= 2050:
        return b"\x18\x0f%04d" % year + rest
    if year < 1950:
        raise ValueError("a certificate cannot hold a time before 1950")
    return b"\x17\x0d%02d" % (year % 100) + rest


def signed(tbs_der: bytes, algorithm_der: bytes, signature: bytes) -> bytes:
    """SIGNED{}: signed bytes, algorithm and signature as a BIT STRING (RFC 5280 section 4.1.1)."""
    return der.tlv(der.SEQUENCE, tbs_der + algorithm_der + der.tlv(der.BIT_STRING, b"\0" + signature))


def _uri(address: str) -> bytes:
    return der.tlv(0x86, address.encode("ascii"))
