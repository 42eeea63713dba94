"""A reader of BER (X.690 section 8) over one buffer: indefinite lengths, long lengths, constructed strings.

For what devices really send: Apple's messages are indefinite, Go's and OpenSSL's strings come in pieces. It
gives offsets into the received octets, so that whatever is signed is never encoded again. No recursion;
depth, elements and so memory are bounded. The only error is MalformedMessage, with the byte where it stands.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from gateway.asn1 import der
from gateway.errors import MalformedMessage

MAX_DEPTH = 32
MAX_ELEMENTS = 20_000
_MAX_LENGTH_OCTETS = 8
_MAX_OID_OCTETS = 64
_CONSTRUCTED = 0x20
_INDEFINITE = 0x80


class Element(NamedTuple):
    """One TLV: it begins at ``offset``, its content lies from ``start`` to ``end``, the next one at ``stop``.

    ``stop`` differs from ``end`` by the two end-of-contents octets of an indefinite length.
    """

    tag: int
    offset: int
    start: int
    end: int
    stop: int


class BerReader:
    """Reads the elements of ``source``, each only when it is asked for.

    All offsets are those of ``source``. The number of elements that are looked at is counted over the life of
    the reader. Whoever needs a structure asks for its children, so that no depth is gone to unasked but that
    of indefinite lengths, whose ends have to be looked for.
    """

    __slots__ = ("_ends", "_left", "source")

    def __init__(self, source: bytes, *, max_elements: int = MAX_ELEMENTS) -> None:
        self.source = source
        self._left = max_elements
        self._ends: dict[int, int] = {}  # where indefinite content that begins here ends

    def whole(self) -> Element:
        """The one element that the source consists of; bytes after it are refused."""
        element = self.element(0, len(self.source))
        if element.stop != len(self.source):
            raise MalformedMessage(
                f"{len(self.source) - element.stop} bytes follow the ASN.1 structure, at byte {element.stop}"
            )
        return element

    def children(self, parent: Element) -> list[Element]:
        """The elements inside a constructed one."""
        if not parent.tag & _CONSTRUCTED:
            raise MalformedMessage(f"the element at byte {parent.offset} must be constructed")
        source, position, end = self.source, parent.start, parent.end
        found: list[Element] = []
        while position < end:
            # Most lengths take one octet: read here, for speed, exactly as element() does
            start = position + 2
            if start <= end and (size := source[position + 1]) < 0x80 and start + size <= end:
                tag = source[position]
                stop = start + size
                if tag & 0x1F != 0x1F and self._left > 0:
                    self._left -= 1
                    found.append(Element(tag, position, start, stop, stop))
                    position = stop
                    continue
            element = self.element(position, end)
            found.append(element)
            position = element.stop
        return found

    def element(self, offset: int, limit: int) -> Element:
        """The element at ``offset``, which must end by ``limit``."""
        tag, start, size = self._header(offset, limit)
        if size is None:
            if not tag & _CONSTRUCTED:
                # X.690 8.1.3.2: a primitive encoding has a definite length
                raise MalformedMessage(f"the primitive element at byte {offset} has no definite length")
            end = self._ends.get(start)
            if end is None:
                end = self._find_end(start, limit)
            elif end + 2 > limit:
                raise _cut_short(offset)
            return Element(tag, offset, start, end, end + 2)
        end = start + size
        return Element(tag, offset, start, end, end)

    def _header(self, offset: int, limit: int) -> tuple[int, int, int | None]:
        """Identifier octet, start of the content, and its size; None for an indefinite length."""
        self._left -= 1
        if self._left < 0:
            raise MalformedMessage(f"too many ASN.1 elements, at byte {offset}")
        source = self.source
        if offset + 2 > limit:
            raise _cut_short(offset)
        tag = source[offset]
        if tag & 0x1F == 0x1F:
            raise MalformedMessage(f"an ASN.1 tag number above 30 stands at byte {offset}")
        size = source[offset + 1]
        start = offset + 2
        if size & 0x80:
            if size == _INDEFINITE:
                return tag, start, None
            count = size & 0x7F
            if count > _MAX_LENGTH_OCTETS or start + count > limit:
                raise MalformedMessage(f"the length at byte {offset + 1} is longer than any message")
            size = int.from_bytes(source[start : start + count], "big")
            start += count
        if size > limit - start:
            raise MalformedMessage(
                f"the element at byte {offset} claims {size} bytes, but only {limit - start} follow"
            )
        return tag, start, size

    def _find_end(self, start: int, limit: int) -> int:
        """Where the indefinite content at ``start`` ends. The ends of those inside it are kept as well."""
        open_starts = [start]
        position = start
        while open_starts:
            tag, content, size = self._header(position, limit)
            if tag == 0 and size == 0:
                if content != position + 2:
                    raise MalformedMessage(f"end-of-contents with a long length at byte {position}")
                self._ends[open_starts.pop()] = position
                position += 2
            elif tag == 0:
                raise MalformedMessage(f"an element of tag 0 with content stands at byte {position}")
            elif size is not None:
                position = content + size
            elif not tag & _CONSTRUCTED:
                raise MalformedMessage(f"the primitive element at byte {position} has no definite length")
            elif len(open_starts) >= MAX_DEPTH:
                raise MalformedMessage(f"ASN.1 nested deeper than {MAX_DEPTH}, at byte {position}")
            else:
                open_starts.append(content)
                position = content
        return self._ends[start]

    def octets(self, element: Element, string_tag: int) -> bytes:
        """The octets of a string, put together from its pieces where it is constructed.

        ``string_tag`` is the primitive identifier octet that it must have: 0x04, or 0x80 under IMPLICIT [0].
        The pieces of a constructed one are OCTET STRINGs (X.690 sections 8.7.3.2 and 8.23.6).
        """
        if element.tag == string_tag:
            return self.source[element.start : element.end]
        if element.tag != string_tag | _CONSTRUCTED:
            raise MalformedMessage(f"a string of tag {string_tag:#04x} is wanted at byte {element.offset}")
        pieces = []
        stack = [self.children(element)[::-1]]
        while stack:
            if not stack[-1]:
                stack.pop()
                continue
            piece = stack[-1].pop()
            if piece.tag == der.OCTET_STRING:
                pieces.append(self.source[piece.start : piece.end])
            elif piece.tag != der.OCTET_STRING | _CONSTRUCTED:
                raise MalformedMessage(f"the piece of a string at byte {piece.offset} is no OCTET STRING")
            elif len(stack) >= MAX_DEPTH:
                raise MalformedMessage(f"a string nested deeper than {MAX_DEPTH}, at byte {piece.offset}")
            else:
                stack.append(self.children(piece)[::-1])
        return b"".join(pieces)

    def oid(self, element: Element) -> str:
        """The dotted form of an OBJECT IDENTIFIER."""
        if element.tag != der.OID or element.end - element.start > _MAX_OID_OCTETS:
            raise MalformedMessage(f"an object identifier is wanted at byte {element.offset}")
        return _oid_text(self.source[element.start : element.end])

    def integer(self, element: Element, *, max_octets: int = 64) -> int:
        """The value of an INTEGER; leading octets that say nothing are taken."""
        size = element.end - element.start
        if element.tag != der.INTEGER or not 1 <= size <= max_octets:
            raise MalformedMessage(
                f"an INTEGER of 1 to {max_octets} bytes is wanted at byte {element.offset}"
            )
        return int.from_bytes(self.source[element.start : element.end], "big", signed=True)

    def received(self, element: Element) -> bytes:
        """The whole element as it was received."""
        return self.source[element.offset : element.stop]


@lru_cache(maxsize=512)
def _oid_text(content: bytes) -> str:
    return der.oid_text(content)


def _cut_short(offset: int) -> MalformedMessage:
    return MalformedMessage(f"the ASN.1 data ends in the middle of the element at byte {offset}")


def to_der(source: bytes) -> bytes:
    """One BER element as DER: shortest definite lengths, strings in one piece; nothing is sorted.

    Strings under implicit tags cannot be told from structures and stay in pieces. For what was signed as DER
    but sent as BER (RFC 5652 section 5.4). Raises MalformedMessage.
    """
    size = len(source) - 2
    if 0 <= size < 0x80 and source[1] == size and not source[0] & _CONSTRUCTED and source[0] & 0x1F != 0x1F:
        return source
    reader = BerReader(source)
    root = reader.whole()
    # A frame is an open constructed element: its tag, its children still to come, the DER of those done
    frames: list[tuple[int, list[Element], list[bytes]]] = [(0, [root], [])]
    while True:
        tag, waiting, done = frames[-1]
        if not waiting:
            if len(frames) == 1:
                return done[0]
            frames.pop()
            frames[-1][2].append(der.tlv(tag, b"".join(done)))
            continue
        element = waiting.pop()
        if not element.tag & _CONSTRUCTED:
            done.append(der.tlv(element.tag, source[element.start : element.end]))
        elif element.tag & 0xC0 == 0 and element.tag not in (der.SEQUENCE, der.SET):
            string_tag = element.tag & ~_CONSTRUCTED
            done.append(der.tlv(string_tag, reader.octets(element, string_tag)))
        elif len(frames) > MAX_DEPTH:
            raise MalformedMessage(f"ASN.1 nested deeper than {MAX_DEPTH}, at byte {element.offset}")
        else:
            frames.append((element.tag, reader.children(element)[::-1], []))
