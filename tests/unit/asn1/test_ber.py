"""The BER reader on forms that DER does not know, and on bombs."""

from __future__ import annotations

import pytest
from asn1crypto.core import OctetString, Sequence

from gateway.asn1.ber import MAX_DEPTH, BerReader, to_der
from gateway.errors import MalformedMessage
from gateway.model.reasons import ReasonCode
from tests.support.ber import Form, definite, indefinite, reencode
from tests.support.raw_csr import oid, tlv

TREE = tlv(
    0x30, oid("1.2.840.113549.1.7.1"), tlv(0xA0, tlv(0x30, tlv(0x02, b"\5"), tlv(0x04, b"x" * 300))), b"\5\0"
)


def whole(octets: bytes) -> tuple[BerReader, list[tuple[int, bytes]]]:
    """The reader, and tags with received octets of what the one element holds."""
    reader = BerReader(octets)
    return reader, [(e.tag, reader.received(e)) for e in reader.children(reader.whole())]


@pytest.mark.parametrize("form", [Form.SHORT, Form.LONG, Form.INDEFINITE])
def test_tree_in_each_form_of_length_is_read_as_the_same(form: Form) -> None:
    """scep.md C16."""
    octets = reencode(TREE, lambda path, tag: form)
    assert to_der(octets) == TREE
    reader, found = whole(octets)
    assert [tag for tag, _ in found] == [0x06, 0xA0, 0x05]
    assert [to_der(received) for _, received in found][1] == tlv(
        0xA0, tlv(0x30, b"\2\1\5", tlv(0x04, b"x" * 300))
    )
    assert reader.oid(reader.children(reader.whole())[0]) == "1.2.840.113549.1.7.1"


def test_received_octets_of_an_indefinite_element_hold_its_end_of_contents() -> None:
    octets = indefinite(0x30, indefinite(0xA0, b"\2\1\1") + b"\5\0")
    assert whole(octets)[1] == [(0xA0, bytes.fromhex("a0800201010000")), (0x05, b"\5\0")]


@pytest.mark.parametrize("form", [Form.PIECES, Form.DEFINITE_PIECES])
@pytest.mark.parametrize("size", [0, 1, 99, 100, 101, 3000])
def test_string_in_pieces_is_put_together(form: Form, size: int) -> None:
    """scep.md C16; Apple sends the first form, micromdm's client the second."""
    content = bytes(range(256)) * 12
    octets = reencode(tlv(0x04, content[:size]), lambda path, tag: form)
    reader = BerReader(octets)
    assert reader.octets(reader.whole(), 0x04) == content[:size]
    if form is Form.PIECES:  # a second reader sees the same; it cannot read the other form
        assert OctetString.load(octets).native == content[:size]


def test_string_in_nested_pieces_keeps_their_order() -> None:
    inner = indefinite(0x04, tlv(0x04, b"b") + definite(0x24, tlv(0x04, b"c") + tlv(0x04, b"")))
    reader = BerReader(indefinite(0x80, tlv(0x04, b"a") + inner + tlv(0x04, b"d")))
    assert reader.octets(reader.whole(), 0x80) == b"abcd"


@pytest.mark.parametrize(
    "octets",
    [
        tlv(0x24, tlv(0x0C, b"a")),  # a piece of another type
        tlv(0x0C, b"a"),  # another type of string
        indefinite(0x04, tlv(0x30, b"")),
    ],
)
def test_string_of_other_pieces_is_malformed(octets: bytes) -> None:
    reader = BerReader(octets)
    with pytest.raises(MalformedMessage, match="byte"):
        reader.octets(reader.whole(), 0x04)


@pytest.mark.parametrize(
    ("octets", "fault"),
    [
        (b"", "ends in the middle of the element at byte 0"),
        (b"\x30", "ends in the middle"),
        (b"\x30\x03\x02\x01", "claims 3 bytes, but only 2"),
        (b"\x30\x00\x00", "1 bytes follow the ASN.1 structure, at byte 2"),
        (b"\x30\x80\x02\x01\x05", "ends in the middle of the element at byte 5"),
        (b"\x30\x80\x02\x01\x05\x00", "ends in the middle"),
        (b"\x30\x80\x00\x01\x05\x00\x00", "tag 0 with content"),
        (b"\x30\x80\x00\x81\x00\x00\x00", "end-of-contents with a long length"),
        (b"\x04\x80\x00\x00", "primitive element at byte 0 has no definite length"),
        (b"\x30\x80\x04\x80\x00\x00\x00\x00", "primitive element at byte 2"),
        (b"\x1f\x81\x01\x00", "tag number above 30 stands at byte 0"),
        (b"\x30\x80\x1f\x81\x01\x00\x00\x00", "tag number above 30 stands at byte 2"),
        (b"\x30\x89\x00\x00\x00\x00\x00\x00\x00\x00\x00", "length at byte 1"),
        (b"\x30\xff\x00", "length at byte 1"),
        (b"\x30\x88\xff\xff\xff\xff\xff\xff\xff\xff", "claims 18446744073709551615 bytes"),
    ],
)
def test_broken_element_is_malformed_and_says_where(octets: bytes, fault: str) -> None:
    """scep.md C15."""
    with pytest.raises(MalformedMessage, match=fault) as caught:
        to_der(octets)
    assert caught.value.code is ReasonCode.MESSAGE_ASN1


def test_indefinite_element_that_reaches_beyond_its_parent_is_malformed() -> None:
    reader = BerReader(b"\x30\x04\xa0\x80\x02\x01\x05\x00\x00")
    outer = reader.element(0, 9)
    with pytest.raises(MalformedMessage):
        reader.children(outer)


def test_end_that_is_known_already_still_has_to_lie_within_the_limit() -> None:
    reader = BerReader(b"\x30\x80\x02\x01\x05\x00\x00")
    assert reader.element(0, 7).stop == 7
    with pytest.raises(MalformedMessage, match="in the middle"):
        reader.element(0, 6)


@pytest.mark.parametrize("unit", [b"\x30\x80", b"\x24\x80", b"\xa0\x80"])
@pytest.mark.parametrize("count", [MAX_DEPTH + 1, 5_000, 500_000])
def test_nesting_bomb_is_refused_at_once(unit: bytes, count: int) -> None:
    """scep.md C17: 5,000 times 30 80 cost no more elements than the bound, and no RecursionError."""
    with pytest.raises(MalformedMessage, match="nested deeper than 32"):
        BerReader(unit * count + b"\0\0" * count, max_elements=MAX_DEPTH + 1).whole()


def test_nesting_up_to_the_bound_is_read() -> None:
    octets = b"\x30\x80" * MAX_DEPTH + b"\0\0" * MAX_DEPTH
    assert BerReader(octets).whole().stop == len(octets)


def test_definite_nesting_bomb_is_refused_where_it_is_gone_into() -> None:
    octets = b""
    for _ in range(3_000):
        octets = definite(0x30, octets)
    assert BerReader(octets).whole().stop == len(octets)  # one look costs nothing
    with pytest.raises(MalformedMessage, match="nested deeper"):
        to_der(octets)


def test_string_of_nested_pieces_bomb_is_refused() -> None:
    octets = tlv(0x04, b"a")
    for _ in range(200):
        octets = definite(0x24, octets)
    reader = BerReader(octets)
    with pytest.raises(MalformedMessage, match="string nested deeper"):
        reader.octets(reader.whole(), 0x04)


def test_elements_without_number_are_refused_before_memory_is_spent() -> None:
    octets = indefinite(0x30, b"\5\0" * 400_000)
    reader = BerReader(octets)
    with pytest.raises(MalformedMessage, match="too many"):
        reader.whole()
    reader = BerReader(definite(0x30, b"\5\0" * 400_000))
    with pytest.raises(MalformedMessage, match="too many"):
        reader.children(reader.whole())
    reader = BerReader(definite(0x24, b"\4\1a" * 400_000))
    with pytest.raises(MalformedMessage, match="too many"):
        reader.octets(reader.whole(), 0x04)


def test_nested_indefinite_elements_are_searched_once() -> None:
    """The ends found by the first search are kept: reading all levels is linear in the elements."""
    octets = b"\x30\x80" * 30 + b"\5\0" * 500 + b"\0\0" * 30
    reader = BerReader(octets, max_elements=30 * 2 + 500 * 2 + 31)
    element = reader.whole()
    while (first := reader.children(element)) and first[0].tag == 0x30:
        element = first[0]
    assert len(first) == 500


def test_set_is_brought_into_der_without_sorting() -> None:
    octets = indefinite(0x31, tlv(0x02, b"\2") + tlv(0x02, b"\1"))
    assert to_der(octets) == tlv(0x31, b"\2\1\2", b"\2\1\1")
    assert Sequence.load(tlv(0x30, to_der(octets))).contents == to_der(octets)


def test_integer_and_object_identifier_of_other_sizes_are_malformed() -> None:
    for octets in (b"\2\0", tlv(0x02, b"\1" * 65), tlv(0x04, b"\1")):
        reader = BerReader(octets)
        with pytest.raises(MalformedMessage, match="an INTEGER"):
            reader.integer(reader.whole())
    for octets in (tlv(0x06, b"\x2a" * 65), tlv(0x02, b"\1")):
        reader = BerReader(octets)
        with pytest.raises(MalformedMessage, match="an object identifier"):
            reader.oid(reader.whole())
