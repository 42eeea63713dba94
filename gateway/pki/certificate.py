"""X.509 certificates (RFC 5280 section 4.1), read from their bytes; nothing is verified here."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from gateway.errors import MalformedMessage
from gateway.model.enrolment import Extension
from gateway.model.names import DistinguishedName, GeneralName
from gateway.pki import der, oids
from gateway.pki.extensions import read_extensions
from gateway.pki.keys import spki_sha256
from gateway.pki.names import decode_general_names, decode_name
from gateway.pki.oids import read_oid

_VERSION, _ISSUER_UNIQUE_ID, _SUBJECT_UNIQUE_ID, _EXTENSIONS = 0xA0, 0x81, 0x82, 0xA3
_Tlv = tuple[int, int, int, int]  # identifier, offset, start and end of the content
_Value = TypeVar("_Value")
# KeyUsage bits in their order (RFC 5280 section 4.2.1.3)
KEY_USAGE_BITS = (
    "digitalSignature",
    "nonRepudiation",
    "keyEncipherment",
    "dataEncipherment",
    "keyAgreement",
    "keyCertSign",
    "cRLSign",
    "encipherOnly",
    "decipherOnly",
)


@dataclass(frozen=True, slots=True)
class ParsedCertificate:
    """A well-formed certificate. Hashes are lower-case hex; times are aware UTC.

    ``key_usage`` holds RFC 5280 bit names, ``extended_key_usage`` OIDs; both are empty where the extension is
    absent, which ``extension_oids`` tells apart. ``authority_key_identifier`` is the keyIdentifier field;
    ``spki_sha256`` is the same for every form that the key can have.
    """

    certificate_der: bytes = field(repr=False)
    sha256: str
    serial: int
    subject: DistinguishedName
    issuer: DistinguishedName
    subject_der: bytes = field(repr=False)
    issuer_der: bytes = field(repr=False)
    spki_der: bytes = field(repr=False)
    spki_sha256: str
    not_before: datetime
    not_after: datetime
    sans: tuple[GeneralName, ...]
    key_usage: tuple[str, ...]
    extended_key_usage: tuple[str, ...]
    is_ca: bool
    authority_key_identifier: bytes | None
    subject_key_identifier: bytes | None
    extension_oids: tuple[str, ...]
    extensions: tuple[Extension, ...] = field(repr=False)


def parse_certificate(certificate_der: bytes) -> ParsedCertificate:
    """Read one Certificate as DER. Raises MalformedMessage, nothing else."""
    tag, start, end = der.read_tlv(certificate_der)
    if tag != der.SEQUENCE or end != len(certificate_der):
        raise MalformedMessage("a certificate must be one SEQUENCE with nothing after it")
    parts = der.children(certificate_der, start, end)
    if [tlv[0] for tlv in parts] != [der.SEQUENCE, der.SEQUENCE, der.BIT_STRING]:
        raise MalformedMessage("a certificate must hold its content, an algorithm and a signature")
    serial, issuer, validity, subject, spki, tail = _fields(certificate_der, parts[0][2], parts[0][3])
    not_before, not_after = _read_validity(certificate_der, validity[2], validity[3])
    extensions = _read_tail(certificate_der, tail)
    by_oid = {extension.oid: extension.value_der for extension in extensions}
    subject_der = certificate_der[subject[1] : subject[3]]
    issuer_der = certificate_der[issuer[1] : issuer[3]]
    spki_der = certificate_der[spki[1] : spki[3]]
    return ParsedCertificate(
        certificate_der=certificate_der,
        sha256=hashlib.sha256(certificate_der).hexdigest(),
        serial=_read_integer(certificate_der[serial[2] : serial[3]]),
        subject=decode_name(subject_der),
        issuer=decode_name(issuer_der),
        subject_der=subject_der,
        issuer_der=issuer_der,
        spki_der=spki_der,
        spki_sha256=spki_sha256(spki_der),
        not_before=not_before,
        not_after=not_after,
        sans=_optional(by_oid, oids.SUBJECT_ALT_NAME, decode_general_names, ()),
        key_usage=_optional(by_oid, oids.KEY_USAGE, _read_key_usage, ()),
        extended_key_usage=_optional(by_oid, oids.EXTENDED_KEY_USAGE, _read_extended_key_usage, ()),
        is_ca=_optional(by_oid, oids.BASIC_CONSTRAINTS, _read_is_ca, False),
        authority_key_identifier=_optional(by_oid, oids.AUTHORITY_KEY_IDENTIFIER, _read_authority_key, None),
        subject_key_identifier=_optional(by_oid, oids.SUBJECT_KEY_IDENTIFIER, _read_octets, None),
        extension_oids=tuple(by_oid),
        extensions=extensions,
    )


def _fields(source: bytes, start: int, end: int) -> tuple[_Tlv, _Tlv, _Tlv, _Tlv, _Tlv, list[_Tlv]]:
    """Serial, issuer, validity, subject and key of a TBSCertificate, and what follows them."""
    fields = der.children(source, start, end)
    if fields and fields[0][0] == _VERSION:
        # RFC 5280 4.1.2.1: v2 is 1, v3 is 2; v1 is the default and not written
        if source[fields[0][2] : fields[0][3]] not in (b"\x02\x01\x01", b"\x02\x01\x02"):
            raise MalformedMessage("the version of the certificate is unknown")
        del fields[0]
    wanted = [der.INTEGER, der.SEQUENCE, der.SEQUENCE, der.SEQUENCE, der.SEQUENCE, der.SEQUENCE]
    if [tlv[0] for tlv in fields[:6]] != wanted:
        raise MalformedMessage("the fields of the certificate are not those of RFC 5280 section 4.1")
    serial, _algorithm, issuer, validity, subject, spki = fields[:6]
    return serial, issuer, validity, subject, spki, fields[6:]


def _read_tail(source: bytes, tail: list[_Tlv]) -> tuple[Extension, ...]:
    """The extensions; the unique identifiers of v2 may stand before them."""
    tags = [tlv[0] for tlv in tail]
    if tags != sorted(set(tags)) or not {_ISSUER_UNIQUE_ID, _SUBJECT_UNIQUE_ID, _EXTENSIONS}.issuperset(tags):
        raise MalformedMessage("the certificate ends with fields that RFC 5280 does not know")
    if not tags or tags[-1] != _EXTENSIONS:
        return ()
    _, _, start, end = tail[-1]
    tag, content, stop = der.read_tlv(source, start, end)
    if tag != der.SEQUENCE or stop != end:
        raise MalformedMessage("the extensions of the certificate must be one SEQUENCE")
    return read_extensions(source, content, stop)


def _optional(
    by_oid: dict[str, bytes], oid: str, decode: Callable[[bytes], _Value], absent: _Value
) -> _Value:
    value_der = by_oid.get(oid)
    return absent if value_der is None else decode(value_der)


def _read_integer(content: bytes) -> int:
    if not content:
        raise MalformedMessage("an INTEGER has no content")
    return int.from_bytes(content, "big", signed=True)


def _read_validity(source: bytes, start: int, end: int) -> tuple[datetime, datetime]:
    times = der.children(source, start, end)
    if len(times) != 2:
        raise MalformedMessage("the validity of a certificate must hold two times")
    (first_tag, _, *first), (last_tag, _, *last) = times
    return _read_time(first_tag, source[slice(*first)]), _read_time(last_tag, source[slice(*last)])


def _read_time(tag: int, content: bytes) -> datetime:
    """UTCTime or GeneralizedTime, with seconds and Z (RFC 5280 sections 4.1.2.5.1 and 4.1.2.5.2)."""
    digits = content[:-1]
    if content[-1:] == b"Z" and digits.isdigit():
        if tag == der.UTC_TIME and len(digits) == 12:
            digits = (b"19" if digits >= b"50" else b"20") + digits
        elif tag != der.GENERALIZED_TIME:
            digits = b""
        if len(digits) == 14:
            number = int(digits)
            clock, day = number % 1_000_000, number // 1_000_000
            try:
                return datetime(
                    day // 10_000,
                    day // 100 % 100,
                    day % 100,
                    clock // 10_000,
                    clock // 100 % 100,
                    clock % 100,
                    tzinfo=UTC,
                )
            except ValueError as exc:
                raise MalformedMessage("the certificate holds a time that does not exist") from exc
    raise MalformedMessage("a time in the certificate is not of the form YYMMDDhhmmssZ or YYYYMMDDhhmmssZ")


def _read_key_usage(value_der: bytes) -> tuple[str, ...]:
    tag, start, end = der.read_tlv(value_der)
    if tag != der.BIT_STRING or end != len(value_der) or not 2 <= end - start <= 3 or value_der[start] > 7:
        raise MalformedMessage("keyUsage must be a BIT STRING of one to nine bits")
    bits = int.from_bytes(value_der[start + 1 : end].ljust(2, b"\0"), "big")
    return tuple(name for index, name in enumerate(KEY_USAGE_BITS) if bits & 0x8000 >> index)


def _read_extended_key_usage(value_der: bytes) -> tuple[str, ...]:
    tag, start, end = der.read_tlv(value_der)
    usages = der.children(value_der, start, end) if tag == der.SEQUENCE and end == len(value_der) else []
    if not usages or any(usage[0] != der.OID for usage in usages):
        raise MalformedMessage("extKeyUsage must be a SEQUENCE of object identifiers, at least one")
    return tuple(read_oid(value_der[content:stop]) for _, _, content, stop in usages)


def _read_is_ca(value_der: bytes) -> bool:
    tag, start, end = der.read_tlv(value_der)
    fields = der.children(value_der, start, end) if tag == der.SEQUENCE and end == len(value_der) else None
    if fields is None or [tlv[0] for tlv in fields] not in ([], [1], [2], [1, 2]):
        raise MalformedMessage("basicConstraints must be a SEQUENCE of a flag and a path length")
    if not fields or fields[0][0] != der.BOOLEAN:
        return False
    flag = value_der[fields[0][2] : fields[0][3]]
    if flag not in (b"\xff", b"\x00"):
        raise MalformedMessage("the CA flag of basicConstraints is no DER BOOLEAN")
    return flag == b"\xff"


def _read_authority_key(value_der: bytes) -> bytes | None:
    tag, start, end = der.read_tlv(value_der)
    if tag != der.SEQUENCE or end != len(value_der):
        raise MalformedMessage("authorityKeyIdentifier must be one SEQUENCE")
    for field_tag, _, content, stop in der.children(value_der, start, end):
        if field_tag == 0x80:  # keyIdentifier [0]
            return value_der[content:stop]
    return None


def _read_octets(value_der: bytes) -> bytes:
    tag, start, end = der.read_tlv(value_der)
    if tag != der.OCTET_STRING or end != len(value_der):
        raise MalformedMessage("subjectKeyIdentifier must be one OCTET STRING")
    return value_der[start:end]
