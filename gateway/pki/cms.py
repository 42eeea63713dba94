"""Certificates or a CRL in a degenerate SignedData (RFC 5652 section 5.1, RFC 7030 4.1.3, RFC 8894 3.4)."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.errors import MalformedMessage
from gateway.pki import der

_SIGNED_DATA = der.oid("1.2.840.113549.1.7.2")
_DATA = der.oid("1.2.840.113549.1.7.1")
# version 1, no digest algorithms, eContentType id-data without eContent (RFC 5652 section 5.1)
_BEFORE_CERTIFICATES = der.integer(1) + der.tlv(der.SET, b"") + der.sequence(_DATA)
_NO_SIGNER_INFOS = der.tlv(der.SET, b"")
_CONTEXT_0, _CONTEXT_1 = 0xA0, 0xA1


def certs_only(certificates: Sequence[bytes]) -> bytes:
    """Pack DER certificates into a degenerate SignedData.

    The order is kept, although DER would sort a SET: clients take the first as theirs. Raises ValueError if
    there is none.
    """
    if not certificates:
        raise ValueError("a certs-only message needs at least one certificate")
    return _degenerate(der.tlv(_CONTEXT_0, b"".join(certificates)))


def crls_only(crl_der: bytes) -> bytes:
    """Pack a DER CRL into a degenerate SignedData without certificates (RFC 8894 section 4.6.1)."""
    return _degenerate(der.tlv(_CONTEXT_1, crl_der))


def _degenerate(certificates_or_crls: bytes) -> bytes:
    signed_data = der.tlv(der.SEQUENCE, _BEFORE_CERTIFICATES + certificates_or_crls + _NO_SIGNER_INFOS)
    return der.tlv(der.SEQUENCE, _SIGNED_DATA + der.tlv(_CONTEXT_0, signed_data))


def read_certs_only(cms_der: bytes) -> tuple[bytes, ...]:
    """The certificates of a degenerate SignedData as DER, in the order of the message.

    CRLs are passed over; a signed message, BER lengths and certificates of another kind are refused. The
    certificates themselves are not looked into. Raises MalformedMessage.
    """
    tag, start, end = der.read_tlv(cms_der)
    if tag != der.SEQUENCE or end != len(cms_der):
        raise MalformedMessage("a CMS message must be one SEQUENCE with nothing after it")
    outer = der.children(cms_der, start, end)
    if [tlv[0] for tlv in outer] != [der.OID, _CONTEXT_0] or cms_der[
        outer[0][1] : outer[0][3]
    ] != _SIGNED_DATA:
        raise MalformedMessage("this CMS message is no SignedData")
    inner = der.children(cms_der, outer[1][2], outer[1][3])
    if [tlv[0] for tlv in inner] != [der.SEQUENCE]:
        raise MalformedMessage("a SignedData must be one SEQUENCE")
    fields = der.children(cms_der, inner[0][2], inner[0][3])
    tags = [tlv[0] for tlv in fields]
    if tags[:3] != [der.INTEGER, der.SET, der.SEQUENCE] or tags[3:] not in (
        [_CONTEXT_0, der.SET],
        [_CONTEXT_0, _CONTEXT_1, der.SET],
    ):
        raise MalformedMessage("this SignedData does not hold certificates as certs-only messages do")
    if fields[-1][2] != fields[-1][3]:
        raise MalformedMessage("this SignedData has a signature, so it is no certs-only message")
    certificates = der.children(cms_der, fields[3][2], fields[3][3])
    if not certificates or any(tag != der.SEQUENCE for tag, *_ in certificates):
        raise MalformedMessage("a certs-only message must hold X.509 certificates, at least one")
    return tuple(cms_der[offset:stop] for _, offset, _, stop in certificates)
