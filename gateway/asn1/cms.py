"""CMS structures (RFC 5652): SignedData and EnvelopedData, read from BER and DER.

Nothing is verified, decrypted or looked into deeper than the structure. What is read keeps the octets that a
signature covers as they were received. All readers raise MalformedMessage, nothing else. The way back is in
``gateway.asn1.cms_encode``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.asn1 import der
from gateway.asn1.ber import BerReader, Element, to_der
from gateway.errors import MalformedMessage
from gateway.model.reasons import ReasonCode

# RFC 5652 sections 4 to 6 and RFC 5083 section 2.1
DATA = "1.2.840.113549.1.7.1"
SIGNED_DATA = "1.2.840.113549.1.7.2"
ENVELOPED_DATA = "1.2.840.113549.1.7.3"
AUTH_ENVELOPED_DATA = "1.2.840.113549.1.9.16.1.23"
# RFC 5652 section 11
CONTENT_TYPE = "1.2.840.113549.1.9.3"
MESSAGE_DIGEST = "1.2.840.113549.1.9.4"
SIGNING_TIME = "1.2.840.113549.1.9.5"

MAX_CERTIFICATES = 32
MAX_ATTRIBUTES = 64
MAX_SIGNERS = 8
MAX_RECIPIENTS = 32
_CONTEXT_0, _CONTEXT_1 = 0xA0, 0xA1
_IMPLICIT_STRING_0 = 0x80


@dataclass(frozen=True, slots=True)
class AlgorithmIdentifier:
    """``parameters_der`` is the whole TLV, empty where there are none."""

    oid: str
    parameters_der: bytes = b""


@dataclass(frozen=True, slots=True)
class IssuerAndSerial:
    """IssuerAndSerialNumber (RFC 5652 section 10.2.4); the issuer is a whole Name as received."""

    issuer_der: bytes
    serial: int


@dataclass(frozen=True, slots=True)
class KeyIdentifier:
    """SubjectKeyIdentifier (RFC 5280 section 4.2.1.2)."""

    octets: bytes


CertificateId = IssuerAndSerial | KeyIdentifier


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute with its values, each a whole TLV as received."""

    oid: str
    values: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class SignerInfo:
    """RFC 5652 section 5.3.

    ``signed_set`` holds the signed attributes as a SET OF in the octets and the order as received, that is
    what the signature covers (section 5.4); empty where there are none, which a SET of none is not.
    """

    sid: CertificateId
    digest: AlgorithmIdentifier
    attributes: tuple[Attribute, ...]
    signed_set: bytes = field(repr=False)
    signature_algorithm: AlgorithmIdentifier
    signature: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SignedData:
    """RFC 5652 section 5.1. ``content`` is None where eContent is absent.

    ``certificates_der`` holds those of X.509 only, in the order of the message.
    """

    content_type: str
    content: bytes | None = field(repr=False)
    certificates_der: tuple[bytes, ...]
    crls_der: tuple[bytes, ...]
    signers: tuple[SignerInfo, ...]


@dataclass(frozen=True, slots=True)
class KeyTransRecipient:
    """RFC 5652 section 6.2.1."""

    rid: CertificateId
    algorithm: AlgorithmIdentifier
    encrypted_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class EnvelopedData:
    """RFC 5652 section 6.1. ``others`` counts recipients that are no KeyTransRecipientInfo."""

    recipients: tuple[KeyTransRecipient, ...]
    others: int
    content_type: str
    algorithm: AlgorithmIdentifier
    encrypted_content: bytes = field(repr=False)


def read_content_info(octets: bytes) -> tuple[str, BerReader, Element]:
    """The content type of a ContentInfo (RFC 5652 section 3), and its content to be read on."""
    reader = BerReader(octets)
    fields = _fields(reader, reader.whole(), "a CMS message")
    if [element.tag for element in fields] != [der.OID, _CONTEXT_0]:
        raise _wrong("a CMS message must hold a content type and a content", fields, 0)
    inner = reader.children(fields[1])
    if len(inner) != 1:
        raise MalformedMessage(f"a CMS message must hold one content, at byte {fields[1].offset}")
    return reader.oid(fields[0]), reader, inner[0]


def read_signed_data(octets: bytes) -> SignedData:
    """Read a ContentInfo that holds a SignedData."""
    content_type, reader, content = read_content_info(octets)
    if content_type != SIGNED_DATA:
        raise MalformedMessage(f"a SignedData is wanted, but the CMS message is of type {content_type}")
    fields = _fields(reader, content, "a SignedData")
    tags = [element.tag for element in fields]
    if tags[:3] != [der.INTEGER, der.SET, der.SEQUENCE] or tags[3:] not in (
        [der.SET],
        [_CONTEXT_0, der.SET],
        [_CONTEXT_1, der.SET],
        [_CONTEXT_0, _CONTEXT_1, der.SET],
    ):
        raise _wrong("a SignedData has fields that RFC 5652 does not know", fields, 0)
    by_tag = {element.tag: element for element in fields[3:]}
    inner_type, inner = _read_encapsulated(reader, fields[2])
    return SignedData(
        content_type=inner_type,
        content=inner,
        certificates_der=_read_certificates(reader, by_tag.get(_CONTEXT_0)),
        crls_der=_read_certificates(reader, by_tag.get(_CONTEXT_1)),
        signers=_read_signers(reader, fields[-1]),
    )


def read_enveloped_data(octets: bytes) -> EnvelopedData:
    """Read a ContentInfo that holds an EnvelopedData."""
    content_type, reader, content = read_content_info(octets)
    if content_type == AUTH_ENVELOPED_DATA:
        raise MalformedMessage(
            "AuthEnvelopedData (AES-GCM) is not supported; encrypt with AES-CBC in an EnvelopedData",
            code=ReasonCode.MESSAGE_ALGORITHM,
        )
    if content_type != ENVELOPED_DATA:
        raise MalformedMessage(f"an EnvelopedData is wanted, but the CMS message is of type {content_type}")
    fields = _fields(reader, content, "an EnvelopedData")
    if len(fields) > 1 and fields[1].tag == _CONTEXT_0:
        del fields[1]  # originatorInfo: certificates that only key agreement has a use for
    tags = [element.tag for element in fields]
    if tags not in (
        [der.INTEGER, der.SET, der.SEQUENCE],
        [der.INTEGER, der.SET, der.SEQUENCE, _CONTEXT_1],
    ):
        raise _wrong("an EnvelopedData has fields that RFC 5652 does not know", fields, 0)
    recipients = reader.children(fields[1])
    if not 1 <= len(recipients) <= MAX_RECIPIENTS:
        raise MalformedMessage(f"an EnvelopedData must have 1 to {MAX_RECIPIENTS} recipients")
    known = tuple(_read_recipient(reader, each) for each in recipients if each.tag == der.SEQUENCE)
    parts = reader.children(fields[2])
    if [element.tag for element in parts[:2]] != [der.OID, der.SEQUENCE] or len(parts) != 3:
        raise _wrong("the encrypted content must have type, algorithm and octets", parts, fields[2].offset)
    return EnvelopedData(
        recipients=known,
        others=len(recipients) - len(known),
        content_type=reader.oid(parts[0]),
        algorithm=read_algorithm(reader, parts[1]),
        encrypted_content=reader.octets(parts[2], _IMPLICIT_STRING_0),
    )


def read_algorithm(reader: BerReader, element: Element) -> AlgorithmIdentifier:
    """Read an AlgorithmIdentifier; its parameters are brought into DER."""
    parts = _fields(reader, element, "an algorithm")
    if not 1 <= len(parts) <= 2:
        raise _wrong("an algorithm must have an object identifier and at most one parameter", parts, 0)
    parameters = b""
    if len(parts) == 2:
        parameters = reader.received(parts[1])
        if parameters != b"\x05\x00":
            parameters = to_der(parameters)
    return AlgorithmIdentifier(reader.oid(parts[0]), parameters)


def read_issuer_and_serial(reader: BerReader, element: Element) -> IssuerAndSerial:
    """Read an IssuerAndSerialNumber (RFC 5652 section 10.2.4)."""
    parts = _fields(reader, element, "issuer and serial number")
    if [part.tag for part in parts] != [der.SEQUENCE, der.INTEGER]:
        raise _wrong("issuer and serial number must be a name and an INTEGER", parts, element.offset)
    return IssuerAndSerial(reader.received(parts[0]), reader.integer(parts[1]))


def _fields(reader: BerReader, element: Element, what: str) -> list[Element]:
    if element.tag != der.SEQUENCE:
        raise MalformedMessage(f"{what} must be a SEQUENCE, at byte {element.offset}")
    return reader.children(element)


def _wrong(message: str, found: Sequence[Element], offset: int) -> MalformedMessage:
    at = found[0].offset if found else offset
    return MalformedMessage(f"{message}, at byte {at}")


def _read_encapsulated(reader: BerReader, element: Element) -> tuple[str, bytes | None]:
    """Type and octets of an EncapsulatedContentInfo (RFC 5652 section 5.2)."""
    parts = reader.children(element)
    tags = [part.tag for part in parts]
    if tags == [der.OID]:
        return reader.oid(parts[0]), None
    if tags == [der.OID, _CONTEXT_0]:
        inner = reader.children(parts[1])
        if len(inner) == 1:
            return reader.oid(parts[0]), reader.octets(inner[0], der.OCTET_STRING)
    raise _wrong("the signed content must be a type and one OCTET STRING", parts, element.offset)


def _read_certificates(reader: BerReader, element: Element | None) -> tuple[bytes, ...]:
    """The X.509 ones of a CertificateSet or of RevocationInfoChoices; other choices are passed over."""
    if element is None:
        return ()
    found = reader.children(element)
    if len(found) > MAX_CERTIFICATES:
        raise MalformedMessage(f"more than {MAX_CERTIFICATES} certificates or CRLs, at byte {element.offset}")
    return tuple(reader.received(each) for each in found if each.tag == der.SEQUENCE)


def _read_certificate_id(reader: BerReader, element: Element) -> CertificateId:
    """SignerIdentifier and RecipientIdentifier are written alike (RFC 5652 sections 5.3 and 6.2.1)."""
    if element.tag == der.SEQUENCE:
        return read_issuer_and_serial(reader, element)
    return KeyIdentifier(reader.octets(element, _IMPLICIT_STRING_0))


def _read_signers(reader: BerReader, element: Element) -> tuple[SignerInfo, ...]:
    found = reader.children(element)
    if len(found) > MAX_SIGNERS:
        raise MalformedMessage(f"more than {MAX_SIGNERS} signers, at byte {element.offset}")
    return tuple(_read_signer(reader, each) for each in found)


def _read_signer(reader: BerReader, element: Element) -> SignerInfo:
    fields = _fields(reader, element, "a SignerInfo")
    tags = [each.tag for each in fields]
    attributes = fields.pop(3) if tags[3:4] == [_CONTEXT_0] else None
    if len(fields) == 6 and fields[5].tag == _CONTEXT_1:
        fields.pop()  # unsigned attributes say nothing that could be relied upon
    tags = [each.tag for each in fields]
    if len(tags) != 5 or [tags[0], *tags[2:4]] != [der.INTEGER, der.SEQUENCE, der.SEQUENCE]:
        raise _wrong("a SignerInfo has fields that RFC 5652 does not know", fields, element.offset)
    read, signed_set = _read_signed_attributes(reader, attributes)
    return SignerInfo(
        sid=_read_certificate_id(reader, fields[1]),
        digest=read_algorithm(reader, fields[2]),
        attributes=read,
        signed_set=signed_set,
        signature_algorithm=read_algorithm(reader, fields[3]),
        signature=reader.octets(fields[4], der.OCTET_STRING),
    )


def _read_signed_attributes(
    reader: BerReader, element: Element | None
) -> tuple[tuple[Attribute, ...], bytes]:
    if element is None:
        return (), b""
    found = reader.children(element)
    if not 1 <= len(found) <= MAX_ATTRIBUTES:
        raise MalformedMessage(
            f"1 to {MAX_ATTRIBUTES} signed attributes are wanted, at byte {element.offset}"
        )
    attributes = []
    for each in found:
        parts = _fields(reader, each, "an attribute")
        if [part.tag for part in parts] != [der.OID, der.SET]:
            raise _wrong("an attribute must be a type and a SET of values", parts, each.offset)
        values = tuple(reader.received(value) for value in reader.children(parts[1]))
        attributes.append(Attribute(reader.oid(parts[0]), values))
    # RFC 5652 5.4: the signature is over an explicit SET OF with a DER length, not over the tag [0]
    return tuple(attributes), der.tlv(der.SET, reader.source[element.start : element.end])


def _read_recipient(reader: BerReader, element: Element) -> KeyTransRecipient:
    fields = reader.children(element)
    tags = [each.tag for each in fields]
    if len(tags) != 4 or [tags[0], tags[2]] != [der.INTEGER, der.SEQUENCE]:
        raise _wrong("a recipient has fields that RFC 5652 does not know", fields, element.offset)
    return KeyTransRecipient(
        rid=_read_certificate_id(reader, fields[1]),
        algorithm=read_algorithm(reader, fields[2]),
        encrypted_key=reader.octets(fields[3], der.OCTET_STRING),
    )


def canonical_set(signed_set: bytes) -> bytes:
    """The SET OF as whoever signs DER would have written it: all lengths definite, elements sorted."""
    as_der = to_der(signed_set)
    _, start, end = der.read_tlv(as_der)
    return der.set_of(as_der[tlv[1] : tlv[3]] for tlv in der.children(as_der, start, end))
