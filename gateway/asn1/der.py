"""A small strict DER reader and writer (X.690 section 10): TLVs over one buffer, no recursion.

The reader takes definite, minimal lengths and tag numbers below 31 only; everything else is MalformedMessage.
"""

from __future__ import annotations

from collections.abc import Iterable

from gateway.errors import MalformedMessage

MAX_DEPTH = 40

BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, NULL, OID = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06
UTF8_STRING, PRINTABLE_STRING, IA5_STRING, UTC_TIME, GENERALIZED_TIME = 0x0C, 0x13, 0x16, 0x17, 0x18
SEQUENCE, SET = 0x30, 0x31


def length_octets(length: int) -> bytes:
    """Encode a definite length in its shortest form."""
    if length < 0x80:
        return bytes((length,))
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((0x80 | len(octets),)) + octets


def tlv(tag: int, content: bytes) -> bytes:
    """One TLV with a one-octet identifier."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    return bytes((tag,)) + length_octets(size) + content


def sequence(*parts: bytes) -> bytes:
    return tlv(SEQUENCE, b"".join(parts))


def set_of(parts: Iterable[bytes]) -> bytes:
    """SET OF with its elements sorted (X.690 section 11.6)."""
    return tlv(SET, b"".join(sorted(parts)))


def integer(value: int) -> bytes:
    """A non-negative or negative INTEGER in the fewest octets."""
    # Of a negative number all bits but the sign's: -128 needs one octet as 127 does
    magnitude = value if value >= 0 else ~value
    return tlv(INTEGER, value.to_bytes(magnitude.bit_length() // 8 + 1, "big", signed=True))


def oid(dotted: str) -> bytes:
    """An OBJECT IDENTIFIER from its dotted form. Raises ValueError if it is none."""
    arcs = [int(arc) for arc in dotted.split(".")]
    if len(arcs) < 2 or arcs[0] > 2 or (arcs[0] < 2 and arcs[1] > 39) or min(arcs) < 0:
        raise ValueError(f"{dotted!r} is no object identifier")
    out = bytearray()
    for arc in (arcs[0] * 40 + arcs[1], *arcs[2:]):
        septets = [arc & 0x7F]
        while arc := arc >> 7:
            septets.append(arc & 0x7F | 0x80)
        out.extend(reversed(septets))
    return tlv(OID, bytes(out))


def read_tlv(data: bytes | memoryview, offset: int = 0, end: int | None = None) -> tuple[int, int, int]:
    """Read one header: (identifier octet, start of content, end of content). Raises MalformedMessage."""
    limit = len(data) if end is None else end
    if offset + 2 > limit:
        raise MalformedMessage("the ASN.1 data ends in the middle of an element")
    tag = data[offset]
    if tag & 0x1F == 0x1F:
        raise MalformedMessage(f"an ASN.1 tag number above 30 stands at byte {offset}")
    size = data[offset + 1]
    start = offset + 2
    if size & 0x80:
        count = size & 0x7F
        if count == 0 or count > 4 or start + count > limit:
            raise MalformedMessage(f"no definite DER length at byte {offset + 1}")
        size = int.from_bytes(data[start : start + count], "big")
        if size < 0x80 or size >> 8 * (count - 1) == 0:
            raise MalformedMessage(f"the length at byte {offset + 1} is not minimal, so this is not DER")
        start += count
    if start + size > limit:
        raise MalformedMessage(
            f"the element at byte {offset} claims {size} bytes, but only {limit - start} follow"
        )
    return tag, start, start + size


def children(data: bytes | memoryview, start: int, end: int) -> list[tuple[int, int, int, int]]:
    """The elements between two offsets: (identifier, offset of the TLV, start and end of its content)."""
    out = []
    while start < end:
        tag, content, stop = read_tlv(data, start, end)
        out.append((tag, start, content, stop))
        start = stop
    return out


def check_shape(data: bytes, *, max_depth: int = MAX_DEPTH, max_elements: int = 20_000) -> None:
    """Walk the whole structure once, without recursion: one element, DER lengths, bounded depth and number.

    Run before any lazy decoder sees hostile bytes. Raises MalformedMessage.
    """
    _, start, end = read_tlv(data)
    if end != len(data):
        raise MalformedMessage(f"{len(data) - end} bytes follow the ASN.1 structure")
    stack = [(start, end)] if data[0] & 0x20 else []
    seen = 1
    while stack:
        position, stop = stack.pop()
        while position < stop:
            tag, content, position_after = read_tlv(data, position, stop)
            seen += 1
            if seen > max_elements:
                raise MalformedMessage(f"more than {max_elements} ASN.1 elements")
            if tag & 0x20 and content < position_after:
                if len(stack) + 2 > max_depth:
                    raise MalformedMessage(f"ASN.1 nested deeper than {max_depth}")
                stack.append((position_after, stop))
                position, stop = content, position_after
            else:
                position = position_after


def oid_text(content: bytes) -> str:
    """The dotted form of an OBJECT IDENTIFIER's content octets. Raises MalformedMessage."""
    if not content or content[-1] & 0x80:
        raise MalformedMessage("an object identifier ends in the middle of an arc")
    arcs: list[int] = []
    arc = 0
    for octet in content:
        if arc == 0 and octet == 0x80:
            raise MalformedMessage("an object identifier's arc has leading zeros")
        arc = arc << 7 | octet & 0x7F
        if arc.bit_length() > 128:
            raise MalformedMessage("an object identifier's arc is longer than 128 bits")
        if not octet & 0x80:
            arcs.append(arc)
            arc = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))
