"""``gateway.asn1.ber``: reading all that can be read, and bringing it into DER."""

from __future__ import annotations

from contextlib import suppress

from gateway.asn1 import der
from gateway.asn1.ber import BerReader, to_der
from gateway.errors import MalformedMessage


def one_input(octets: bytes) -> None:
    with suppress(MalformedMessage):
        as_der = to_der(octets)
        assert to_der(as_der) == as_der
        der.check_shape(as_der)
    reader = BerReader(octets)
    with suppress(MalformedMessage):
        whole = reader.whole()
        for string_tag in (0x04, 0x80):
            with suppress(MalformedMessage):
                assert len(reader.octets(whole, string_tag)) <= len(octets)
        for child in reader.children(whole):
            assert whole.start <= child.offset < child.stop <= whole.end
