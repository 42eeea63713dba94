"""DER of the extensions that policy sets, and what it must read of requested ones (RFC 5280 section 4.2)."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.errors import MalformedMessage
from gateway.model.enrolment import Extension
from gateway.pki import der
from gateway.pki.oids import oid_der, read_oid

CERTIFICATE_POLICIES = "2.5.29.32"
CRL_DISTRIBUTION_POINTS = "2.5.29.31"
AUTHORITY_INFO_ACCESS = "1.3.6.1.5.5.7.1.1"
TLS_FEATURE = "1.3.6.1.5.5.7.1.24"  # id-pe-tlsfeature (RFC 7633 section 4)

# RFC 5280 section 4.2.2.1: id-ad-ocsp, id-ad-caIssuers
ACCESS_METHODS = {"ocsp": "1.3.6.1.5.5.7.48.1", "ca_issuers": "1.3.6.1.5.5.7.48.2"}
_STATUS_REQUEST = 5  # RFC 7633 section 4.2.2: the status_request extension of TLS
KEY_CERT_SIGN, CRL_SIGN = 5, 6
_BITS = (
    *("digitalSignature", "nonRepudiation", "keyEncipherment", "dataEncipherment", "keyAgreement"),
    *("keyCertSign", "cRLSign", "encipherOnly", "decipherOnly"),
)


def certificate_policies(oids: Iterable[str]) -> Extension:
    """certificatePolicies without qualifiers (RFC 5280 section 4.2.1.4)."""
    value = der.sequence(*(der.sequence(oid_der(oid)) for oid in oids))
    return Extension(CERTIFICATE_POLICIES, critical=False, value_der=value)


def crl_distribution_points(urls: Iterable[str]) -> Extension:
    """One distribution point, whose CRL is found at each of these URLs (RFC 5280 section 4.2.1.13)."""
    full_name = der.tlv(0xA0, b"".join(_uri(url) for url in urls))
    value = der.sequence(der.sequence(der.tlv(0xA0, full_name)))
    return Extension(CRL_DISTRIBUTION_POINTS, critical=False, value_der=value)


def authority_info_access(methods: Iterable[tuple[str, Iterable[str]]]) -> Extension:
    """URLs by method, ``ocsp`` or ``ca_issuers`` (RFC 5280 section 4.2.2.1). Raises KeyError for others."""
    described = [
        der.sequence(oid_der(ACCESS_METHODS[name]), _uri(url)) for name, urls in methods for url in urls
    ]
    return Extension(AUTHORITY_INFO_ACCESS, critical=False, value_der=der.sequence(*described))


def must_staple() -> Extension:
    """The TLS feature extension that asks for a stapled OCSP response (RFC 7633)."""
    value = der.sequence(der.integer(_STATUS_REQUEST))
    return Extension(TLS_FEATURE, critical=False, value_der=value)


def asks_for_ca(value_der: bytes) -> bool:
    """Whether a BasicConstraints value says CA:TRUE (RFC 5280 section 4.2.1.9). Raises MalformedMessage."""
    parts = _sequence(value_der, "basicConstraints")
    if not parts or parts[0][0] != der.BOOLEAN:
        return False
    # X.690 section 8.2.2: in BER every octet but zero is TRUE; a refusal must not depend on strict DER
    return any(value_der[parts[0][2] : parts[0][3]])


def key_usage_bits(value_der: bytes) -> tuple[str, ...]:
    """The names of the bits that are set (RFC 5280 section 4.2.1.3). Raises MalformedMessage."""
    tag, start, end = der.read_tlv(value_der)
    if tag != der.BIT_STRING or end != len(value_der) or end - start < 1 or value_der[start] > 7:
        raise MalformedMessage("the requested keyUsage is no BIT STRING")
    octets = value_der[start + 1 : end]
    found = [
        name
        for bit, name in enumerate(_BITS)
        if bit >> 3 < len(octets) and octets[bit >> 3] << (bit & 7) & 0x80
    ]
    return tuple(found)


def extended_key_usage_oids(value_der: bytes) -> tuple[str, ...]:
    """The OIDs of an ExtKeyUsageSyntax (RFC 5280 section 4.2.1.12). Raises MalformedMessage."""
    oids = []
    for tag, _, start, end in _sequence(value_der, "extendedKeyUsage"):
        if tag != der.OID:
            raise MalformedMessage("the requested extendedKeyUsage holds something that is no OID")
        oids.append(read_oid(value_der[start:end]))
    return tuple(oids)


def _sequence(value_der: bytes, name: str) -> list[tuple[int, int, int, int]]:
    tag, start, end = der.read_tlv(value_der)
    if tag != der.SEQUENCE or end != len(value_der):
        raise MalformedMessage(f"the requested {name} is no SEQUENCE")
    return der.children(value_der, start, end)


def _uri(address: str) -> bytes:
    return der.tlv(0x86, address.encode("ascii"))
