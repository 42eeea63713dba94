"""Distinguished names and general names between DER and the model (RFC 5280 sections 4.1.2.4 and 4.2.1.6).

Also their comparison (section 7.1). What policy compares is what will be signed: the DER of a DNS name or an
IP address is always made anew from its normal form. Whether a name is allowed is not decided here.
"""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Iterable, Sequence

from gateway.errors import MalformedMessage
from gateway.model.names import (
    ATTRIBUTE_NAMES,
    ATTRIBUTE_OIDS,
    AttributeTypeAndValue,
    DistinguishedName,
    GeneralName,
    NameKind,
)
from gateway.pki import der
from gateway.pki.name_syntax import (
    checked_email,
    checked_uri,
    ip_octets,
    ip_text,
    malformed_name,
    normal_dns,
    shown,
)
from gateway.pki.oids import oid_der, read_oid
from gateway.pki.other_names import other_name_text, read_other_name

_PRINTABLE, _UTF8, _IA5 = der.PRINTABLE_STRING, der.UTF8_STRING, der.IA5_STRING
_CODECS = {
    _UTF8: "utf-8",
    0x12: "ascii",  # NumericString
    _PRINTABLE: "ascii",
    0x14: "latin-1",  # T61String: what its writers mean in practice (RFC 5280 appendix A.1 note)
    _IA5: "ascii",
    0x1A: "ascii",  # VisibleString
    0x1C: "utf-32-be",  # UniversalString
    0x1E: "utf-16-be",  # BMPString
}
_PRINTABLE_CHARACTERS = frozenset(string.ascii_letters + string.digits + " '()+,-./:=?")
# RFC 5280 appendix A.1: these attributes have one string type only
_FIXED_TAGS = {
    ATTRIBUTE_OIDS["C"]: _PRINTABLE,
    ATTRIBUTE_OIDS["serialNumber"]: _PRINTABLE,
    ATTRIBUTE_OIDS["dnQualifier"]: _PRINTABLE,
    ATTRIBUTE_OIDS["DC"]: _IA5,
    ATTRIBUTE_OIDS["emailAddress"]: _IA5,
}
# GeneralName identifier octets
_OTHER, _EMAIL, _DNS, _X400, _DIRECTORY = 0xA0, 0x81, 0x82, 0xA3, 0xA4
_EDI_PARTY, _URI, _IP, _REGISTERED_ID = 0xA5, 0x86, 0x87, 0x88
# The time that it takes to put combining characters into their order grows with the square of their number
_MAX_NORMALIZED_CHARACTERS = 256
_MAX_ATTRIBUTES = 200  # of one Name; those in use have a dozen at most


def decode_name(name_der: bytes) -> DistinguishedName:
    """Read a Name (RFC 5280 section 4.1.2.4). Raises MalformedMessage, nothing else.

    An attribute that is no character string keeps its TLV as ``#`` and hex digits (RFC 4514 section 2.4).
    """
    tag, start, end = der.read_tlv(name_der)
    if tag != der.SEQUENCE or end != len(name_der):
        raise malformed_name("a distinguished name must be one SEQUENCE")
    return read_name(name_der, start, end)


def read_name(source: bytes, start: int, end: int) -> DistinguishedName:
    """Read the content of a Name's SEQUENCE between two offsets."""
    rdns: list[tuple[AttributeTypeAndValue, ...]] = []
    left = _MAX_ATTRIBUTES
    for tag, _, rdn_start, rdn_end in der.children(source, start, end):
        if tag != der.SET or rdn_start == rdn_end:
            raise malformed_name("a relative distinguished name must be a SET with at least one attribute")
        attributes = der.children(source, rdn_start, rdn_end)
        left -= len(attributes)
        if left < 0:
            raise malformed_name(f"a distinguished name has more than {_MAX_ATTRIBUTES} attributes")
        rdns.append(tuple(_read_attribute(source, *tlv) for tlv in attributes))
    return DistinguishedName(tuple(rdns))


def _read_attribute(source: bytes, tag: int, _: int, start: int, end: int) -> AttributeTypeAndValue:
    if tag != der.SEQUENCE:
        raise malformed_name("an attribute of a distinguished name must be a SEQUENCE")
    oid_tag, oid_start, oid_end = der.read_tlv(source, start, end)
    if oid_tag != der.OID:
        raise malformed_name("an attribute of a distinguished name must start with its object identifier")
    oid = read_oid(source[oid_start:oid_end])
    value_tag, value_start, value_end = der.read_tlv(source, oid_end, end)
    if value_end != end:
        raise malformed_name(f"the attribute {ATTRIBUTE_NAMES.get(oid, oid)} must have exactly one value")
    codec = _CODECS.get(value_tag)
    if codec is None:
        return AttributeTypeAndValue(oid, "#" + source[oid_end:end].hex(), value_tag)
    try:
        value = source[value_start:value_end].decode(codec)
    except UnicodeDecodeError as exc:
        raise malformed_name(
            f"the value of {ATTRIBUTE_NAMES.get(oid, oid)} is not valid for its ASN.1 string type"
        ) from exc
    if not value or "\0" in value:
        raise malformed_name(
            f"the value of {ATTRIBUTE_NAMES.get(oid, oid)} is empty or holds a null character"
        )
    return AttributeTypeAndValue(oid, value, value_tag)


def encode_name(name: DistinguishedName) -> bytes:
    """Write a Name as DER, each value under its tag.

    Attributes with one string type only (RFC 5280 appendix A.1) get that; a PrintableString that holds other
    characters becomes a UTF8String. Raises MalformedMessage where a value does not fit its type.
    """
    return der.sequence(*(der.set_of(map(_attribute_der, rdn)) for rdn in name.rdns))


def _attribute_der(attribute: AttributeTypeAndValue) -> bytes:
    oid, value = attribute.oid, attribute.value
    shown_type = ATTRIBUTE_NAMES.get(oid, oid)
    if not value:
        raise malformed_name(f"the value of {shown_type} is empty")
    fixed = _FIXED_TAGS.get(oid)
    tag = fixed or attribute.tag
    if attribute.tag not in _CODECS:
        return der.sequence(oid_der(oid), _hex_value(attribute))
    if tag == _PRINTABLE and not _PRINTABLE_CHARACTERS.issuperset(value):
        if fixed:
            raise malformed_name(
                f"{shown_type} {shown(value)} must be a PrintableString: letters, digits, blanks, '()+,-./:=?"
            )
        tag = _UTF8
    try:
        return der.sequence(oid_der(oid), der.tlv(tag, value.encode(_CODECS[tag])))
    except UnicodeEncodeError as exc:
        raise malformed_name(
            f"{shown_type} {shown(value)} has characters that its string type cannot hold"
        ) from exc


def _hex_value(attribute: AttributeTypeAndValue) -> bytes:
    try:
        value_der = bytes.fromhex(attribute.value.removeprefix("#"))
    except ValueError as exc:
        raise malformed_name(f"{shown(attribute.value)} is no hexadecimal attribute value") from exc
    if der.read_tlv(value_der)[::2] != (attribute.tag, len(value_der)):
        raise malformed_name(f"{shown(attribute.value)} does not hold one value of tag {attribute.tag}")
    return value_der


def decode_general_names(names_der: bytes) -> tuple[GeneralName, ...]:
    """Read GeneralNames, the content of subjectAltName (RFC 5280 section 4.2.1.6).

    Raises MalformedMessage, mostly with ``name.malformed`` and the path ``sans[n]``.
    """
    tag, start, end = der.read_tlv(names_der)
    if tag != der.SEQUENCE or end != len(names_der):
        raise malformed_name("general names must be one SEQUENCE")
    return read_general_names(names_der, start, end)


def read_general_names(source: bytes, start: int, end: int) -> tuple[GeneralName, ...]:
    """Read the content of a GeneralNames' SEQUENCE between two offsets."""
    if start == end:
        # RFC 5280 4.2.1.6: GeneralNames ::= SEQUENCE SIZE (1..MAX)
        raise malformed_name("an empty list of general names; leave the extension out instead")
    names = []
    for index, (tag, offset, content, stop) in enumerate(der.children(source, start, end)):
        try:
            names.append(_read_general_name(tag, source[offset:stop], source[content:stop]))
        except MalformedMessage as exc:
            exc.path = exc.path or f"sans[{index}]"
            raise
    return tuple(names)


def _read_general_name(tag: int, name_der: bytes, content: bytes) -> GeneralName:
    if tag in (_DNS, _EMAIL, _URI):
        try:
            text = content.decode("ascii")
        except UnicodeDecodeError as exc:
            advice = (
                "; send the A-label form (xn--...)" if tag == _DNS else "; percent-encode or use A-labels"
            )
            raise malformed_name(f"a subject alternative name has characters outside ASCII{advice}") from exc
        return {_DNS: dns_name, _EMAIL: email_name, _URI: uri_name}[tag](text)
    if tag == _IP:
        text, octets = ip_text(content)
        return GeneralName(NameKind.IP, text, der.tlv(_IP, octets))
    if tag == _DIRECTORY:
        return GeneralName(NameKind.DIRECTORY, str(decode_name(content)), name_der)
    if tag == _OTHER:
        return GeneralName(NameKind.OTHER, other_name_text(read_other_name(content)), name_der)
    if tag == _REGISTERED_ID:
        return GeneralName(NameKind.REGISTERED_ID, read_oid(content), name_der)
    if tag in (_X400, _EDI_PARTY):
        kind = NameKind.X400 if tag == _X400 else NameKind.EDI_PARTY
        return GeneralName(kind, "#" + content.hex(), name_der)
    raise malformed_name(f"a general name has the unknown tag {tag:#04x}")


def dns_name(text: str) -> GeneralName:
    """A dNSName in normal form; U-labels are refused. Raises MalformedMessage (``name.malformed``)."""
    value = normal_dns(text)
    return GeneralName(NameKind.DNS, value, der.tlv(_DNS, value.encode("ascii")))


def ip_address_name(text: str) -> GeneralName:
    """An iPAddress from its text. Raises MalformedMessage (``name.malformed``)."""
    value, octets = ip_text(ip_octets(text))
    return GeneralName(NameKind.IP, value, der.tlv(_IP, octets))


def email_name(text: str) -> GeneralName:
    """An rfc822Name as it stands. Raises MalformedMessage (``name.malformed``)."""
    return GeneralName(NameKind.EMAIL, text, der.tlv(_EMAIL, checked_email(text).encode("ascii")))


def uri_name(text: str) -> GeneralName:
    """A uniformResourceIdentifier as it stands. Raises MalformedMessage (``name.malformed``)."""
    return GeneralName(NameKind.URI, text, der.tlv(_URI, checked_uri(text).encode("ascii")))


def directory_name(name: DistinguishedName) -> GeneralName:
    """A directoryName. Raises MalformedMessage where a value does not fit its string type."""
    return GeneralName(NameKind.DIRECTORY, str(name), der.tlv(_DIRECTORY, encode_name(name)))


def directory_of(name: GeneralName) -> DistinguishedName:
    """Read a GeneralName of the kind DIRECTORY from its DER. Raises MalformedMessage."""
    tag, start, stop = der.read_tlv(name.der)
    if tag != _DIRECTORY or stop != len(name.der):
        raise malformed_name("this is no directoryName")
    return decode_name(name.der[start:stop])


def registered_id(oid: str) -> GeneralName:
    """A registeredID from its dotted form. Raises ValueError if the text is none."""
    return GeneralName(NameKind.REGISTERED_ID, oid, der.tlv(_REGISTERED_ID, der.oid(oid)[2:]))


def registered_id_of(name: GeneralName) -> str:
    """The dotted form of a GeneralName of the kind REGISTERED_ID, from its DER. Raises MalformedMessage."""
    tag, start, stop = der.read_tlv(name.der)
    if tag != _REGISTERED_ID or stop != len(name.der):
        raise malformed_name("this is no registeredID")
    return read_oid(name.der[start:stop])


def encode_general_names(names: Iterable[GeneralName]) -> bytes:
    """GeneralNames as DER, in the given order. Raises MalformedMessage if there are none."""
    joined = b"".join(name.der for name in names)
    if not joined:
        raise malformed_name("an empty list of general names cannot be encoded")
    return der.tlv(der.SEQUENCE, joined)


def names_match(left: DistinguishedName, right: DistinguishedName) -> bool:
    """Whether two names are the same by RFC 5280 section 7.1.

    Case, inner and outer white space and string types do not count, nor does the order inside an RDN.
    """
    return left == right or comparable_name(left) == comparable_name(right)


def san_sets_match(left: Sequence[GeneralName], right: Sequence[GeneralName]) -> bool:
    """Whether two lists hold the same alternative names, whatever their order (RFC 5280 section 7)."""
    return left == right or frozenset(map(comparable_san, left)) == frozenset(map(comparable_san, right))


def comparable_name(name: DistinguishedName) -> tuple[object, ...]:
    """What is the same of names that match: for who holds one name against many."""
    return tuple(frozenset((a.oid, _prepared(a.value)) for a in rdn) for rdn in name.rdns)


def _prepared(value: str) -> str:
    """The string prepared for comparison (RFC 4518 section 2: map, normalise, insignificant space).

    Longer ones than any name in use are not normalised: they are the same in fewer of their forms.
    """
    if value.isascii():
        return " ".join(value.lower().split())
    if len(value) > _MAX_NORMALIZED_CHARACTERS:
        return " ".join(value.casefold().split())
    folded = unicodedata.normalize("NFKC", value).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())


def comparable_san(name: GeneralName) -> tuple[NameKind, object]:
    """What is the same of alternative names that match (RFC 5280 section 7)."""
    match name.kind:
        case NameKind.EMAIL:  # section 7.5: the local part counts exactly, the host does not
            local, _, host = name.value.rpartition("@")
            return name.kind, (local, host.lower())
        case NameKind.URI:  # section 7.4: scheme and host fold
            scheme, _, rest = name.value.partition(":")
            if not rest.startswith("//"):
                return name.kind, (scheme.lower(), rest)
            host, slash, path = rest[2:].partition("/")
            return name.kind, (scheme.lower(), host.lower(), slash + path)
        case NameKind.DIRECTORY:
            return name.kind, comparable_name(decode_name(name.der[der.read_tlv(name.der)[1] :]))
        case NameKind.DNS | NameKind.IP:
            return name.kind, name.value
        case _:
            return name.kind, name.der
