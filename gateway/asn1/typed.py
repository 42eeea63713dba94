"""Typed reading of DER by ``cryptography``'s declarative ASN.1, with errors that say where.

That library is strict about DER (X.690 section 10) and quick, but tells neither position nor field. What it
refuses is looked at once more here, so that the sender learns what to mend.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from cryptography.hazmat import asn1

from gateway.asn1 import der
from gateway.errors import MalformedMessage

T = TypeVar("T")
Part = tuple[int, int, int, int]  # identifier, offset of the element, start and end of its content
_MOST_FIELDS = 16
_MAX_INTEGER_BITS = 63


def decode(
    cls: type[T], octets: bytes, what: str, fields: Mapping[int, str] | None = None, *, mandatory: int = 0
) -> T:
    """Decode one element. ``what`` names it for people, ``fields`` its optional fields by identifier octet,
    of which ``mandatory`` others come first.

    Raises MalformedMessage, nothing else.
    """
    try:
        return asn1.decode_der(cls, octets)
    except ValueError as exc:
        # Lengths and bounds first, since they come with a position.
        der.check_shape(octets)
        field = _faulty_field(cls, octets, fields or {}, mandatory)
        where = f": its field {field} is malformed" if field else ""
        raise MalformedMessage(
            f"the {what} is not encoded as its standard says{where}", path=field, detail=str(exc)
        ) from exc


def _faulty_field(cls: type[object], octets: bytes, fields: Mapping[int, str], mandatory: int) -> str:
    """The one optional field without which everything would be right."""
    tag, start, end = der.read_tlv(octets)
    if tag != der.SEQUENCE:
        return ""
    for child_tag, offset, _, stop in parts(octets, start, end, "structure")[mandatory:]:
        if child_tag in fields:
            try:
                asn1.decode_der(cls, der.sequence(octets[start:offset], octets[stop:end]))
            except ValueError:
                continue
            return fields[child_tag]
    return ""


def parts(source: bytes, start: int, end: int, what: str, most: int = _MOST_FIELDS) -> list[Part]:
    """The elements between two offsets, as ``der.children`` gives them, but never more than ``most``.

    Raises MalformedMessage.
    """
    found: list[Part] = []
    while start < end:
        tag, inner, stop = der.read_tlv(source, start, end)
        if len(found) == most:
            raise MalformedMessage(f"the {what} has more than {most} fields")
        found.append((tag, start, inner, stop))
        start = stop
    return found


def fields_of(source: bytes, what: str) -> list[Part]:
    """The fields of a SEQUENCE that is the whole source, sixteen at most. Raises MalformedMessage."""
    tag, start, end = der.read_tlv(source)
    if tag != der.SEQUENCE or end != len(source):
        raise MalformedMessage(f"the {what} must be one SEQUENCE")
    return parts(source, start, end, what)


def element(source: bytes, part: Part) -> bytes:
    """A part with its identifier and length."""
    return source[part[1] : part[3]]


def content(source: bytes, part: Part) -> bytes:
    """A part without them."""
    return source[part[2] : part[3]]


def elements(octets: bytes, most: int, what: str, *, least: int = 0) -> list[bytes]:
    """The elements of a SEQUENCE OF, each whole. Raises MalformedMessage."""
    tag, start, end = der.read_tlv(octets)
    if tag != der.SEQUENCE or end != len(octets):
        raise MalformedMessage(f"the {what} must be one SEQUENCE")
    found: list[bytes] = []
    while start < end:
        _, _, stop = der.read_tlv(octets, start, end)
        found.append(octets[start:stop])
        if len(found) > most:
            raise MalformedMessage(f"the {what} has more than {most} elements")
        start = stop
    if len(found) < least:
        raise MalformedMessage(f"the {what} is empty")
    return found


def bounded(number: int, what: str) -> int:
    """An INTEGER that stands for a small number. Raises MalformedMessage if it has more than 63 bits."""
    if number.bit_length() > _MAX_INTEGER_BITS:
        raise MalformedMessage(f"the {what} is a number of {number.bit_length()} bits; at most 63 are read")
    return number


def integer(octets: bytes, what: str, *, most_octets: int = 8) -> int:
    """The value of an INTEGER's content octets (X.690 section 8.3), of 64 bits unless told.

    Raises MalformedMessage.
    """
    if not octets or (len(octets) > 1 and octets[0] in (0, 0xFF) and octets[0] >> 7 == octets[1] >> 7):
        raise MalformedMessage(f"the {what} is no INTEGER in its shortest form")
    if len(octets) > most_octets:
        raise MalformedMessage(f"the {what} is an INTEGER of {len(octets)} octets; at most {most_octets}")
    return int.from_bytes(octets, "big", signed=True)


def bit_string(octets: bytes, start: int, end: int, what: str) -> bytes:
    """The octets of a BIT STRING without unused bits, from its content. Raises MalformedMessage."""
    if start == end or octets[start] != 0:
        raise MalformedMessage(f"the {what} must be a BIT STRING without unused bits")
    return octets[start + 1 : end]


def whole(tlv: asn1.TLV) -> bytes:
    """The element as it was received; strict DER has one encoding only."""
    return asn1.encode_der(tlv)
